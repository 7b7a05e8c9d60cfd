// Compressed streams, read by what people have: Node's fetch, curl, gzip and Python's zlib. Chromium's EventSource reads
// one in events.test.mjs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { constants, gunzipSync } from "node:zlib";
import { startServer, until } from "./support.mjs";

const EVENTS = 200;
const data = (n) => ({ order: `order-${n}`, status: ["pending", "paid", "shipped"][n % 3], note: "fänfare 🎺" });

/** Runs a program that reads a stream; `text` grows as it prints. */
function reader(t, program, ...args) {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const found = { text: "", child, ended: once(child, "exit") };
  child.stdout.setEncoding("utf8").on("data", (text) => (found.text += text));
  return found;
}

/** The data of the events of a whole stream, and its last event. */
function parsed(text) {
  const blocks = text.split("\n\n").filter(Boolean);
  const own = blocks.filter((block) => block.includes("event: order\n"));
  return {
    data: own.map((block) => JSON.parse(block.split("data: ")[1])),
    last: /event: (.*)\n/.exec(blocks.at(-1))?.[1],
  };
}

const expected = Array.from({ length: EVENTS }, (_, n) => data(n));

/** Publishes one event that must be readable at once, then the others, then ends every stream. */
async function play(server, hasFirst) {
  await until("a client", async () => (await server.clients()).length === 1);
  await server.publish({ event: "order", data: data(0) });
  await until("the first event, before there is a second", hasFirst);
  await server.publish(expected.slice(1).map((data) => ({ event: "order", data })));
  await server.stop("SIGTERM");
}

test("Node's fetch reads a compressed stream as it comes, to its end", async (t) => {
  const server = await startServer(t, "--compression", "on");
  const answer = await fetch(`${server.origin}/api/sse`, { headers: { accept: "text/event-stream" } });
  assert.equal(answer.headers.get("content-encoding"), "gzip");
  let text = "";
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of answer.body) text += decoder.decode(bytes, { stream: true });
  })();
  await play(server, () => text.includes("order-0"));
  await reading;
  assert.deepEqual(parsed(text), { data: expected, last: "$closing" });
});

test("curl reads a compressed stream as it comes, to its end", async (t) => {
  const server = await startServer(t);
  const curl = reader(t, "curl", "--silent", "--show-error", "--no-buffer", "--compressed", `${server.origin}/api/sse?sse.compression=gzip`);
  await play(server, () => curl.text.includes("order-0"));
  assert.deepEqual(await curl.ended, [0, null]);
  assert.deepEqual(parsed(curl.text), { data: expected, last: "$closing" });
});

test("what was received is a gzip file, sum and length included", async (t) => {
  const server = await startServer(t);
  const url = `${server.origin}/api/sse?sse.compression=gzip`;
  // Without --compressed curl passes on what it gets.
  const curl = spawn("curl", ["--silent", "--no-buffer", "--header", "accept-encoding: gzip", url], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => curl.kill("SIGKILL"));
  const received = [];
  curl.stdout.on("data", (bytes) => received.push(bytes));
  const ended = once(curl, "close");
  const soFar = () => gunzipSync(Buffer.concat(received), { finishFlush: constants.Z_SYNC_FLUSH }).toString();
  await play(server, () => received.length > 0 && soFar().includes("order-0"));
  await ended;
  const bytes = Buffer.concat(received);
  const gzip = reader(t, "gzip", "--decompress", "--stdout");
  gzip.child.stdin.end(bytes);
  assert.deepEqual(await gzip.ended, [0, null], "gzip complains of a wrong sum, and of anything behind the end");
  await until("all of it", () => parsed(gzip.text).last === "$closing");
  assert.deepEqual(parsed(gzip.text).data, expected);
  assert.ok(bytes.length * 2 < Buffer.byteLength(gzip.text), `${bytes.length} bytes for ${gzip.text.length}`);

  const zlib = "import sys, zlib; d = zlib.decompressobj(31); sys.stdout.buffer.write(d.decompress(sys.stdin.buffer.read())); assert d.eof and not d.unused_data";
  const python = reader(t, "python3", "-c", zlib);
  python.child.stdin.end(bytes);
  assert.deepEqual(await python.ended, [0, null]);
  await until("all of it", () => python.text === gzip.text);
});
