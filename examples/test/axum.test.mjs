// The applications in examples/axum, used as somebody in a browser would, and as somebody who means no good.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, open as openFile, readFile, rm } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch, openPage, startProxy, subscribe, until } from "../../tests/browser/support.mjs";

const BINARIES = process.env.FANFARE_EXAMPLES_BIN ?? fileURLToPath(new URL("../../target/debug", import.meta.url));
const HTML = "<img src=x onerror=\"document.title='owned'\"> & <b>bold</b>";

const children = new Set();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
// How the runner ends a test that takes too long.
process.once("SIGTERM", () => process.exit(1));

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

describe("login", () => {
  const logIn = async (page, name, password) => {
    await page.getByLabel("Name").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Log in" }).click();
  };
  const connectedAs = (page, name) => page.getByText(`Connected as ${name}`, { exact: true }).waitFor();
  const notify = async (page, to, text) => {
    await page.getByLabel("To", { exact: true }).selectOption(to);
    await page.getByLabel("Text").fill(text);
    await page.getByRole("button", { name: "Send" }).click();
  };

  test("each user gets their own events, in every tab, and none once they are logged out", async (t) => {
    const { origin } = await startExample(t, "login");
    const [ada, bob, root] = [await openPage(t, browser, origin, "/"), await openPage(t, browser, origin, "/"), await openPage(t, browser, origin, "/")];
    await logIn(ada, "ada", "builder");
    await ada.getByText("Name or password is wrong.").waitFor();
    await logIn(ada, "ada", "engine");
    await connectedAs(ada, "ada");
    const tab = await ada.context().newPage();
    await tab.goto(origin);
    await connectedAs(tab, "ada");
    await logIn(bob, "bob", "builder");
    await connectedAs(bob, "bob");
    await logIn(root, "root", "toor");
    await connectedAs(root, "root");
    assert.equal(await ada.getByRole("heading", { name: "Notify somebody" }).count(), 0);

    await notify(root, "ada", HTML);
    await root.getByText("Sent to 2 of ada's connections.").waitFor();
    await root.getByText("Connections: ada 2, bob 1, root 1.").waitFor();
    for (const page of [ada, tab]) await page.getByText(HTML, { exact: true }).waitFor();
    await notify(root, "bob", "for bob");
    await bob.getByText("for bob").waitFor();
    assert.deepEqual(await bob.getByRole("listitem").allTextContents(), ["for bob"]);
    assert.equal(await ada.title(), "Login");

    await ada.getByRole("button", { name: "Log out everywhere" }).click();
    for (const page of [ada, tab]) await page.getByText("Nobody is logged in").waitFor();
    await notify(root, "ada", "too late");
    await root.getByText("Sent to 0 of ada's connections.").waitFor();
    await connectedAs(bob, "bob");
  });

  test("nobody gets further than they may", async (t) => {
    const { origin } = await startExample(t, "login");
    const cookieOf = async (name, password) => {
      const answer = await post(`${origin}/login`, { name, password });
      const set = answer.headers.get("set-cookie");
      assert.match(set, /^login=[0-9a-f]{32}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=43200$/);
      return set.split(";")[0];
    };
    const [ada, again, root] = [await cookieOf("ada", "engine"), await cookieOf("ada", "engine"), await cookieOf("root", "toor")];
    assert.notEqual(ada, again);
    const event = { event: "notification", data: { message: "from ada" }, to: { userId: "bob" } };
    const publish = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(event) };
    const status = (path, cookie, init = {}) => statusOf(origin + path, cookie, init);

    for (const stranger of [undefined, "login=", `login=${"0".repeat(32)}`, `other${ada}`, ada.replace("login", "Login")]) {
      assert.equal(await status("/api/sse?userId=ada", stranger), 401, stranger);
      assert.equal(await status("/api/sse/publish", stranger, publish), 401, stranger);
    }
    assert.equal(await status("/api/sse", ada), 200);
    assert.equal(await status("/api/sse?userId=ada", ada), 200);
    assert.equal(await status(`/api/sse`, `theme=dark; ${ada}`), 200);
    assert.equal(await status("/api/sse?userId=bob", ada), 403);
    assert.equal(await status("/api/sse/events?userId=bob", ada), 403);
    for (const path of ["/api/sse/stats", "/api/sse/clients", "/api/sse/cursor"]) {
      assert.equal(await status(path, ada), 403, path);
      assert.equal(await status(path, root), 200, path);
    }
    assert.equal(await status("/api/sse/publish", ada, publish), 403);
    assert.equal(await status("/api/sse/users/bob", ada, { method: "DELETE" }), 403);

    // What else the query asks for is not given.
    const stream = new AbortController();
    const opened = await fetch(`${origin}/api/sse?topic=staff&page=admin`, { headers: { cookie: ada }, signal: stream.signal });
    assert.equal(opened.status, 200);
    const listed = await fetch(`${origin}/api/sse/clients`, { headers: { cookie: root } });
    const { clients } = await listed.json();
    assert.ok(clients.some(({ userId }) => userId === "ada"));
    assert.ok(clients.every(({ metadata, topics }) => Object.keys(metadata).length === 0 && !topics?.length), JSON.stringify(clients));

    // The sessions end with the stream: not even a cookie that was stolen is worth anything.
    await post(`${origin}/logout`, {}, again);
    const rest = await opened.text();
    assert.match(rest, /event: \$closing\n.*"reason":"disconnected"/s);
    for (const cookie of [ada, again]) assert.equal(await status("/api/sse", cookie), 401);
    assert.equal(await status("/api/sse", root), 200);
  });
});

describe("upload", () => {
  const choose = (page, files) => page.getByLabel("Files").setInputFiles(files);
  const item = (page, name) => page.getByRole("listitem").filter({ hasText: name });
  const ready = (page) => page.getByText("Connected", { exact: true }).waitFor();
  const cookieOf = async (page) => {
    const { name, value, httpOnly, sameSite } = (await page.context().cookies())[0];
    assert.deepEqual({ name, httpOnly, sameSite }, { name: "upload", httpOnly: true, sameSite: "Lax" });
    return `${name}=${value}`;
  };
  /** An upload whose bytes come when the test says so. */
  const begin = (origin, cookie, name, headers) => {
    const request = http.request(`${origin}/upload?id=${name}&name=${name}`, { method: "POST", headers: { cookie, ...headers } });
    request.on("error", () => {}); // some are cut off on purpose
    request.flushHeaders();
    return request;
  };

  test("the bar follows the bytes, by whole per cents, for its own user only", async (t) => {
    const { origin } = await startExample(t, "upload");
    const page = await openPage(t, browser, origin, "/");
    await ready(page);
    const other = await openPage(t, browser, origin, "/");
    await ready(other);
    const tab = await page.context().newPage();
    await tab.goto(origin);
    await ready(tab);
    const heard = await subscribe(tab, { types: ["progress", "success"] });
    await heard.heard("connected");

    await choose(page, { name: "<b>random</b>.bin", mimeType: "application/octet-stream", buffer: randomBytes(3 << 20) });
    for (const one of [page, tab]) await item(one, "<b>random</b>.bin").getByText("Done: 3,145,728 bytes").waitFor();
    await heard.heard("success");
    const told = (await heard.log()).filter(({ type }) => type === "progress").map(({ data }) => JSON.parse(data).progress);
    assert.ok(told.length > 1 && told.length <= 100, `${told}`);
    assert.ok(told.every((percent, at) => Number.isInteger(percent) && percent > (told[at - 1] ?? 0)), `${told}`);
    assert.equal(told.at(-1), 100);

    await choose(page, { name: "empty", mimeType: "text/plain", buffer: Buffer.alloc(0) });
    await item(page, "empty").getByText("Done: 0 bytes").waitFor();

    const request = begin(origin, await cookieOf(page), "slow", { "content-length": 1_000 });
    request.write(Buffer.alloc(499));
    await item(page, "slow").getByText("49 %").waitFor();
    assert.equal(await item(page, "slow").locator("progress").getAttribute("value"), "49");
    request.end(Buffer.alloc(501));
    assert.equal((await once(request, "response"))[0].statusCode, 201);
    await item(page, "slow").getByText("Done: 1,000 bytes").waitFor();

    // Whatever the other browser had been told, it would have been told by now: its own comes last.
    await choose(other, { name: "another", mimeType: "text/plain", buffer: Buffer.from("text") });
    await item(other, "another").getByText("Done: 4 bytes").waitFor();
    assert.equal(await other.getByRole("listitem").count(), 1);
  });

  test("what goes wrong is told: cut off, too large, without a length", async (t) => {
    const { origin } = await startExample(t, "upload");
    const page = await openPage(t, browser, origin, "/");
    await ready(page);
    const cookie = await cookieOf(page);

    for (const [name, end] of [
      ["closed", (request) => request.destroy()],
      ["reset", (request) => request.socket.resetAndDestroy()],
    ]) {
      const cut = begin(origin, cookie, name, { "content-length": 1_000 });
      cut.write(Buffer.alloc(700));
      await item(page, name).getByText("70 %").waitFor();
      end(cut);
      await item(page, name).getByText("Failed: cut off").waitFor();
      assert.equal(await item(page, name).locator("progress").getAttribute("value"), "70");
    }

    const large = begin(origin, cookie, "large", { "content-length": (64 << 20) + 1 });
    assert.equal((await once(large, "response"))[0].statusCode, 413);
    large.destroy();
    const chunked = begin(origin, cookie, "chunked", { "transfer-encoding": "chunked" });
    chunked.end("text");
    assert.equal((await once(chunked, "response"))[0].statusCode, 411);
    await item(page, "chunked").getByText("Failed: content-length is missing").waitFor();

    const path = await largeFile(t, (64 << 20) + 1);
    await choose(page, path);
    await item(page, "sparse").getByText("Failed: too large: 67108865 bytes, and 67108864 is the most").waitFor();
    await page.getByText("Connected", { exact: true }).waitFor();

    assert.equal((await fetch(`${origin}/upload?id=1&name=x`, { method: "POST", body: "text" })).status, 401);
    const nameless = { method: "POST", body: "text" };
    assert.equal(await statusOf(`${origin}/upload?id=1&name=`, cookie, nameless), 422);
    assert.equal(await statusOf(`${origin}/upload?id=${"1".repeat(65)}&name=x`, cookie, nameless), 422);
    assert.equal(await statusOf(`${origin}/api/sse?userId=browser-1`), 401);
    assert.equal(await statusOf(`${origin}/api/sse/stats`, cookie), 403);
  });

  test("a large file passes through, and is never in memory", async (t) => {
    const { origin, pid } = await startExample(t, "upload");
    const page = await openPage(t, browser, origin, "/");
    await ready(page);
    const most = async () => Number(/^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid()}/status`, "utf8"))[1]);
    const before = await most();
    await choose(page, await largeFile(t, 64 << 20));
    await item(page, "sparse").getByText("Done: 67,108,864 bytes").waitFor();
    const grown = (await most()) - before;
    assert.ok(grown < 8 << 10, `${grown} kB more`);
  });
});

describe("chat", () => {
  const people = (page, names) => page.getByText(`Here: ${names}`, { exact: true }).waitFor();
  const messages = (page) => page.getByRole("list", { name: "Messages" }).getByRole("listitem").allTextContents();
  const shows = (page, ...all) => until(`it shows ${all}`, async () => `${await messages(page)}` === `${all}`);
  const say = async (page, text) => {
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.getByRole("button", { name: "Send" }).click();
  };
  const enter = async (page, name) => {
    await page.getByLabel("Your name").fill(name);
    await page.getByRole("button", { name: "Join" }).click();
  };
  const come = async (t, origin, name, path = "/") => {
    const page = await openPage(t, browser, origin, path);
    await enter(page, name);
    await page.getByText("Connected.", { exact: true }).waitFor();
    return page;
  };

  test("what is said reaches the room and who comes later; what is typed, who is there", async (t) => {
    const { origin } = await startExample(t, "chat");
    const [ada, bob] = [await come(t, origin, "Ada"), await come(t, origin, "Bob")];
    const garden = await come(t, origin, "Gus", "/?room=garden");
    for (const page of [ada, bob]) await people(page, "Ada, Bob");
    await people(garden, "Gus");

    await ada.getByLabel("Message", { exact: true }).pressSequentially("He");
    await bob.getByText("Ada is typing…", { exact: true }).waitFor();
    await say(ada, HTML);
    for (const page of [ada, bob]) await shows(page, `Ada${HTML}`);
    assert.equal(await bob.getByText("is typing").count(), 0);
    await say(bob, "Hello");
    for (const page of [ada, bob]) await shows(page, `Ada${HTML}`, "BobHello");
    assert.deepEqual([await ada.title(), await bob.title()], ["Chat", "Chat"]);

    const eve = await come(t, origin, "Eve");
    await shows(eve, `Ada${HTML}`, "BobHello");
    await people(eve, "Ada, Bob, Eve");
    assert.equal(await eve.getByText("is typing").count(), 0);

    await say(garden, "Only here");
    await shows(garden, "GusOnly here");
    await say(eve, "Last");
    for (const page of [ada, bob, eve]) await shows(page, `Ada${HTML}`, "BobHello", "EveLast");
  });

  test("several tabs of one person are one presence, which ends with the last of them", async (t) => {
    const { origin, port } = await startExample(t, "chat");
    const bob = await come(t, origin, "Bob");
    const heard = await subscribe(bob, { url: "/rooms/garden/events", types: ["people"] });
    await heard.heard("connected");

    const ada = await come(t, origin, "Ada", "/?room=garden");
    const told = async () => (await heard.log()).filter(({ type }) => type === "people").map(({ data }) => `${JSON.parse(data).people}`);
    await until("Ada is there", async () => (await told()).at(-1) === "Ada,Bob");
    const tabs = [ada];
    for (let more = 0; more < 2; more++) {
      const tab = await ada.context().newPage();
      await tab.goto(`${origin}/?room=garden`);
      await people(tab, "Ada, Bob");
      tabs.push(tab);
    }
    const before = (await told()).length;

    // One more, of which it is known when the server has noticed its end: it ends the other half.
    const { name, value } = (await ada.context().cookies())[0];
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.write(`GET /rooms/garden/events HTTP/1.1\r\nhost: chat\r\ncookie: ${name}=${value}\r\n\r\n`);
    assert.match(`${(await once(socket, "data"))[0]}`, /^HTTP\/1.1 200 /);
    socket.resume().end();
    await once(socket, "end");
    const list = await fetch(`${origin}/rooms/garden/people`, { headers: { cookie: `${name}=${value}` } });
    assert.deepEqual((await list.json()).people, ["Ada", "Bob"]);

    for (const tab of tabs) await tab.close();
    await until("Ada is gone", async () => (await told()).at(-1) === "Bob");
    // Neither the further tabs nor their ends were worth telling.
    assert.deepEqual((await told()).slice(before - 1), ["Ada,Bob", "Bob"]);
    await people(bob, "Bob");
  });

  test("a name belongs to who is here under it; strangers and wrong rooms are refused", async (t) => {
    const { origin } = await startExample(t, "chat");
    const ada = await come(t, origin, "Ada");
    const thief = await openPage(t, browser, origin, "/");
    await enter(thief, " aDA ");
    await thief.getByText("Somebody of this name is here already.").waitFor();
    assert.equal(await statusOf(`${origin}/rooms/lobby/events`), 401);
    assert.equal((await post(`${origin}/rooms/lobby/messages`, { text: "from nobody" })).status, 401);
    for (const name of ["", "   ", "x".repeat(31), "a\nb"]) assert.equal((await post(`${origin}/join`, { name })).status, 422, name);

    const { name, value, httpOnly, sameSite } = (await ada.context().cookies())[0];
    assert.deepEqual({ name, httpOnly, sameSite }, { name: "chat", httpOnly: true, sameSite: "Lax" });
    const cookie = `${name}=${value}`;
    for (const room of ["cellar", "lobby%2F", "%FF"]) assert.equal(await statusOf(`${origin}/rooms/${room}/events`, cookie), 404, room);
    for (const text of ["", "  ", "x".repeat(2_001)]) {
      assert.equal((await post(`${origin}/rooms/lobby/messages`, { text }, cookie)).status, 422);
    }
    assert.equal((await post(`${origin}/rooms/lobby/messages`, { text: "x".repeat(17_000) }, cookie)).status, 413);
    assert.equal((await post(`${origin}/rooms/lobby/messages`, { text: "ü".repeat(2_000) }, cookie)).status, 204);
    await shows(ada, `Ada${"ü".repeat(2_000)}`);

    await ada.close();
    await until("the name is free", async () => (await post(`${origin}/join`, { name: "Ada" })).status === 204);
    await enter(thief, "Ada");
    await thief.getByText("Connected.", { exact: true }).waitFor();
    assert.equal((await post(`${origin}/rooms/lobby/messages`, { text: "under a lost name" }, cookie)).status, 401);
  });

  test("a lost connection costs no message, and a restart costs the names only", async (t) => {
    const data = await mkdtemp(join(tmpdir(), "fanfare-chat-"));
    t.after(() => rm(data, { recursive: true, force: true }));
    const server = await startExample(t, "chat", { DATA_DIR: data });
    const lines = new Set();
    const proxy = await startProxy(t, server, (client, upstream) => {
      upstream.pipe(client);
      lines.add(client);
      client.once("close", () => lines.delete(client));
    });
    const [ada, bob] = [await come(t, proxy, "Ada"), await come(t, server.origin, "Bob")];
    await say(bob, "One");
    await shows(ada, "BobOne");
    for (const line of lines) line.destroy();
    await people(bob, "Bob");
    await say(bob, "Two");
    await shows(ada, "BobOne", "BobTwo");
    await people(bob, "Ada, Bob");

    await server.stop();
    await server.start();
    await enter(bob, "Bob");
    await shows(bob, "BobOne", "BobTwo");
    await say(bob, "Three");
    await enter(ada, "Ada");
    await shows(ada, "BobOne", "BobTwo", "BobThree");
  });
});

describe("dashboard", () => {
  /** The heights of a sparkline, from left to right. */
  const heights = async (page, name) => {
    const points = (await page.locator(`#${name} polyline`).getAttribute("points")).split(" ");
    return points.map((point) => Number(point.split(",")[1]));
  };
  /** Events published rise by as many with every update: a hole would be a larger step, a double a smaller one. */
  const isStraight = (line) => {
    const steps = line.slice(1).map((height, at) => line[at] - height);
    return steps.every((step) => step > 0 && Math.abs(step - steps[0]) < 1e-6);
  };

  test("between its loading and its stream a page misses nothing, and gets nothing twice", async (t) => {
    const { origin } = await startExample(t, "dashboard");
    const page = await openPage(t, browser, origin, "/style.css");
    let release;
    const held = new Promise((resolve) => {
      page.route(/\/api\/sse\?/, async (route) => {
        await new Promise((go) => resolve((release = go)));
        await route.continue();
      });
    });
    const published = async () => (await (await fetch(`${origin}/state`)).json()).metrics.published ?? [];
    await until("there is something to begin with", async () => (await published()).length >= 2);
    await page.goto(origin);
    await held;
    const first = (await published()).length;
    await until("time passes", async () => (await published()).length >= first + 2);
    assert.ok((await heights(page, "published")).length <= first, "it has heard nothing yet");
    release();
    await page.getByText("Live", { exact: true }).waitFor();
    await until("it goes on", async () => (await heights(page, "published")).length >= first + 3);
    const line = await heights(page, "published");
    assert.ok(isStraight(line), `${line}`);
    for (const name of ["cpu", "load", "memory", "clients", "delivered"]) {
      assert.match(await page.locator(`#${name} output`).textContent(), /^[\d,]+(\.\d)?$/, name);
    }
    assert.equal(await page.locator("#clients output").textContent(), "1");
  });

  test("after a restart the page begins anew", async (t) => {
    const server = await startExample(t, "dashboard");
    const page = await openPage(t, browser, server.origin, "/");
    await until("it has heard something", async () => (await heights(page, "published").catch(() => [])).length >= 4);
    await server.stop();
    await page.getByText("Reconnecting…").waitFor();
    await server.start();
    await page.getByText("Live", { exact: true }).waitFor();
    const published = (await (await fetch(`${server.origin}/state`)).json()).metrics.published;
    const line = await heights(page, "published");
    assert.ok(line.length <= published.length && isStraight(line), `${line}`);
  });

  test("looking is all that is open", async (t) => {
    const { origin } = await startExample(t, "dashboard");
    const body = JSON.stringify({ event: "update", data: {} });
    const forged = { method: "POST", headers: { "content-type": "application/json" }, body };
    assert.equal(await statusOf(`${origin}/api/sse/publish`, undefined, forged), 403);
    assert.equal(await statusOf(`${origin}/api/sse/clients`), 403);
  });
});

/** An example on a port of its own, which ends with the test `t`. */
async function startExample(t, name, env = {}) {
  const path = join(BINARIES, name);
  assert.ok(existsSync(path), `${path} does not exist: cargo build -p fanfare-examples, or set FANFARE_EXAMPLES_BIN`);
  let child;
  const example = {
    origin: "http://127.0.0.1:0",
    get port() {
      return Number(new URL(example.origin).port);
    },
    pid: () => child.pid,
    /** Again on the port it had, if it had one. */
    async start() {
      const LISTEN = new URL(example.origin).host;
      child = spawn(path, { env: { ...process.env, ...env, LISTEN }, stdio: ["ignore", "pipe", "inherit"] });
      const { pid } = child;
      children.add(child);
      child.once("exit", () => children.delete(child));
      const [line] = await Promise.race([
        once(createInterface({ input: child.stdout }), "line"),
        once(child, "exit").then(([code]) => assert.fail(`${name} (${pid}) ended with ${code}`)),
      ]);
      example.origin = line.replace(/^Open /, "");
    },
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
  await example.start();
  t.after(() => (child.exitCode === null && child.signalCode === null ? example.stop() : undefined));
  return example;
}

/** A form, sent from outside the browser. */
const post = (url, fields, cookie) =>
  fetch(url, { method: "POST", redirect: "manual", headers: cookie ? { cookie } : {}, body: new URLSearchParams(fields) });

/** The answer's status; its body, which may be endless, is left. */
async function statusOf(url, cookie, init = {}) {
  const answer = await fetch(url, { ...init, headers: { ...init.headers, ...(cookie && { cookie }) } });
  await answer.body?.cancel();
  return answer.status;
}

/** A file of zeros that takes no room. */
async function largeFile(t, size) {
  const directory = await mkdtemp(join(tmpdir(), "fanfare-upload-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const file = await openFile(join(directory, "sparse"), "w");
  await file.truncate(size);
  await file.close();
  return join(directory, "sparse");
}
