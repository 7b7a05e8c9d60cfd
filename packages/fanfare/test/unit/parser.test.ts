// The rules of WHATWG HTML "Server-sent events", as a table that the hub's own tests read too, over every cut of the bytes.

import { readFileSync } from "node:fs";
import { createParser as createOther } from "eventsource-parser";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TIMER_MAX } from "../../src/client/backoff.js";
import { createParser } from "../../src/client/parser.js";

interface Vector {
  name: string;
  rule: number;
  input?: string;
  inputBase64?: string;
  initialLastEventId?: string;
  events: { type: string; data: string; lastEventId: string }[];
  lastEventId: string;
  retry?: number;
}

const vectors: Vector[] = JSON.parse(
  readFileSync(new URL("../../../../fixtures/wire/parse.json", import.meta.url), "utf8"),
);

/** What a reader makes of the chunks; closed by its first handler if `closes`. */
function read(chunks: Uint8Array[], initial = "", closes = false, maxLength = 1 << 22) {
  const events: Vector["events"] = [];
  let lastEventId = initial;
  let retry: number | undefined;
  const comments: string[] = [];
  const abort = new AbortController();
  const feed = createParser(
    {
      onBlock(id, type, data) {
        lastEventId = id;
        if (data === undefined) return;
        events.push({ type, data, lastEventId: id });
        if (closes) abort.abort();
      },
      onRetry(ms) {
        retry = Math.min(ms, TIMER_MAX); // as the client does
      },
      onComment: (text) => comments.push(text),
    },
    initial,
    maxLength,
    abort.signal,
  );
  const fits = chunks.every((chunk) => feed(chunk));
  return { events, lastEventId, retry, comments, fits };
}

const bytesOf = (vector: Vector) =>
  vector.inputBase64 === undefined ? new TextEncoder().encode(vector.input) : Buffer.from(vector.inputBase64, "base64");

/** The bytes in pieces of the given sizes, over and over. */
function cut(bytes: Uint8Array, ...sizes: number[]): Uint8Array[] {
  const chunks = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number;
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

describe("every rule, over every cut", () => {
  test.each(vectors.map((vector) => [vector.name, vector] as const))("%s", (_, vector) => {
    const bytes = bytesOf(vector);
    const expected = { events: vector.events, lastEventId: vector.lastEventId, retry: vector.retry };
    const initial = vector.initialLastEventId;
    const check = (chunks: Uint8Array[]) => expect(read(chunks, initial)).toMatchObject(expected);
    for (const size of [1, 2, 3, 7, Math.max(1, bytes.length)]) check(cut(bytes, size));
    // An empty chunk changes nothing.
    check(cut(bytes, 1).flatMap((chunk) => [new Uint8Array(), chunk]));
    if (bytes.length <= 2_000)
      for (let at = 0; at <= bytes.length; at++) check([bytes.subarray(0, at), bytes.subarray(at)]);
    if (vector.rule === 17) expect(read([bytes], initial, true).events).toEqual(vector.events.slice(0, 1));
  });

  test("the table is all there", () => {
    expect(vectors.length).toBeGreaterThanOrEqual(150);
    expect(new Set(vectors.map(({ rule }) => rule)).size).toBeGreaterThanOrEqual(18);
  });
});

test("a CR ends its line at once, not with the next byte", () => {
  const encoder = new TextEncoder();
  expect(read([encoder.encode("data: now\r\r")]).events).toHaveLength(1);
});

test("comments are told, and are not part of an event", () => {
  const { comments, events } = read([new TextEncoder().encode(":\n: two\ndata: x\n:three\n\n")]);
  expect(comments).toEqual(["", " two", "three"]);
  expect(events).toHaveLength(1);
});

test("takes another look at random streams with eventsource-parser", () => {
  const piece = fc.constantFrom(
    "data",
    "event",
    "id",
    "retry",
    ":",
    ": ",
    " ",
    "\n",
    "\r",
    "\r\n",
    "x",
    "é",
    "🎉",
    "12",
    "\t",
    "data:y\n\n",
    "id: 1\n",
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 60 }),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 }),
      (pieces, sizes) => {
        const text = pieces.join("");
        const ours = read(cut(new TextEncoder().encode(text), ...sizes));
        const theirs: unknown[] = [];
        const other = createOther({ onEvent: ({ event, data }) => theirs.push({ type: event ?? "message", data }) });
        // It waits for the byte behind a CR: an LF behind a block's end changes nothing but that.
        other.feed(text);
        if (text.endsWith("\r")) other.feed("\n");
        expect(ours.events.map(({ type, data }) => ({ type, data }))).toEqual(theirs);
      },
    ),
    { numRuns: 20_000 },
  );
});

describe("what is held back has a limit", () => {
  const encoder = new TextEncoder();
  test.each([
    ["one long line", "data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
    ["a long line that ends", `data: ${"a".repeat(60)}\n\n`],
    ["many lines of data", "data: 0123456789\n".repeat(5)],
    ["many empty lines of data", "data\n".repeat(60)],
    ["a line that is no field", "x".repeat(60)],
    ["a comment", `:${"x".repeat(60)}`],
  ])("%s", (_, text) => {
    for (const size of [1, 5, 100]) expect(read(cut(encoder.encode(text), size), "", false, 40).fits).toBe(false);
  });

  test("many small events never reach it", () => {
    expect(read([encoder.encode("data: 0123456789\n\n".repeat(1_000))], "", false, 40)).toMatchObject({ fits: true });
  });
});
