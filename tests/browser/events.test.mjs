// The browser's own EventSource against the real server: what arrives, and how it is told from failures.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage, startServer, subscribe, until } from "./support.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

const STANDARD = ["system", "notification", "update", "progress", "success", "error", "message"];

for (const compression of ["off", "on"]) {
  test(`every type arrives with its exact data and id, in order, with compression ${compression}`, (t) => everyType(t, compression));
}

async function everyType(t, compression) {
  const server = await startServer(t, "--compression", compression);
  const page = await openPage(t, browser, server.origin);
  const encodings = [];
  page.on("response", (response) => {
    if (new URL(response.url()).pathname === "/api/sse") encodings.push(response.headers()["content-encoding"]);
  });
  // As JSON texts: what arrives is the text, only white space between its parts is gone.
  const hostile = {
    "several lines": String.raw`"one\ntwo\r\nthree\r\n\r\nfour\rfive\n"`,
    "lines that look like fields": String.raw`"\n\ndata: forged\nid: 0\nevent: error\n\n"`,
    "line separators of Unicode": '"a\u2028b\u2029c\u0085d"',
    "a byte order mark and other invisible characters": '"\ufeff\u200b\u202eabc\u2066"',
    "emoji and combining characters": '"🎺👩‍👩‍👧‍👦🏴‍☠️ e\u0301 𝔉𝔞𝔫𝔣𝔞𝔯𝔢"',
    "escaped characters": String.raw`"\u0000\u0041\ud83c\udfba\ud800\/\"\\"`,
    "numbers and the order of keys": '{"b":1.0,"a":12345678901234567890,"1":1e400,"b2":-0.0}',
    "spaces and colons at the edges": '" : leading and trailing : "',
    "the empty string": '""',
    null: "null",
    "markup": '"<img src=x onerror=alert(1)></script>"',
    "200 KB": JSON.stringify("fänfare 🎺\n".repeat(15_000).slice(0, 180_000)),
  };
  assert.ok(Buffer.byteLength(hostile["200 KB"]) > 200_000);
  const sent = [
    ...[...STANDARD, "open", "close", "announcement", "with space: and colon", "größe-🎺", "constructor", "id"].map((event) => ({
      event,
      data: `{"type":${JSON.stringify(event)}}`,
    })),
    ...Object.values(hostile).map((data) => ({ event: "hostile", data })),
    { event: "own-id", data: "1", id: "order-17:a/b?c=d" },
    { event: "ephemeral", data: "2", ephemeral: true },
    { event: "retry", data: "3", retry: 60_000 },
  ];
  const stream = await subscribe(page, { types: [...new Set(sent.map(({ event }) => event))] });
  const connected = await stream.heard("connected");
  assert.equal(JSON.parse(connected.data).resume, "live");

  const expected = [];
  let cursor = connected.id;
  for (const { event, data, ...rest } of sent) {
    const fields = JSON.stringify({ event, ...rest });
    const receipt = await server.publish(`${fields.slice(0, -1)}, "data" : ${data} }`);
    assert.equal(receipt.clients, 1);
    cursor = receipt.id?.split("~")[0] ?? cursor;
    expected.push({ type: event, data, id: receipt.id ?? `${cursor}~~`, state: 1 });
  }
  await stream.heard("retry");
  const events = (await stream.log()).filter(({ type, data }) => data !== undefined && type !== "connected" && type !== "ping");
  // One at a time: a difference in 200 KB is no message to read.
  for (const [i, event] of expected.entries()) {
    assert.equal(events[i]?.data === event.data, true, `data of ${event.type}: ${event.data.slice(0, 80)}`);
    assert.deepEqual({ ...events[i], data: "" }, { ...event, data: "" });
  }
  assert.equal(events.length, expected.length);
  const own = expected.find(({ type }) => type === "own-id");
  assert.match(own.id, /^[^~]+~order-17:a\/b\?c=d$/);
  assert.deepEqual(encodings, [compression === "on" ? "gzip" : undefined]);
}

test("the helpers' events arrive as the types the browser knows them by", async (t) => {
  const server = await startServer(t);
  const page = await openPage(t, browser, server.origin);
  const stream = await subscribe(page, { url: "/api/sse?userId=ada", types: STANDARD });
  await stream.heard("connected");
  const calls = {
    system: { message: "maintenance", level: "warning" },
    update: { type: "orders", data: { count: 3 } },
    progress: { operationId: "upload", progress: 40 },
    success: { message: "done" },
    error: { error: "disk full", context: { disk: 1 } },
    "new-message": { conversationId: "c", senderId: "s", messagePreview: "hi" },
  };
  for (const [helper, body] of Object.entries(calls)) {
    const message = helper === "new-message";
    await server.request("POST", `/notify/${helper}`, message ? { recipientIds: ["ada"], ...body } : body);
    const type = message ? "notification" : helper;
    const { timestamp, ...data } = JSON.parse((await stream.heard((entry) => entry.type === type && entry.data)).data);
    assert.equal(typeof timestamp, "number");
    assert.deepEqual(data, message ? { type: "new_message", ...body } : body);
  }
});

test("a server event named error or open has data, the browser's own have none", async (t) => {
  const server = await startServer(t);
  const page = await openPage(t, browser, server.origin);
  const stream = await subscribe(page);
  await stream.heard("connected");
  const receipts = await server.publish([{ event: "error", data: { code: 7 } }, { event: "open", data: null }]);
  await stream.heard(({ type, data }) => type === "open" && data !== undefined);
  await server.kill();
  await stream.heard(({ type, data }) => type === "error" && data === undefined);
  const log = (await stream.log()).filter(({ type }) => type === "error" || type === "open");
  assert.deepEqual(log, [
    { type: "open", state: 1 },
    { type: "error", data: '{"code":7}', id: receipts[0].id, state: 1 },
    { type: "open", data: "null", id: receipts[1].id, state: 1 },
    { type: "error", state: 0 },
  ]);
});

test("streams get what is for them, by user, session, topic, metadata and client", async (t) => {
  const server = await startServer(t);
  const page = await openPage(t, browser, server.origin);
  const streams = {};
  for (const [name, query] of Object.entries({
    ada: "userId=ada&topic=orders&topic=r%C3%A4ume%2Fa%26b",
    bob: "userId=bob&sessionId=s+1&page=dash%20board",
    nobody: "",
  })) {
    streams[name] = await subscribe(page, { name, url: `/api/sse?${query}`, types: ["to", "end"] });
  }
  const ids = {};
  for (const name in streams) ids[name] = JSON.parse((await streams[name].heard("connected")).data).clientId;
  for (const [names, to] of [
    ["ada bob nobody", undefined],
    ["ada", { userId: "ada" }],
    ["ada bob", { userIds: ["bob", "ada", "eve"] }],
    ["bob", { sessionId: "s 1" }],
    ["ada", { topic: "räume/a&b" }],
    ["bob", { filter: { metadata: { page: "dash board" } } }],
    ["nobody", { clientId: ids.nobody }],
    ["", { userIds: [] }],
  ]) {
    const { clients } = await server.publish({ event: "to", data: names, to });
    assert.equal(clients, names.split(" ").filter(Boolean).length, names);
  }
  await server.publish({ event: "end", data: 0 });
  for (const name in streams) {
    await streams[name].heard("end");
    const told = (await streams[name].log()).filter(({ type }) => type === "to").map(({ data }) => JSON.parse(data));
    assert.equal(told.length, name === "nobody" ? 2 : 4);
    assert.ok(told.every((names) => names.split(" ").includes(name)), `${name}: ${told}`);
  }
});

test("a closed stream, a left page and a closed tab are gone from the server's list", async (t) => {
  const server = await startServer(t);
  const count = (n) => until(`${n} clients`, async () => (await server.clients()).length === n);
  const page = await openPage(t, browser, server.origin);
  const stream = await subscribe(page);
  await subscribe(page, { name: "second" });
  await count(2);
  await stream.close();
  await count(1);
  await page.reload();
  await count(0);
  await subscribe(page);
  await count(1);
  await page.close();
  await count(0);
  const stats = await server.request("GET", "/stats");
  assert.equal(stats.totalClients, 0);
});

test("an operator's disconnect tells the stream not to come back", async (t) => {
  const server = await startServer(t);
  const page = await openPage(t, browser, server.origin);
  const one = await subscribe(page, { name: "one", url: "/api/sse?userId=ada" });
  const two = await subscribe(page, { name: "two", url: "/api/sse?userId=ada" });
  const other = await subscribe(page, { name: "other", url: "/api/sse?userId=bob" });
  await page.evaluate(() => {
    for (const { source } of Object.values(window.streams)) {
      source.addEventListener("$closing", ({ data }) => JSON.parse(data).reconnect || source.close());
    }
  });
  const { clientId } = JSON.parse((await one.heard("connected")).data);
  for (const stream of [two, other]) await stream.heard("connected");

  await server.request("DELETE", `/clients/${clientId}`);
  const closing = await one.heard("$closing");
  assert.deepEqual(JSON.parse(closing.data), { reason: "disconnected", reconnect: false });
  assert.deepEqual(await server.request("DELETE", "/users/ada"), { disconnected: 1 });
  assert.deepEqual(JSON.parse((await two.heard("$closing")).data), { reason: "disconnected", reconnect: false });
  await until("only the other is left", async () => (await server.clients()).length === 1);
  assert.deepEqual(await Promise.all([one, two, other].map((stream) => stream.readyState())), [2, 2, 1]);
  assert.equal((await other.log()).some(({ type }) => type === "$closing"), false);
});
