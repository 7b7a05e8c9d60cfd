// Every example is built, started against a hub of its own, and used as its README says.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, openPage, startServer, until } from "../../tests/browser/support.mjs";

/** A build, or the first page of a development server, on a busy machine. */
const BUILD_DEADLINE = 90_000;
/** Within it an event is through Next.js. What is buffered would come with the end of the stream, or never. */
const AT_ONCE = 2_000;
const TOKEN = "a-token-for-the-examples";

const groups = new Set();
process.on("exit", () => {
  for (const group of groups) signal(group, "SIGKILL");
});
// How the runner ends a test that takes too long.
process.once("SIGTERM", () => process.exit(1));

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

describe("nextjs", () => {
  let built;
  before(async () => {
    await run("nextjs", ["build"]);
    built = true;
  });

  /** A hub that wants a token, the example before it, and a page of it. */
  async function open(t, path, script = "start") {
    assert.ok(built, "it was not built");
    const hub = await startServer(t, "--token", TOKEN);
    const port = await freePort();
    const origin = `http://127.0.0.1:${port}`;
    await start(t, "nextjs", [script, "--hostname", "127.0.0.1", "--port", `${port}`], hub, `${origin}/api/sse`);
    await until("the stream that was a trial ended", async () => (await clients(hub)).length === 0);
    const page = await openPage(t, browser, hub.origin);
    page.setDefaultNavigationTimeout(BUILD_DEADLINE);
    const streams = watchStreams(page);
    await page.goto(origin + path);
    return { hub, origin, page, streams };
  }

  const webhook = async (origin, body) => {
    const answer = await fetch(`${origin}/api/webhook`, { method: "POST", body: JSON.stringify(body) });
    assert.equal(answer.status, 200);
  };

  test("its types are right", () => run("nextjs", ["typecheck"]));

  test("the dashboard shows what a webhook tells, as it happens, and leaves nothing behind", async (t) => {
    const { hub, origin, page } = await open(t, "/");
    await page.getByText("Connected", { exact: true }).waitFor();
    const [client] = await clients(hub);
    assert.equal(client.userId, "user123");
    assert.deepEqual(client.metadata, { page: "dashboard" });

    await webhook(origin, { eventType: "user.created", userId: "somebody-else", data: { name: "Eve" } });
    await webhook(origin, { eventType: "user.created", userId: "user123", data: { name: "Ada" } });
    await page.getByRole("listitem").filter({ hasText: "Welcome! Thanks for joining, Ada!" }).waitFor({ timeout: AT_ONCE });
    await webhook(origin, { eventType: "user.profile.updated", userId: "user123", data: { changes: ["name"] } });
    await page.getByText('profile_updated { "message": "Profile updated", "changes": [ "name" ] }').waitFor();
    assert.equal(await page.getByRole("listitem").count(), 1);

    await page.close();
    await until("the hub has no connection left", async () => (await clients(hub)).length === 0);
  });

  test("the page of articles misses nothing between its rendering and its subscription", async (t) => {
    const { hub, origin, page } = await open(t, "/");
    await webhook(origin, { eventType: "content.published", data: { id: "1", title: "Before" } });
    let release;
    const held = new Promise((resolve) => {
      page.route(/\/api\/sse\?.*articles/, async (route) => {
        await new Promise((go) => resolve((release = go)));
        await route.continue();
      });
    });
    await page.goto(`${origin}/articles`);
    await held;
    assert.deepEqual(await page.getByRole("listitem").allTextContents(), ["Before"]);

    await webhook(origin, { eventType: "content.published", data: { id: "2", title: "Between" } });
    assert.equal((await clients(hub)).filter(({ metadata }) => metadata.page === "articles").length, 0);
    assert.deepEqual(await page.getByRole("listitem").allTextContents(), ["Before"]);
    release();
    await page.getByText("Between").waitFor();
    await webhook(origin, { eventType: "content.published", data: { id: "3", title: "Behind" } });
    await page.getByText("Behind").waitFor();
    assert.deepEqual(await page.getByRole("listitem").allTextContents(), ["Behind", "Between", "Before"]);
  });

  test("a job tells how far it is and how it ended, well or not", async (t) => {
    const { page } = await open(t, "/jobs");
    await page.getByText("Connected", { exact: true }).waitFor();
    const bar = (text) => page.locator(".job").filter({ hasText: text }).locator("progress").getAttribute("value");
    await page.getByText("Process a file").click();
    await page.getByText("Done: /uploads/report.pdf").waitFor();
    assert.equal(await bar("Done"), "100");
    await page.getByText("Process a broken file").click();
    await page.getByText("Failed: Error: the file is broken").waitFor();
    assert.equal(await bar("Failed"), "40");
  });

  test("in StrictMode, as in development, there is one connection", async (t) => {
    const { hub, page, streams } = await open(t, "/jobs", "dev");
    await page.getByText("Connected", { exact: true }).waitFor({ timeout: BUILD_DEADLINE });
    await publish(hub, { event: "progress", data: { operationId: "1", progress: 50, message: "Half" } });
    await page.getByText("Half").waitFor();
    assert.equal(streams.length, 1, `${streams}`);
    assert.equal((await clients(hub)).length, 1);
  });
});

describe("vite-react", () => {
  before(() => run("vite-react", ["build"]));

  for (const [what, script] of [
    ["built and served with a proxy", "preview"],
    ["in development, in StrictMode", "dev"],
  ]) {
    test(`${what}: all components share one connection`, async (t) => {
      const hub = await startServer(t, "--token", TOKEN);
      const port = await freePort();
      const origin = `http://127.0.0.1:${port}`;
      await start(t, "vite-react", [script, "--host", "127.0.0.1", "--port", `${port}`, "--strictPort"], hub, origin);
      const page = await openPage(t, browser, hub.origin);
      const streams = watchStreams(page);
      await page.goto(origin);
      await page.getByText("Connected", { exact: true }).waitFor({ timeout: BUILD_DEADLINE });
      await publish(hub, { event: "order_paid", data: { number: 17, amount: "€ 25" }, to: { userId: "user123" } });
      await page.getByText("Order 17 was paid: € 25").waitFor();
      await page.getByText('order_paid {"number":17,"amount":"€ 25"}').waitFor();
      assert.equal(streams.length, 1, `${streams}`);
      const [client, ...others] = await clients(hub);
      assert.deepEqual(client.metadata, { page: "orders" });
      assert.deepEqual(others, []);

      await page.close();
      await until("the hub has no connection left", async () => (await clients(hub)).length === 0);
    });
  }
});

test("trpc: the mutation's notification arrives at its user", async (t) => {
  const hub = await startServer(t, "--token", TOKEN);
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const server = await start(t, "trpc", ["start"], hub, origin, { PORT: `${port}` });
  const said = await run("trpc", ["client"], { ...environment(hub), PORT: `${port}` });
  assert.match(said, /^Answer: \{ id: 'user123', name: 'Ada' \}$/m);
  assert.match(said, /^Notification: \{ message: 'Profile updated successfully' \}$/m);

  const stranger = await fetch(`${origin}/user.updateProfile`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"name":"Eve"}',
  });
  assert.equal(stranger.status, 401);
  assert.doesNotMatch(server.said(), /fanfare:/);
});

test("eventsource: the page knows what to do about each end and each beginning", async (t) => {
  const html = await readFile(new URL("../eventsource/index.html", import.meta.url));
  const files = http.createServer((_, answer) => answer.setHeader("content-type", "text/html").end(html));
  t.after(() => {
    files.close();
    files.closeAllConnections();
  });
  await once(files.listen(0, "127.0.0.1"), "listening");
  const origin = `http://127.0.0.1:${files.address().port}`;

  const hub = await startServer(t, "--cors-origin", origin, "--drain", "100ms");
  const notify = (data, event = "notification") => hub.publish({ event, data, to: { userId: "user123" } });
  await notify("before");
  const page = await openPage(t, browser, origin, `/?hub=${hub.origin}`);
  const shows = (status) => page.getByText(status, { exact: true }).waitFor();
  const items = (...texts) =>
    until(`it shows ${texts}`, async () => `${await page.getByRole("listitem").allTextContents()}` === `${texts}`);

  await shows("Connected (live)");
  await items('notification: "before"');
  await notify("during");
  await notify("not a failure", "error");
  await items('notification: "before"', 'notification: "during"', 'error: "not a failure"');
  await shows("Connected (live)");

  // Everything in memory is forgotten, and so is what the page shows.
  await hub.stop("SIGTERM");
  await shows("Reconnecting…");
  await hub.start();
  await notify("after");
  await shows("Connected (reset)");
  await items('notification: "after"');

  await hub.request("DELETE", "/users/user123");
  await shows("Ended by the server (disconnected)");
  assert.deepEqual(await hub.clients(), []);

  const stranger = await startServer(t);
  await page.goto(`${origin}/?hub=${stranger.origin}`);
  await shows(`Refused, and the browser does not try again. Was ${stranger.origin} started with --cors-origin ${origin}?`);
});

const environment = (hub) => ({ FANFARE_URL: hub.origin, FANFARE_TOKEN: TOKEN });
const authorization = `Bearer ${TOKEN}`;

const clients = async (hub) => (await hub.request("GET", "/clients", undefined, { authorization })).clients;
const publish = (hub, event) => hub.request("POST", "/publish", event, { authorization });

/** The streams that the page asks for from its last load on. */
function watchStreams(page) {
  const streams = [];
  page.on("framenavigated", () => streams.splice(0));
  page.on("request", (request) => {
    if (new URL(request.url()).pathname === "/api/sse") streams.push(request.url());
  });
  return streams;
}

/** Runs a script of an example to its end; the answer is what it said. */
async function run(example, script, env = {}) {
  const child = npm(example, script, env);
  const late = setTimeout(() => signal(child.process.pid, "SIGKILL"), BUILD_DEADLINE);
  const [code] = await once(child.process, "close");
  clearTimeout(late);
  assert.equal(code, 0, `${example}: ${script.join(" ")} ended with ${code}:\n${child.said()}`);
  return child.said();
}

/** Starts a script of an example, which ends with the test `t`, and waits until `url` answers. */
async function start(t, example, script, hub, url, env = {}) {
  const child = npm(example, script, { ...environment(hub), ...env });
  t.after(async () => {
    if (child.process.exitCode !== null || child.process.signalCode !== null) return;
    const ended = once(child.process, "close");
    signal(child.process.pid, "SIGKILL");
    await ended;
  });
  await until(
    `${example}: ${script.join(" ")} answers`,
    async () => {
      assert.equal(child.process.exitCode, null, `it ended:\n${child.said()}`);
      const answer = await fetch(url).catch(() => {});
      await answer?.body?.cancel();
      return answer;
    },
    BUILD_DEADLINE,
  );
  return child;
}

/** `npm run` in a process group of its own, so that all of it can be ended. */
function npm(example, [script, ...args], env) {
  const child = spawn("npm", ["run", "--silent", script, "--", ...args], {
    cwd: fileURLToPath(new URL(`../${example}`, import.meta.url)),
    env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  groups.add(child.pid);
  child.once("close", () => groups.delete(child.pid));
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (bytes) => said.push(bytes));
  return { process: child, said: () => Buffer.concat(said).toString() };
}

/** To a whole process group, unless it has ended. */
function signal(group, name) {
  try {
    process.kill(-group, name);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** A port that was free a moment ago. */
async function freePort() {
  const server = net.createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
