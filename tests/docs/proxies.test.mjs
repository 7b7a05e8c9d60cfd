// The configurations of docs/guides/proxies.md, in front of the server, with ports and a certificate of the test's own.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { codeBlocks } from "./markdown.mjs";
import { binary, freePort, until } from "./shell.mjs";

const PAGE = "docs/guides/proxies.md";
/** Streams on one connection: more than the six of HTTP/1.1. */
const STREAMS = 12;

const folder = mkdtempSync(path.join(os.tmpdir(), "fanfare-proxies-"));
const certificate = path.join(folder, "certificate.pem");
const key = path.join(folder, "key.pem");
const both = path.join(folder, "both.pem");
const children = [];
let hub;

/** Starts a program that ends with the tests, and gives what it said so far. */
function start(program, args, options = {}) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => said.push(data));
  child.once("error", (error) =>
    said.push(`${program} does not run: ${error.message}; apt-get install nginx caddy haproxy openssl`),
  );
  children.push(child);
  return () => said.join("");
}

before(async () => {
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  execFileSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "2",
      ...names,
      "-keyout",
      key,
      "-out",
      certificate,
    ],
    { stdio: "ignore" },
  );
  writeFileSync(both, readFileSync(certificate, "utf8") + readFileSync(key, "utf8"));
  hub = `127.0.0.1:${await freePort()}`;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FANFARE_")));
  const said = start(binary(), ["--listen", hub], { env });
  await until(
    () => `the server answers; it said ${said()}`,
    async () => (await fetch(`http://${hub}/healthz`).catch(() => undefined))?.ok,
  );
});
after(async () => {
  const running = children.filter((child) => child.pid && child.exitCode === null && child.signalCode === null);
  for (const child of running) child.kill("SIGTERM");
  await Promise.all(running.map((child) => once(child, "exit")));
  rmSync(folder, { recursive: true, force: true });
});

/** The blocks of the page in a language, put in their places. */
function configurations(language, ...more) {
  const blocks = codeBlocks(PAGE).filter((block) => block.language === language);
  const places = [
    [/127\.0\.0\.1:4000/g, hub],
    [/\/etc\/ssl\/events\.example\.com\.pem/g, certificate],
    [/\/etc\/ssl\/private\/events\.example\.com\.key/g, key],
    [/\/etc\/ssl\/private\/events\.example\.com\.pem/g, both],
    ...more,
  ];
  return blocks.map(({ text }) => places.reduce((text, [printed, run]) => text.replace(printed, run), text));
}

/** An open stream: what it heard, and a way to end it. */
function subscribe(session, url = "/api/sse", headers = {}) {
  const request = session.request({
    ":path": url,
    accept: "text/event-stream",
    "accept-encoding": "gzip, zstd, br",
    ...headers,
  });
  const stream = { heard: "", status: undefined, end: () => request.close() };
  request.setEncoding("utf8");
  request.on("response", (head) =>
    Object.assign(stream, { status: head[":status"], type: head["content-type"], coding: head["content-encoding"] }),
  );
  request.on("data", (data) => (stream.heard += data));
  request.on("error", (error) => (stream.heard += error.message));
  request.end();
  return stream;
}

async function connect(t, port, said) {
  const session = await until(
    () => `the proxy answers; it said ${said()}`,
    () =>
      new Promise((resolve) => {
        const session = http2.connect(`https://localhost:${port}`, {
          ca: readFileSync(certificate),
          lookup: (_, options, done) =>
            options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4),
        });
        session.once("connect", () => resolve(session));
        session.once("error", () => resolve(undefined));
      }),
  );
  session.on("error", () => {});
  t.after(() => session.destroy());
  return session;
}

async function publish(event) {
  const answer = await fetch(`http://${hub}/api/sse/publish`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(event),
  });
  assert.equal(answer.status, 200);
  return answer.json();
}

/** What every proxy has to do with a stream. */
async function streams(session) {
  const user = `user-${Math.random().toString(36).slice(2)}`;
  const open = Array.from({ length: STREAMS }, () => subscribe(session, `/api/sse?userId=${user}`));
  await until(
    () => `all are connected: ${JSON.stringify(open)}`,
    () => open.every(({ heard }) => heard.includes("event: connected")),
  );
  assert.ok(open.every(({ status, coding }) => status === 200 && coding === undefined));
  // Nothing follows it before the heartbeat, twice as late as the deadline: who keeps it back fails.
  const { clients } = await publish({ event: "order_paid", data: { id: "first" }, to: { userId: user } });
  assert.equal(clients, STREAMS);
  await until("the event is there at once", () =>
    open.every(({ heard }) => heard.includes('data: {"id":"first"}\n\n')),
  );

  const cursor = open[0].heard.match(/id: (\S+)\nevent: order_paid/)[1];
  for (const stream of open) stream.end();
  await until(
    "the hub hears that they are gone",
    async () => (await (await fetch(`http://${hub}/api/sse/stats?userId=${user}`)).json()).totalClients === 0,
  );
  await publish({ event: "order_paid", data: { id: "missed" }, to: { userId: user } });
  const again = subscribe(session, `/api/sse?userId=${user}`, { "last-event-id": cursor });
  await until(
    "it resumes",
    () => again.heard.includes('"resume":"resumed"') && again.heard.includes('data: {"id":"missed"}'),
  );
  assert.ok(!again.heard.includes("first"));
  again.end();
}

/** Nothing below the stream is to be reached from outside. */
async function closed(session) {
  const request = session.request({
    ":path": "/api/sse/publish",
    ":method": "POST",
    "content-type": "application/json",
  });
  request.end('{"event":"intruder","data":1}');
  let body = "";
  request.setEncoding("utf8").on("data", (data) => (body += data));
  const [[head]] = await Promise.all([once(request, "response"), once(request, "end")]);
  assert.ok([403, 404].includes(head[":status"]) || body === "", `${head[":status"]}: ${body}`);
  assert.doesNotMatch(body, /durability/);
}

function nginx(server, name) {
  const file = path.join(folder, `${name}.conf`);
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  const main = `daemon off; pid ${folder}/${name}.pid; error_log stderr; worker_processes 1;`;
  writeFileSync(file, `${main}\nevents {}\nhttp { access_log off; ${paths.join(" ")}\n${server}\n}\n`);
  return start("nginx", ["-e", "stderr", "-c", file, "-p", folder]);
}

test("nginx", async (t) => {
  t.diagnostic(spawnSync("nginx", ["-v"], { encoding: "utf8" }).stderr ?? "");
  const port = await freePort();
  const [server] = configurations("nginx", [/listen 443/, `listen 127.0.0.1:${port}`]);
  const session = await connect(t, port, nginx(server, "plain"));
  await streams(session);
  await closed(session);

  const another = await freePort();
  const alone = server
    .replaceAll(hub, `127.0.0.1:${await freePort()}`)
    .replaceAll(`127.0.0.1:${port}`, `127.0.0.1:${another}`);
  const without = subscribe(await connect(t, another, nginx(alone, "alone")));
  await until(
    () => `without the server it says when to come back: ${JSON.stringify(without)}`,
    () => without.heard === "retry: 5000\n\n",
  );
  assert.deepEqual([without.status, without.type], [200, "text/event-stream"]);
});

test("nginx, with the application saying who is asking", async (t) => {
  const application = http.createServer(({ headers }, response) => {
    const user = headers.cookie?.match(/login=(\w+)/)?.[1];
    response.writeHead(user ? 200 : 401, user ? { "x-user-id": user } : {}).end();
  });
  await once(application.listen(0, "127.0.0.1"), "listening");
  t.after(() => application.close());
  const port = await freePort();
  const places = [
    [/listen 443/, `listen 127.0.0.1:${port}`],
    [/127\.0\.0\.1:3000/, `127.0.0.1:${application.address().port}`],
  ];
  const session = await connect(t, port, nginx(configurations("nginx", ...places)[1], "whoami"));

  const ada = subscribe(session, "/api/sse?userId=bob", { cookie: "login=ada" });
  await until(
    () => `ada is connected: ${ada.heard}`,
    () => ada.heard.includes("event: connected"),
  );
  assert.match(ada.heard, /"userId":"ada"/);
  assert.equal((await publish({ event: "secret", data: 1, to: { userId: "bob" } })).clients, 0);
  const nobody = subscribe(session);
  await until("whoever is not logged in is refused", () => nobody.status === 401);
  const cursor = ada.heard.match(/id: (\S+)/)[1];
  ada.end();
  await publish({ event: "order_paid", data: { id: "missed" }, to: { userId: "ada" } });
  const again = subscribe(session, "/api/sse", { cookie: "login=ada", "last-event-id": cursor });
  await until("ada resumes", () => again.heard.includes('"resume":"resumed"') && again.heard.includes("missed"));
});

test("Caddy", async (t) => {
  t.diagnostic(spawnSync("caddy", ["version"], { encoding: "utf8" }).stdout ?? "");
  const port = await freePort();
  const site = `https://localhost:${port} {\n\tbind 127.0.0.1\n\ttls ${certificate} ${key}`;
  const [server] = configurations("caddyfile", [/events\.example\.com \{/, site]);
  const file = path.join(folder, "Caddyfile");
  writeFileSync(file, `{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n${server}\n`);
  const env = { ...process.env, HOME: folder, XDG_CONFIG_HOME: folder, XDG_DATA_HOME: folder };
  const session = await connect(t, port, start("caddy", ["run", "--config", file, "--adapter", "caddyfile"], { env }));
  await streams(session);
  await closed(session);
});

test("HAProxy", async (t) => {
  t.diagnostic(spawnSync("haproxy", ["-v"], { encoding: "utf8" }).stdout?.split("\n")[0] ?? "");
  const port = await freePort();
  const [server] = configurations("haproxy", [/bind :443/, `bind 127.0.0.1:${port}`]);
  const file = path.join(folder, "haproxy.cfg");
  writeFileSync(file, `${server}\n`);
  const session = await connect(t, port, start("haproxy", ["-f", file]));
  await streams(session);
  await closed(session);
});
