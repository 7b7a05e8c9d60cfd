// The life of a client: when it tries again, when it stops, what it hands over. Time and answers are moved by hand.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SSEClient, SSEError } from "../../src/index.js";
import { settle, setUp } from "./support.js";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const pass = async (ms: number) => {
  await vi.advanceTimersByTimeAsync(ms);
  await settle();
};

describe("the request", () => {
  test("carries identity, place and headers, and is not cached", async () => {
    const { connect } = setUp({
      userId: "ada & bob",
      sessionId: "s1",
      topics: ["b", "a", "b"],
      metadata: { page: "dash=board", empty: "", region: "eu" },
      lastEventId: "1.e.5",
      headers: { "x-tenant": "t" },
      credentials: "include",
    });
    const { url, headers, init } = await connect();
    expect(url).toBe(
      "http://hub.test/api/sse?userId=ada+%26+bob&sessionId=s1&topic=a&topic=b&page=dash%3Dboard&region=eu",
    );
    expect(Object.fromEntries(headers)).toEqual({
      accept: "text/event-stream",
      "last-event-id": "1.e.5",
      "x-tenant": "t",
    });
    expect(init).toMatchObject({ method: "GET", cache: "no-store", credentials: "include" });
  });

  test("is a POST with a body", async () => {
    const { connect } = setUp({ body: () => '{"a":1}' });
    expect((await connect()).init).toMatchObject({ method: "POST", body: '{"a":1}' });
  });

  test.each(["userId", "sessionId", "topic", "lastEventId", "sse.slow", ""])(
    "metadata must not be named %j",
    (name) => {
      expect(() => new SSEClient({ url: "http://hub.test", metadata: { [name]: "x" } })).toThrow(TypeError);
    },
  );

  test("a bad URL and bad numbers throw at once", () => {
    expect(() => new SSEClient({ url: "http://" })).toThrow();
    expect(() => new SSEClient()).toThrow(); // relative, and there is no page here
    for (const name of ["reconnectInterval", "maxReconnectAttempts", "connectTimeout", "idleTimeout", "maxEventSize"]) {
      for (const value of [-1, Number.NaN, Number.NEGATIVE_INFINITY])
        expect(() => new SSEClient({ url: "http://hub.test", [name]: value })).toThrow(RangeError);
    }
  });

  test("an id beyond ASCII travels as its bytes; one that no header can carry does not", async () => {
    const { connect, last } = setUp({ lastEventId: "é" });
    expect((await connect()).headers.get("last-event-id")).toBe("Ã©");
    await (await last().open()).write(`id: ${"x".repeat(300_000)}\n\n`);
    await last().end();
    await pass(1_000);
    expect(last().headers.has("last-event-id")).toBe(false);
  });

  test("headers are asked for again by each attempt, and know why", async () => {
    const headers = vi.fn(() => ({ authorization: `Bearer ${headers.mock.calls.length}` }));
    const { connect, last, client } = setUp({ headers });
    await (await connect()).refuse(500, "oops");
    await pass(1_000);
    expect(last().headers.get("authorization")).toBe("Bearer 2");
    expect(headers.mock.calls.map((call) => (call as unknown[])[0])).toMatchObject([
      { attempt: 0, lastEventId: "", reason: undefined },
      { attempt: 1, lastEventId: "", reason: { kind: "http", status: 500, body: "oops" } },
    ]);
    client.disconnect();
  });

  test("headers that cannot be had are tried again; those that come too late change nothing", async () => {
    let give = (_: HeadersInit) => {};
    const headers = vi.fn(() => new Promise<HeadersInit>((resolve) => (give = resolve)));
    headers.mockImplementationOnce(() => Promise.reject(new Error("no token")));
    const { client, exchanges, errors } = setUp({ headers });
    client.connect();
    await settle();
    expect(errors).toEqual(["network"]);
    await pass(1_000);
    client.disconnect();
    give({});
    await settle();
    expect(exchanges.every(({ aborted }) => aborted)).toBe(true);
    expect(client.status).toBe("closed");
  });
});

describe("trying again", () => {
  test("delays double from the base, up to 30 s, with full jitter and never below 100 ms", async () => {
    for (const [random, delays] of [
      [1, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]],
      [0.5, [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]],
      [0, [100, 100, 100]],
    ] as const) {
      const { connect, last, exchanges, client } = setUp({}, random);
      await connect();
      for (const [n, delay] of delays.entries()) {
        await last().fail();
        expect(client.getSnapshot()).toMatchObject({ status: "waiting", reconnectAttempts: n + 1 });
        await pass(delay - 1);
        expect(exchanges).toHaveLength(n + 1);
        await pass(1);
        expect(exchanges).toHaveLength(n + 2);
      }
      client.disconnect();
    }
  });

  test("the server's retry is the base, unless the application gave one", async () => {
    for (const [options, delay] of [
      [{}, 4_000],
      [{ reconnectInterval: 200 }, 200],
      [{ reconnectInterval: 0 }, 100],
    ] as const) {
      const { connect, exchanges, client } = setUp(options);
      await (await (await connect()).greet("1.e.1")).end();
      await pass(delay - 1);
      expect(exchanges).toHaveLength(1);
      await pass(1);
      expect(exchanges).toHaveLength(2);
      client.disconnect();
    }
  });

  test("failures are counted until a connection was open for 10 s, not until it opens", async () => {
    const { connect, last, client } = setUp({ reconnectInterval: 100 });
    await (await (await connect()).open()).end();
    await pass(100);
    await (await last().open()).end();
    expect(client.getSnapshot().reconnectAttempts).toBe(2);
    await pass(200);
    await last().open();
    expect(client.getSnapshot()).toMatchObject({ status: "open", reconnectAttempts: 2, error: null });
    await pass(9_999);
    expect(client.getSnapshot().reconnectAttempts).toBe(2);
    await pass(1);
    expect(client.getSnapshot().reconnectAttempts).toBe(0);
    await last().end();
    expect(client.getSnapshot().reconnectAttempts).toBe(1);
  });

  test("after maxReconnectAttempts failures in a row it gives up, with the last error; connect() begins anew", async () => {
    const { connect, last, exchanges, client, errors } = setUp({ maxReconnectAttempts: 2, reconnectInterval: 100 });
    await (await connect()).fail();
    await pass(100);
    await last().refuse(502, "bad gateway");
    await pass(200);
    await last().refuse(503, "later");
    expect(client.getSnapshot()).toMatchObject({
      status: "closed",
      error: { kind: "http", status: 503, body: "later" },
    });
    await pass(60_000);
    expect(exchanges).toHaveLength(3);
    expect(errors).toEqual(["network", "http", "http"]);
    client.connect();
    await settle();
    expect(exchanges).toHaveLength(4);
    expect(client.getSnapshot()).toMatchObject({ status: "connecting", reconnectAttempts: 0 });
  });

  test("with maxReconnectAttempts 0, or without autoReconnect, one failure is the end", async () => {
    for (const options of [{ maxReconnectAttempts: 0 }, { autoReconnect: false }]) {
      const { connect, client } = setUp(options);
      await (await connect()).fail();
      expect(client.status).toBe("closed");
    }
  });

  test.each([408, 425, 429, 500, 502, 503, 504, 599])("%i may pass: it tries again", async (status) => {
    const { connect, client } = setUp();
    await (await connect()).refuse(status, "why");
    expect(client.getSnapshot()).toMatchObject({
      status: "waiting",
      error: { kind: "http", status, body: "why", retryable: true },
    });
  });

  test.each([201, 204, 205, 206, 304, 400, 404, 405, 409, 410, 413, 422, 431, 401, 403])(
    "%i is the end",
    async (status) => {
      const { connect, client, exchanges } = setUp();
      await (await connect())
        .refuse(status, status === 204 || status === 205 || status === 304 ? "" : "why")
        .catch(() => {});
      if (status === 304) return; // no such Response can be made by hand
      await pass(60_000);
      expect(client.getSnapshot()).toMatchObject({
        status: "closed",
        error: { kind: "http", status, retryable: false },
      });
      expect(exchanges).toHaveLength(1);
    },
  );

  test.each([
    ["7", 7_000],
    ["Fri, 01 Jan 2100 00:00:30 GMT", 30_000],
    ["999999", 3_600_000],
    ["yesterday", 0],
    ["-5", 0],
  ])("Retry-After: %s is a floor of %i ms, with jitter upon it", async (header, floor) => {
    vi.setSystemTime(Date.UTC(2100, 0, 1));
    const { connect, exchanges } = setUp({}, 0.5);
    await (await connect()).refuse(503, "", { "retry-after": header });
    await pass(floor + 499);
    expect(exchanges).toHaveLength(1);
    await pass(1);
    expect(exchanges).toHaveLength(2);
  });

  test("401 and 403: once more with fresh headers, at once; then it is the end", async () => {
    const { connect, last, exchanges, client } = setUp({ headers: async () => ({}) });
    await (await connect()).refuse(401, "expired");
    expect(exchanges).toHaveLength(2);
    await last().refuse(403, "no");
    expect(client.getSnapshot()).toMatchObject({ status: "closed", error: { status: 403, body: "no" } });
    // After a connection in between it is the first time again.
    client.connect();
    await settle();
    await last().refuse(401);
    await (await last().open()).end();
    await pass(1_000);
    await last().refuse(401);
    expect(exchanges).toHaveLength(6);
    expect(client.status).toBe("connecting");
  });

  test.each(["text/html", "text/event-streamfoo", "application/json", "", "text/plain; text/event-stream"])(
    "the content type %j is the end",
    async (type) => {
      const { connect, client } = setUp();
      await (await connect()).refuse(200, "<p>captive</p>", { "content-type": type });
      expect(client.getSnapshot()).toMatchObject({
        status: "closed",
        error: { kind: "content-type", status: 200, body: "<p>captive</p>" },
      });
    },
  );

  test.each(["text/event-stream", "Text/Event-Stream; charset=utf-8", " text/event-stream ;x"])(
    "the content type %j is one",
    async (type) => {
      const { connect, client } = setUp();
      await (await connect()).open({ "content-type": type });
      expect(client.status).toBe("open");
    },
  );

  test("disconnect() in any callback is the end, also where the client is in the middle of something", async () => {
    for (const status of ["connecting", "open", "waiting"]) {
      const headers = vi.fn(() => ({}));
      const onOpen = vi.fn();
      const { connect, last, client, exchanges } = setUp({ headers, onOpen });
      await (await connect()).open();
      // Long enough that its end settles the count of failures.
      await pass(20_000);
      client.disconnect();
      client.subscribe(() => client.status === status && client.disconnect());
      const before = exchanges.length;
      await connect();
      if (status !== "connecting") {
        await last().open();
        await last().end();
      }
      await pass(60_000);
      expect(client.status).toBe("closed");
      expect(exchanges.length - before).toBe(status === "connecting" ? 0 : 1);
      expect(headers).toHaveBeenCalledTimes(status === "connecting" ? 1 : 2);
      expect(onOpen).toHaveBeenCalledTimes(status === "connecting" ? 1 : 2);
      expect(vi.getTimerCount()).toBe(0);
    }
  });

  test("disconnect() when the count of failures is settled leaves nothing behind", async () => {
    const { connect, last, client } = setUp({ reconnectInterval: 0 });
    await (await connect()).fail();
    await pass(100);
    await last().open();
    client.subscribe(() => client.getSnapshot().reconnectAttempts === 0 && client.disconnect());
    await pass(10_000);
    expect(client.status).toBe("closed");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("of a refusal's body the first 2,048 bytes are kept", async () => {
    const { connect, client } = setUp();
    await (await connect()).refuse(400, "x".repeat(5_000));
    expect(client.getSnapshot().error?.body).toHaveLength(2_048);
  });
});

describe("what the server announces", () => {
  const closing = (reason: string, reconnect: boolean, retry = 20_000) =>
    `event: $closing\nretry: ${retry}\ndata: ${JSON.stringify({ reason, reconnect })}\n\n`;

  test.each(["shutdown", "lifetime", "slow", "token"])(
    "a planned end, %s: no error, no attempt; its retry is a floor, once",
    async (reason) => {
      const { connect, last, exchanges, client, errors } = setUp({}, 0.1);
      await (await (await connect()).greet("1.e.1")).write(closing(reason, true));
      expect(client.getSnapshot()).toMatchObject({ status: "waiting", error: null, reconnectAttempts: 0 });
      expect(last().aborted).toBe(true);
      await pass(19_999);
      expect(exchanges).toHaveLength(1);
      await pass(1);
      expect(exchanges).toHaveLength(2);
      expect(errors).toEqual([]);
      // Behind it the retry of `connected` counts again: 4,000.
      await last().fail();
      await pass(399);
      expect(exchanges).toHaveLength(2);
      await pass(1);
      expect(exchanges).toHaveLength(3);
    },
  );

  test("capacity is an attempt", async () => {
    const { connect, client, errors } = setUp({ maxReconnectAttempts: 1 });
    await (await (await connect()).open()).write(closing("capacity", true));
    expect(client.getSnapshot()).toMatchObject({
      status: "waiting",
      reconnectAttempts: 1,
      error: { kind: "closing", reason: "capacity" },
    });
    expect(errors).toEqual(["closing"]);
  });

  test.each(["revoked", "disconnected"])("%s is the end", async (reason) => {
    const { connect, exchanges, client } = setUp();
    await (await (await connect()).greet("1.e.1")).write(closing(reason, false));
    await pass(100_000);
    expect(client.getSnapshot()).toMatchObject({ status: "closed", error: { kind: "closing", reason } });
    expect(exchanges).toHaveLength(1);
  });

  test("gap and reset are told, in connected and on the way; live and resumed are not", async () => {
    const onGap = vi.fn();
    const onReset = vi.fn();
    const { connect, last, client } = setUp({ onGap, onReset, reconnectInterval: 0 });
    await (await (await connect()).greet("1.e.1", "live")).end();
    await pass(100);
    await (await last().greet("1.e.1", "resumed")).end();
    expect([onGap, onReset].flatMap(({ mock }) => mock.calls)).toEqual([]);
    await pass(200);
    await last().greet("1.e.9", "gap");
    expect(onGap.mock.calls).toEqual([[{ cursor: "1.e.9" }]]);
    await last().write('id: 1.e.c\nevent: $gap\ndata: {"reason":"slow"}\n\n');
    expect(onGap.mock.calls[1]).toEqual([{ cursor: "1.e.c", reason: "slow" }]);
    await last().end();
    await pass(400);
    await last().greet("1.f.2", "reset");
    expect(onReset.mock.calls).toEqual([[{ cursor: "1.f.2" }]]);
    expect(client.lastEventId).toBe("1.f.2");
    await last().write("id: 1.f.5\nevent: $reset\ndata: {}\n\n");
    expect(onReset).toHaveBeenCalledTimes(2);
  });

  test("an application's own event named gap or reset is none", async () => {
    const onGap = vi.fn();
    const { connect } = setUp({ onGap, onReset: onGap });
    await (await (await connect()).greet("1.e.1")).write(
      "id: 1.e.2\nevent: gap\ndata: {}\n\nid: 1.e.3\nevent: xreset\ndata: {}\n\n",
    );
    expect(onGap).not.toHaveBeenCalled();
  });
});

describe("what is handed over", () => {
  test("publisher's id and cursor, ephemeral events, the last event id", async () => {
    const { connect, client } = setUp();
    const events: unknown[] = [];
    client.addEventListener("a", (event) => events.push(event));
    await (await (await connect()).greet("1.e.1")).write(
      'id: 1.e.2~order-7~x\nevent: a\ndata: {"n":1}\n\nid: 1.e.2~~\nevent: a\ndata: 2\n\nid: 1.e.3\nevent: a\ndata: "3"\n\n',
    );
    expect(events).toEqual([
      { event: "a", data: { n: 1 }, cursor: "1.e.2", id: "order-7~x" },
      { event: "a", data: 2, cursor: "1.e.2", ephemeral: true },
      { event: "a", data: "3", cursor: "1.e.3" },
    ]);
    expect(client.lastEventId).toBe("1.e.3");
    expect(client.getSnapshot().lastEvent).toBe(events[2]);
  });

  test("an ephemeral event with an id of its own is handed over, under that id", async () => {
    const { connect, client } = setUp();
    const events: unknown[] = [];
    client.addEventListener("a", (event) => events.push(event));
    await (await (await connect()).greet("1.e.1")).write("id: 1.e.1~~own\nevent: a\ndata: 1\n\n");
    expect(events).toEqual([{ event: "a", data: 1, cursor: "1.e.1", ephemeral: true, id: "own" }]);
  });

  test("what was seen is not handed over again, and the place never goes back", async () => {
    const { connect, last, events, client } = setUp();
    const event = (id: string, n: number) => `id: ${id}\nevent: n\ndata: ${n}\n\n`;
    await (await (await connect()).greet("1.e.z")).write(event("1.e.10", 1) + event("1.e.11~own", 2));
    await last().write(
      event("1.e.z", 0) + event("1.e.10", 1) + event("1.e.11~own", 2) + event("1.e.11~~", 3) + event("1.e.11~~own", 4),
    );
    expect(client.lastEventId).toBe("1.e.11~own");
    await last().write(event("1.e.12", 5) + event("1.f.1", 6));
    expect(events.filter(([type]) => type === "n").map(([, n]) => n)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("other servers' ids are kept as they are, and nothing of theirs is taken for seen", async () => {
    const { connect, last, events, client } = setUp();
    await (await connect()).open();
    await last().write("id: 1.2.3\ndata: 1\n\ndata: 2\n\nid: 1.2.3\ndata: 3\n\nid: 7\n\nid: abc~d\ndata: 4\n\n");
    expect(events).toEqual([1, 2, 3, 4].map((n) => ["message", n]));
    expect(client.lastEventId).toBe("abc~d");
  });

  test("control events reach listeners but are no lastEvent", async () => {
    const { connect, events, client } = setUp();
    await (await (await connect()).greet("1.e.1")).write('id: 1.e.4\nevent: ping\ndata: {"timestamp":1}\n\n');
    expect(events.map(([type]) => type)).toEqual(["connected", "ping"]);
    expect(client.getSnapshot().lastEvent).toBeNull();
    expect(client.lastEventId).toBe("1.e.4");
  });

  test("server events named error, open and close are ordinary ones", async () => {
    const onOpen = vi.fn();
    const { connect, events, errors } = setUp({ onOpen });
    await (await connect()).open();
    const all = ["error", "open", "close", "message", "*", "__proto__", "constructor"];
    await (await connect()).write(all.map((type) => `event: ${type}\ndata: 1\n\n`).join(""));
    expect(events.map(([type]) => type)).toEqual(all);
    expect(errors).toEqual([]);
    expect(onOpen).toHaveBeenCalledTimes(1);
  });

  test("a listener that throws harms nobody", async () => {
    const report = vi.spyOn(console, "error").mockImplementation(() => {});
    const { connect, events, client, exchanges } = setUp();
    client.addEventListener("a", () => {
      throw new Error("mine");
    });
    const seen: number[] = [];
    client.addEventListener("a", ({ data }) => seen.push(data as number));
    await (await (await connect()).open()).write("event: a\ndata: 1\n\nevent: a\ndata: 2\n\n");
    expect(seen).toEqual([1, 2]);
    expect(events).toHaveLength(2);
    expect(exchanges).toHaveLength(1);
    expect(report).toHaveBeenCalledTimes(2);
  });

  test("disconnect() inside a handler: nothing more comes, not even the rest of the chunk, and the place stays", async () => {
    const { connect, client } = setUp();
    const seen: unknown[] = [];
    client.addEventListener("a", ({ data }) => {
      seen.push(data);
      client.disconnect();
    });
    await (await (await connect()).open()).write("id: 1\nevent: a\ndata: 1\n\nid: 2\nevent: a\ndata: 2\n\n");
    expect(seen).toEqual([1]);
    expect(client.lastEventId).toBe("1");
    expect(client.getSnapshot()).toMatchObject({ status: "closed", error: null });
  });

  test("listeners may come and go while an event is handed over", async () => {
    const { connect, client } = setUp();
    const seen: string[] = [];
    const second = () => seen.push("second");
    client.addEventListener("a", () => {
      seen.push("first");
      offSecond();
      client.addEventListener("a", () => seen.push("late"));
    });
    const offSecond = client.addEventListener("a", second);
    await (await (await connect()).open()).write("event: a\ndata: 1\n\n");
    expect(seen).toEqual(["first"]);
  });

  test("a listener with a signal ends with it; the same function added twice is called twice", async () => {
    const { connect, client, last } = setUp();
    const handler = vi.fn();
    const abort = new AbortController();
    client.addEventListener("a", handler, { signal: abort.signal });
    const off = client.addEventListener("a", handler);
    await (await (await connect()).open()).write("event: a\ndata: 1\n\n");
    expect(handler).toHaveBeenCalledTimes(2);
    abort.abort();
    await last().write("event: a\ndata: 1\n\n");
    expect(handler).toHaveBeenCalledTimes(3);
    off();
    await last().write("event: a\ndata: 1\n\n");
    expect(handler).toHaveBeenCalledTimes(3);
  });

  test("data that is no JSON is told, the connection goes on; decode reads it otherwise", async () => {
    const stream = "event: a\ndata: [DONE]\n\nevent: a\ndata: 1\n\nevent: ping\ndata: hello\n\n";
    for (const [decode, expected, kinds] of [
      [
        "json",
        [
          ["a", 1],
          ["ping", "hello"],
        ],
        ["decode"],
      ],
      [
        "text",
        [
          ["a", "[DONE]"],
          ["a", "1"],
          ["ping", "hello"],
        ],
        [],
      ],
      [
        (text: string, type: string) => `${type}:${text}`,
        [
          ["a", "a:[DONE]"],
          ["a", "a:1"],
          ["ping", "hello"],
        ],
        [],
      ],
    ] as const) {
      const { connect, events, errors, client } = setUp({ decode });
      await (await (await connect()).open()).write(stream);
      expect(events).toEqual(expected);
      expect(errors).toEqual(kinds);
      expect(client.status).toBe("open");
    }
  });

  test("an event beyond maxEventSize ends the connection for good: it would come again", async () => {
    const { connect, client, exchanges } = setUp({ maxEventSize: 100 });
    await (await (await connect()).open()).write(`data: ${"x".repeat(101)}`);
    await pass(60_000);
    expect(client.getSnapshot()).toMatchObject({ status: "closed", error: { kind: "too-large" } });
    expect(exchanges).toHaveLength(1);
  });

  test("comments are told", async () => {
    const onComment = vi.fn();
    const { connect } = setUp({ onComment });
    await (await (await connect()).open()).write(": hi\n");
    expect(onComment.mock.calls).toEqual([[" hi"]]);
  });
});

describe("resuming", () => {
  test("goes on behind the last event, also one without data, not behind half of one", async () => {
    const { connect, last } = setUp({ reconnectInterval: 0 });
    await (await (await connect()).open()).write("id: 1.e.5\n\nid: 1.e.6\ndata: hal");
    await last().breakOff();
    await pass(100);
    expect(last().headers.get("last-event-id")).toBe("1.e.5");
    await (await last().open()).write("id\n\n");
    await last().end();
    await pass(200);
    expect(last().headers.has("last-event-id")).toBe(false);
  });

  test("the place is stored after the handlers, at most twice a second, under a key of its own for each identity", async () => {
    const stored = new Map<string, string>();
    const setItem = vi.fn((key: string, value: string) => void stored.set(key, value));
    const storage = { getItem: (key: string) => stored.get(key) ?? null, setItem };
    const { connect, last, client } = setUp({ storage, userId: "ada" });
    await (await connect()).greet("1.e.1");
    for (let n = 2; n < 9; n++) await last().write(`id: 1.e.${n}\nevent: a\ndata: 1\n\n`);
    await pass(499);
    expect(setItem).not.toHaveBeenCalled();
    await pass(1);
    expect(setItem).toHaveBeenCalledTimes(1);
    await last().write("id: 1.e.9\nevent: a\ndata: 1\n\n");
    client.disconnect();
    expect([...stored.values()]).toEqual(["1.e.9"]);
    expect(setUp({ storage, userId: "ada" }).client.lastEventId).toBe("1.e.9");
    expect(setUp({ storage, userId: "bob" }).client.lastEventId).toBe("");
    expect(setUp({ storage, userId: "ada", lastEventId: "earliest" }).client.lastEventId).toBe("earliest");
  });
});

test("a storage that throws is reported, and the client does without", async () => {
  const report = vi.spyOn(console, "error").mockImplementation(() => {});
  const refuse = () => {
    throw new Error("denied");
  };
  const { connect, client } = setUp({ storage: { getItem: refuse, setItem: refuse } });
  await (await connect()).greet("1.e.1");
  await pass(500);
  expect(client.status).toBe("open");
  expect(report).toHaveBeenCalledTimes(2);
});

test.each([0, -1, null, "x"])("a heartbeat of %j is none: the default holds", async (heartbeatInterval) => {
  const { connect, errors } = setUp();
  await (await connect()).greet("1.e.1", "live", { heartbeatInterval });
  await pass(59_999);
  expect(errors).toEqual([]);
  await pass(1);
  expect(errors).toEqual(["idle"]);
});

describe("connect and disconnect", () => {
  test("connect() while at it does nothing; disconnect() is final, in every state", async () => {
    const { connect, client, exchanges, last } = setUp();
    await connect();
    await connect();
    expect(exchanges).toHaveLength(1);
    client.disconnect(); // connecting
    expect(last().aborted).toBe(true);
    await (await connect()).fail();
    client.disconnect(); // waiting
    await pass(60_000);
    expect(exchanges).toHaveLength(2);
    await (await connect()).open();
    client.disconnect(); // open
    await last().write("data: 1\n\n");
    expect(client.status).toBe("closed");
    client.disconnect(); // closed
    await pass(60_000);
    expect(exchanges).toHaveLength(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("an error handler may end it", async () => {
    const { connect, client, exchanges } = setUp({ onError: () => client.disconnect() });
    await (await connect()).fail();
    await pass(60_000);
    expect(client.status).toBe("closed");
    expect(exchanges).toHaveLength(1);
  });

  test("the snapshot is the same object until something changes, and another then", async () => {
    const { connect, client, last } = setUp();
    const seen = new Set();
    client.subscribe(() => seen.add(client.getSnapshot()));
    await (await connect()).open();
    const before = client.getSnapshot();
    await pass(100);
    expect(client.getSnapshot()).toBe(before);
    await last().write("event: a\ndata: 1\n\n");
    expect(client.getSnapshot()).not.toBe(before);
    expect(seen.has(client.getSnapshot())).toBe(true);
  });
});

describe("silence", () => {
  test("two heartbeats and 5 s without a byte end the connection, which comes back; any byte counts", async () => {
    const { connect, last, exchanges, errors, client } = setUp({ reconnectInterval: 0 });
    await (await connect()).greet("1.e.1", "live", { heartbeatInterval: 10_000 });
    await pass(24_999);
    await last().write(":\n");
    await pass(24_999);
    expect(client.status).toBe("open");
    await pass(1);
    expect(errors).toEqual(["idle"]);
    await pass(100);
    expect(exchanges).toHaveLength(2);
    expect(last().headers.get("last-event-id")).toBe("1.e.1");
  });

  test("before an interval was announced it is a minute, or what the application says", async () => {
    for (const [options, limit] of [
      [{}, 60_000],
      [{ idleTimeout: 3_000 }, 3_000],
    ] as const) {
      const { connect, errors, client } = setUp(options);
      await (await connect()).open();
      await pass(limit - 1);
      expect(errors).toEqual([]);
      await pass(1);
      expect(errors).toEqual(["idle"]);
      client.disconnect();
    }
    const { connect, client } = setUp({ idleTimeout: Number.POSITIVE_INFINITY });
    await (await connect()).open();
    await pass(10 * 86_400_000);
    expect(client.status).toBe("open");
  });

  test("no answer within connectTimeout is a failure", async () => {
    const { connect, exchanges, errors, last } = setUp({ connectTimeout: 5_000 });
    const first = await connect();
    await pass(5_000);
    expect(errors).toEqual(["timeout"]);
    expect(first.aborted).toBe(true);
    await pass(1_000);
    expect(exchanges).toHaveLength(2);
    await last().open();
    await pass(50_000);
    expect(errors).toEqual(["timeout"]);
  });

  test("after sleep, what waits to be read gets a moment before the connection counts as dead", async () => {
    const { connect, last, errors, client } = setUp();
    await (await connect()).greet("1.e.1");
    // The machine sleeps for an hour: the clock moves, timers do not.
    const sleep = () => vi.setSystemTime(Date.now() + 3_600_000);
    sleep();
    await pass(65_000);
    expect(errors).toEqual([]);
    await last().write('id: 1.e.2\nevent: ping\ndata: {"timestamp":1}\n\n');
    await pass(60_000);
    expect(client.status).toBe("open");
    sleep();
    await pass(10_000);
    expect(errors).toEqual(["idle"]);
  });

  test("a clock that is set back does not hide silence for longer than the limit", async () => {
    const { connect, errors } = setUp();
    await (await connect()).greet("1.e.1");
    vi.setSystemTime(Date.now() - 86_400_000);
    await pass(130_001);
    expect(errors).toEqual(["idle"]);
  });
});

describe("a page", () => {
  /** A window that tells what happens to it; Node has none. */
  function openWindow() {
    const page = new EventTarget();
    vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
    return (type: string) => page.dispatchEvent(new Event(type));
  }
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  test("back online: at once, with some spread, whether it waited or its connection died unnoticed", async () => {
    const tell = openWindow();
    const { connect, last, exchanges, client } = setUp();
    await (await connect()).greet("1.e.1");
    tell("offline");
    expect(client.status).toBe("open");
    tell("online");
    await pass(599);
    expect(exchanges).toHaveLength(1);
    await pass(1);
    expect(exchanges).toHaveLength(2);
    tell("offline");
    await last().fail();
    await pass(20_000);
    expect(exchanges).toHaveLength(2);
    expect(client.getSnapshot()).toMatchObject({ status: "waiting", reconnectAttempts: 0 });
    tell("online");
    await pass(600);
    expect(exchanges).toHaveLength(3);
    tell("online"); // without having been offline
    await last().open();
    await pass(600);
    expect(client.status).toBe("open");
  });

  test("a page that goes has no error to tell; out of the back/forward cache it goes on where it was", async () => {
    const tell = openWindow();
    const { connect, last, exchanges, errors, client } = setUp();
    const first = await (await connect()).greet("1.e.5");
    tell("pageshow"); // of every page load
    tell("pagehide");
    await pass(100_000);
    expect(first.aborted).toBe(true);
    expect([exchanges.length, errors]).toEqual([1, []]);
    tell("pageshow");
    await settle();
    expect(last().headers.get("last-event-id")).toBe("1.e.5");
    client.disconnect();
    tell("pagehide");
    tell("pageshow");
    await settle();
    expect(exchanges).toHaveLength(2);
  });

  test("seen again after its timers stood still: the clock decides", async () => {
    const tell = openWindow();
    const { connect, last, exchanges } = setUp();
    await (await connect()).fail();
    tell("visibilitychange");
    await settle();
    expect(exchanges).toHaveLength(1);
    vi.setSystemTime(Date.now() + 1_001);
    tell("visibilitychange");
    await settle();
    expect(exchanges).toHaveLength(2);
    await last().greet("1.e.1");
    vi.setSystemTime(Date.now() + 100_000);
    tell("visibilitychange");
    await pass(2_999);
    expect(exchanges).toHaveLength(2);
    await pass(4_001);
    expect(exchanges).toHaveLength(3);
  });
});

describe("events()", () => {
  test("hands over everything in order, of one type or of all, until the loop is left", async () => {
    const { connect, client, last } = setUp();
    await (await connect()).open();
    const some = (async () => {
      const seen: unknown[] = [];
      for await (const { data } of client.events("a")) {
        seen.push(data);
        if (seen.length === 3) break;
      }
      return seen;
    })();
    const all = (async () => {
      const seen: string[] = [];
      for await (const { event } of client.events()) seen.push(event);
      return seen;
    })();
    await last().write("event: a\ndata: 1\n\nevent: b\ndata: 2\n\nevent: a\ndata: 3\n\n");
    await last().write("event: a\ndata: 4\n\nevent: a\ndata: 5\n\n");
    expect(await some).toEqual([1, 3, 4]);
    client.disconnect();
    expect(await all).toEqual(["a", "b", "a", "a", "a"]);
  });

  test("throws why the client gave up, ends with a signal, and has a limit", async () => {
    const { connect, client, last } = setUp();
    await (await connect()).open();
    const abort = new AbortController();
    const drain = async (loop: AsyncIterable<unknown>) => {
      for await (const _ of loop);
    };
    const signalled = drain(client.events("a", { signal: abort.signal }));
    const slow = client.events("a", { highWaterMark: 2 });
    const first = slow.next();
    await last().write("event: a\ndata: 1\n\n");
    expect((await first).value?.data).toBe(1);
    await last().write("event: a\ndata: 2\n\n".repeat(3));
    await expect(slow.next()).rejects.toMatchObject({ kind: "overflow" });
    abort.abort();
    await signalled;
    const failing = drain(client.events()).catch((error) => error);
    await last().end();
    await pass(1_000);
    await last().refuse(404, "gone");
    expect(await failing).toBeInstanceOf(SSEError);
    expect(await failing).toMatchObject({ kind: "http", status: 404 });
  });
});
