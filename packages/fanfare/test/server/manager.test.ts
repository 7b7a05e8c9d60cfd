// The handle on a hub: what it sends, how it fails, what it passes through.

import type { ServerResponse } from "node:http";
import { afterEach, describe, expect, test, vi } from "vitest";
import { SSEClient } from "../../src/index.js";
import {
  ClosedError,
  ConflictError,
  getSSEManager,
  InvalidError,
  initializeSSE,
  notifyUser,
  QueueFullError,
  SSEManager,
  type SSEManagerOptions,
  UnauthorizedError,
  UnavailableError,
} from "../../src/server/index.js";
import { receipts, standIn, startHub } from "./support.js";

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

const quiet = (options: SSEManagerOptions) => new SSEManager({ enableLogging: false, ...options });

describe("what is sent", () => {
  test("one event as it is, with a key, a token, and the target", async () => {
    const { url, requests } = await standIn((response, request) => response.end(receipts(request, 3)));
    const manager = quiet({ url: `${url}/`, token: "secret-token" });
    expect(
      await manager.sendToClients({ metadata: { page: "x" } }, { event: "a", data: { n: 1 }, id: "own", retry: 5 }),
    ).toBe(3);
    expect(requests).toHaveLength(1);
    expect(requests[0]).toMatchObject({ method: "POST", url: "/api/sse/publish" });
    expect(requests[0]?.headers).toMatchObject({
      "content-type": "application/json",
      authorization: "Bearer secret-token",
    });
    expect(requests[0]?.headers["idempotency-key"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.parse(requests[0]?.body as string)).toEqual({
      event: "a",
      data: { n: 1 },
      id: "own",
      retry: 5,
      to: { filter: { metadata: { page: "x" } } },
    });
  });

  test("what is sent while a request is under way goes together in the next, in the order of the calls", async () => {
    const { url, requests } = await standIn((response, request) =>
      setTimeout(() => response.end(receipts(request)), 20),
    );
    const manager = quiet({ url });
    const first = manager.broadcast({ event: "n", data: 0 });
    await new Promise((resolve) => setImmediate(resolve));
    const others = Array.from({ length: 2_500 }, (_, n) => manager.broadcast({ event: "n", data: n + 1 }));
    expect(await Promise.all([first, ...others])).toHaveLength(2_501);
    const numbers = requests.flatMap(({ body }) => [JSON.parse(body)].flat()).map(({ data }) => data);
    expect(numbers).toEqual(Array.from({ length: 2_501 }, (_, n) => n));
    expect(requests.map(({ body }) => [JSON.parse(body)].flat().length)).toEqual([1, 1_000, 1_000, 500]);
  });

  test("no request is larger than the hub takes", async () => {
    const { url, requests } = await standIn((response, request) => response.end(receipts(request)));
    const manager = quiet({ url });
    const large = "é".repeat(120_000);
    await Promise.all(Array.from({ length: 9 }, () => manager.broadcast({ event: "n", data: large })));
    expect(requests.map(({ body }) => Buffer.byteLength(body)).every((bytes) => bytes <= 1 << 20)).toBe(true);
    expect(requests).toHaveLength(3);
  });

  test("one that is not allowed takes no other with it", async () => {
    const url = await startHub();
    const manager = quiet({ url });
    const results = await Promise.allSettled([
      manager.broadcast({ event: "a", data: 1 }),
      manager.broadcast({ event: "bad\ntype", data: 1 }),
      manager.sendToUser("", { event: "a", data: 1 }),
      manager.broadcast({ event: "a", data: 2 }),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected", "fulfilled"]);
    expect((results[1] as PromiseRejectedResult).reason).toBeInstanceOf(InvalidError);
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({
      status: 422,
      type: "urn:fanfare:problem:invalid",
      errors: [{ pointer: "#/event" }],
    });
    expect((results[2] as PromiseRejectedResult).reason).toMatchObject({ errors: [{ pointer: "#/to/userId" }] });
  });

  test("publish of a list is all or nothing, and answers a receipt for each", async () => {
    const manager = quiet({ url: await startHub() });
    await expect(
      manager.publish([
        { event: "a", data: 1 },
        { event: "\n", data: 1 },
      ]),
    ).rejects.toMatchObject({ errors: [{ pointer: "#/1/event" }] });
    const cursor = await manager.getCursor();
    const [first, second] = await manager.publish([
      { event: "a", data: 1, id: "x" },
      { event: "a", data: 2, ephemeral: true },
    ]);
    expect(first).toMatchObject({ id: expect.stringMatching(/\.1~x$/), clients: 0, durability: "memory" });
    expect(second).toMatchObject({ id: null, durability: "ephemeral" });
    expect(cursor).toMatch(/\.0$/);
    expect(await manager.publish([])).toEqual([]);
  });

  test("expectLastId: a conflict tells the last id", async () => {
    const manager = quiet({ url: await startHub() });
    const to = { topic: "t" };
    const { id } = await manager.publish({ event: "a", data: 1, to, expectLastId: "none" });
    const error = await manager.publish({ event: "a", data: 2, to, expectLastId: "none" }).catch((failure) => failure);
    expect(error).toBeInstanceOf(ConflictError);
    expect(error).toMatchObject({ status: 409, lastId: id });
  });

  test("a key of the caller's own: repeated, it is the first answer, and one event", async () => {
    const manager = quiet({ url: await startHub() });
    const publish = () => manager.publish({ event: "a", data: 1 }, { idempotencyKey: "order-7" });
    expect(await publish()).toEqual(await publish());
    expect(await manager.getStats()).toMatchObject({ totalEventsPublished: 1 });
  });

  test.each([
    ["missing", undefined],
    ["a function", () => {}],
    [
      "a circle",
      (() => {
        const circle: unknown[] = [];
        return [circle.push(circle) && circle];
      })(),
    ],
    ["a BigInt", 1n],
    ["too large", "x".repeat(256 * 1024)],
  ])("data that is %s is refused before it is sent", async (_, data) => {
    const { url, requests } = await standIn((response) => response.end());
    await expect(quiet({ url }).broadcast({ event: "a", data })).rejects.toMatchObject({
      name: "InvalidError",
      errors: [{ pointer: "#/data" }],
    });
    expect(requests).toEqual([]);
  });
});

describe("failures", () => {
  test("what may pass is tried again, under the same key; nothing is published twice", async () => {
    const { url, requests } = await standIn((response, request, count) => {
      if (count === 1) response.destroy();
      else if (count === 2) response.writeHead(503, { "retry-after": "0" }).end();
      else if (count === 3) response.writeHead(502).end("<h1>Bad Gateway</h1>");
      else response.end(receipts(request));
    });
    expect(await quiet({ url }).broadcast({ event: "a", data: 1 })).toBe(1);
    expect(requests).toHaveLength(4);
    expect(new Set(requests.map(({ headers }) => headers["idempotency-key"])).size).toBe(1);
    expect(new Set(requests.map(({ body }) => body)).size).toBe(1);
  });

  test("an answer that is lost: the hub gives the first one again", async () => {
    const hub = await startHub();
    const { url } = await standIn(async (response, request, count) => {
      const answer = await fetch(hub + request.url, {
        method: "POST",
        headers: request.headers as never,
        body: request.body,
      });
      const text = await answer.text();
      // Published, but nobody hears of it.
      if (count === 1) response.destroy();
      else response.end(text);
    });
    await quiet({ url }).broadcast({ event: "a", data: 1 });
    expect(await quiet({ url: hub }).getStats()).toMatchObject({ totalEventsPublished: 1 });
  });

  test("after the deadline it gives up, with the last reason; what waits behind it is sent all the same", async () => {
    let up = false;
    const { url } = await standIn((response, request) =>
      up ? response.end(receipts(request)) : response.writeHead(503).end("later"),
    );
    const manager = quiet({ url, deadline: 600 });
    const error = await manager.broadcast({ event: "a", data: 1 }).catch((failure) => failure);
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error).toMatchObject({ status: 503 });
    up = true;
    expect(await manager.broadcast({ event: "a", data: 2 })).toBe(1);
  });

  test("a hub that takes the request and says nothing", async () => {
    const { url } = await standIn(() => {});
    await expect(quiet({ url, timeout: 100, deadline: 300 }).broadcast({ event: "a", data: 1 })).rejects.toBeInstanceOf(
      UnavailableError,
    );
  });

  test("a signal ends reading, and its waiting for another attempt, before the deadline", async () => {
    const { url } = await standIn((response) => response.writeHead(503).end());
    const manager = quiet({ url });
    const began = Date.now();
    for (const read of [manager.getCursor.bind(manager), manager.getStats.bind(manager)]) {
      await expect(read({ signal: AbortSignal.timeout(300) })).rejects.toMatchObject({ name: "TimeoutError" });
      await expect(read({ signal: AbortSignal.abort(new Error("gone")) })).rejects.toThrow("gone");
    }
    expect(Date.now() - began).toBeLessThan(10_000);
  });

  test("nobody there", async () => {
    await expect(quiet({ url: "http://127.0.0.1:9", deadline: 100 }).getStats()).rejects.toThrow(
      /could not be reached/,
    );
  });

  test("a wrong token is not tried again", async () => {
    const url = await startHub("--token", "correct-horse-battery");
    await expect(quiet({ url }).broadcast({ event: "a", data: 1 })).rejects.toBeInstanceOf(UnauthorizedError);
    expect(await quiet({ url, token: "correct-horse-battery" }).broadcast({ event: "a", data: 1 })).toBe(0);
  });

  test("a rejection that nobody awaits goes to onError, never to unhandledRejection; an awaited one to its awaiter", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const { url } = await standIn((response) => response.writeHead(422).end('{"detail":"no"}'));
    const onError = vi.fn();
    const manager = quiet({ url, onError });
    manager.broadcast({ event: "a", data: 1 });
    void manager.sendToUser("u", { event: "a", data: undefined });
    void manager.sendToClient("c", { event: "a", data: 1 }).then(() => "derived");
    void manager.disconnectClient("c").finally(() => {});
    await expect.poll(() => onError.mock.calls.length).toBe(4);
    await expect(manager.broadcast({ event: "a", data: 1 })).rejects.toThrow("no");
    await Promise.all([manager.getStats().catch(() => {}), Promise.allSettled([manager.getCursor()])]);
    await manager.getStats().then(null, () => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(onError).toHaveBeenCalledTimes(4);
    expect(unhandled).not.toHaveBeenCalled();
    process.off("unhandledRejection", unhandled);
  });

  test("without onError it is told on the console", async () => {
    const told = vi.spyOn(console, "error").mockImplementation(() => {});
    const { url } = await standIn((response) => response.writeHead(422).end());
    initializeSSE({ url });
    notifyUser("u", { event: "a", data: 1 });
    await expect.poll(() => told.mock.calls.length).toBe(1);
  });

  test("more than maxQueue is refused, and the queue goes on", async () => {
    const { url } = await standIn((response, request) => setTimeout(() => response.end(receipts(request)), 20));
    const manager = quiet({ url, maxQueue: 3 });
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, (_, n) => manager.broadcast({ event: "a", data: n })),
    );
    expect(results.map((each) => each.status === "rejected" && each.reason instanceof QueueFullError)).toEqual([
      false,
      false,
      false,
      true,
      true,
    ]);
    expect(await manager.broadcast({ event: "a", data: 1 })).toBe(1);
  });

  test("a signal ends a publish that waits behind others", async () => {
    const { url } = await standIn((response, request) => setTimeout(() => response.end(receipts(request)), 300));
    const manager = quiet({ url });
    const first = manager.broadcast({ event: "a", data: 1 });
    const began = Date.now();
    await expect(manager.publish({ event: "a", data: 2 }, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      name: "TimeoutError",
    });
    expect(Date.now() - began).toBeLessThan(300);
    await expect(
      manager.publish({ event: "a", data: 2 }, { signal: AbortSignal.abort(new Error("gone")) }),
    ).rejects.toThrow("gone");
    expect(await first).toBe(1);
  });

  test("the deadline counts from the call, and each gets one attempt", async () => {
    const { url, requests } = await standIn((response) => response.writeHead(503).end());
    const manager = quiet({ url, deadline: 500 });
    const began = Date.now();
    await Promise.allSettled(
      [1, 2, 3, 4].map((n) => manager.publish({ event: "a", data: n }, { idempotencyKey: `${n}` })),
    );
    expect(Date.now() - began).toBeLessThan(1_500);
    expect(new Set(requests.map(({ headers }) => headers["idempotency-key"])).size).toBe(4);
  });

  test.each(["<html>", "null", "{}", '"x"', "[]", '[{"clients":1},{"clients":2}]'])(
    "an answer that is no hub's, %s, is told as such",
    async (answer) => {
      const { url } = await standIn((response) => response.end(answer));
      const manager = quiet({ url });
      for (const call of [
        () => manager.broadcast({ event: "a", data: 1 }),
        () => manager.getCursor(),
        () => manager.getStats(),
        () => manager.disconnectUser("u"),
      ]) {
        await expect(call()).rejects.toMatchObject({
          name: "FanfareError",
          message: expect.stringContaining("is no hub"),
        });
      }
    },
  );

  test("redirects are not followed: a POST would become a GET", async () => {
    const { url, requests } = await standIn((response) => response.writeHead(301, { location: "/elsewhere" }).end());
    await expect(quiet({ url, deadline: 100 }).broadcast({ event: "a", data: 1 })).rejects.toBeInstanceOf(
      UnavailableError,
    );
    expect(requests.every(({ method }) => method === "POST")).toBe(true);
  });

  test("one event in a thousand that is not allowed is found in few requests", async () => {
    const url = await startHub();
    let posts = 0;
    const counted: typeof fetch = (...request) => {
      posts++;
      return fetch(...request);
    };
    const manager = quiet({ url, fetch: counted });
    const results = await Promise.allSettled(
      Array.from({ length: 1_000 }, (_, n) => manager.broadcast({ event: n === 700 ? "bad\ntype" : "a", data: n })),
    );
    expect(results.flatMap(({ status }, n) => (status === "rejected" ? [n] : []))).toEqual([700]);
    expect(posts).toBeLessThan(30);
    const { totalEventsPublished } = await manager.getStats();
    expect(totalEventsPublished).toBe(999);
  });

  test("what cannot be a name or JSON is refused as such", async () => {
    const manager = quiet({ url: await startHub() });
    const half = "\ud83d";
    await expect(manager.disconnectUser(half)).rejects.toBeInstanceOf(InvalidError);
    await expect(manager.disconnectClient(half)).rejects.toBeInstanceOf(InvalidError);
    await expect(manager.broadcast({ event: "a", data: 1, id: 5n as never })).rejects.toBeInstanceOf(InvalidError);
    for (const event of [undefined, null, "a", []])
      await expect(manager.broadcast(event as never)).rejects.toBeInstanceOf(InvalidError);
  });

  test("a waitUntil or onError that throws changes nothing", async () => {
    const report = vi.spyOn(console, "error").mockImplementation(() => {});
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const { url } = await standIn((response, request) =>
      request.body.includes("bad") ? response.writeHead(422).end() : response.end(receipts(request)),
    );
    const refuse = () => {
      throw new Error("outside of a request");
    };
    const manager = quiet({ url, waitUntil: refuse, onError: refuse });
    expect(await manager.broadcast({ event: "a", data: 1 })).toBe(1);
    manager.broadcast({ event: "bad", data: 1 });
    await expect.poll(() => report.mock.calls.length).toBe(1);
    expect(unhandled).not.toHaveBeenCalled();
    process.off("unhandledRejection", unhandled);
  });

  test.each(["not a url", "ftp://x", "//x"])("the address %j throws at once, and says what to write", (url) => {
    expect(() => new SSEManager({ url })).toThrow(TypeError);
  });
});

describe("settings", () => {
  test("FANFARE_URL and FANFARE_TOKEN, a path of its own, the default", async () => {
    const { url, requests } = await standIn((response) => response.end('{"id":"1.e.1"}'));
    vi.stubEnv("FANFARE_URL", `${url}/events/`);
    vi.stubEnv("FANFARE_TOKEN", "from-environment");
    expect(await initializeSSE().getCursor()).toBe("1.e.1");
    expect(requests[0]).toMatchObject({ url: "/events/cursor", headers: { authorization: "Bearer from-environment" } });
    expect(getSSEManager().url).toBe(`${url}/events`);
    vi.unstubAllEnvs();
    expect(new SSEManager().url).toBe("http://127.0.0.1:4000/api/sse");
  });

  test("the hub's settings are in its statistics; a differing value is warned of once", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const url = await startHub("--ping-interval", "20s");
    const manager = new SSEManager({
      url,
      pingInterval: 30_000,
      clientTimeout: 60_000,
      maxClients: 5,
      enableLogging: true,
    });
    await manager.broadcast({ event: "a", data: 1 });
    await manager.broadcast({ event: "a", data: 1 });
    await expect.poll(() => warn.mock.calls.length).toBe(2);
    expect(await manager.getStats()).toMatchObject({ settings: { pingInterval: 20_000 }, totalClients: 0 });
    expect(warn.mock.calls.map(([text]) => text).sort()).toEqual([
      expect.stringMatching(/maxClients is \d+ on the hub, not 5/),
      expect.stringMatching(/pingInterval is 20000 on the hub, not 30000/),
    ]);
    await new SSEManager({ url, pingInterval: 1, enableLogging: false }).getStats();
    expect(warn).toHaveBeenCalledTimes(2);
  });

  test("waitUntil is given what was sent, and never a rejection", async () => {
    const { url } = await standIn((response) => response.writeHead(422).end());
    const waiting: Promise<unknown>[] = [];
    const manager = quiet({ url, waitUntil: (promise) => waiting.push(promise), onError: () => {} });
    manager.broadcast({ event: "a", data: 1 });
    await expect(Promise.all(waiting)).resolves.toEqual([undefined]);
  });
});

describe("connections", () => {
  test("sendToClient and disconnectClient tell whether it was there; disconnectUser counts", async () => {
    const url = await startHub();
    const manager = quiet({ url });
    const clients = [1, 2].map(() => new SSEClient({ url: `${url}/api/sse`, userId: "ada" }));
    const ids = await Promise.all(
      clients.map((client) => {
        const id = new Promise<string>((resolve) =>
          client.addEventListener("connected", ({ data }) => resolve(data.clientId)),
        );
        client.connect();
        return id;
      }),
    );
    expect(await manager.sendToClient(ids[0] as string, { event: "a", data: 1 })).toBe(true);
    expect(await manager.sendToClient("gone", { event: "a", data: 1 })).toBe(false);
    expect(await manager.disconnectClient(ids[0] as string)).toBe(true);
    expect(await manager.disconnectClient(ids[0] as string)).toBe(false);
    expect(await manager.disconnectClient("a/../b")).toBe(false);
    expect(await manager.disconnectUser("ada")).toBe(1);
    await expect.poll(() => clients.map(({ status }) => status)).toEqual(["closed", "closed"]);
  });

  test("createConnection passes the stream through as it comes, with identity and place, and ends with the signal", async () => {
    const url = await startHub();
    const manager = quiet({ url });
    const cursor = await manager.getCursor();
    await manager.broadcast({ event: "missed", data: 1 });
    const abort = new AbortController();
    const response = await manager.createConnection({
      userId: "ada",
      sessionId: "s",
      metadata: { page: "x" },
      topics: ["t"],
      lastEventId: cursor,
      signal: abort.signal,
    });
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toEqual({
      "content-type": "text/event-stream",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    const decoder = new TextDecoder();
    let text = "";
    const until = async (part: string) => {
      while (!text.includes(part)) text += decoder.decode((await reader.read()).value, { stream: true });
    };
    await until("event: missed");
    expect(text).toContain('"resume":"resumed"');
    await manager.publish({ event: "to topic", data: 1, to: { topic: "t" } });
    await until("event: to topic");
    expect((await manager.getStats()).clientsByUser).toEqual({ ada: 1 });
    abort.abort();
    await expect.poll(async () => (await manager.getStats()).totalClients).toBe(0);
  });

  test("a reader that goes ends the hub's connection; destroy() ends what this handle opened, in order, and no other", async () => {
    const url = await startHub();
    const [one, two] = [quiet({ url }), quiet({ url })];
    const first = await one.createConnection();
    const second = await one.createConnection();
    await two.createConnection();
    await first.body?.cancel();
    await expect.poll(async () => (await two.getStats()).totalClients).toBe(2);
    const reader = (second.body as ReadableStream<Uint8Array>).getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toContain("event: connected");
    await one.destroy();
    expect(await reader.read()).toEqual({ done: true, value: undefined });
    await expect.poll(async () => (await two.getStats()).totalClients).toBe(1);
    await expect(one.broadcast({ event: "a", data: 1 })).rejects.toBeInstanceOf(ClosedError);
    await expect(one.createConnection()).rejects.toBeInstanceOf(ClosedError);
  });

  test("a hub that is not there: the browser is told to come back, and onError why", async () => {
    const onError = vi.fn();
    const response = await quiet({ url: "http://127.0.0.1:9", onError }).createConnection();
    expect(response.status).toBe(200);
    expect(await response.text()).toMatch(
      /^event: \$closing\nretry: [23]\d{3}\ndata: \{"reason":"shutdown","reconnect":true\}\n\n$/,
    );
    expect(onError).toHaveBeenCalledTimes(1);
  });

  test("an identity that is not allowed rejects", async () => {
    const manager = quiet({ url: await startHub() });
    await expect(manager.createConnection({ userId: "u".repeat(256) })).rejects.toBeInstanceOf(InvalidError);
    await expect(manager.createConnection({ metadata: { topic: "x" } })).rejects.toBeInstanceOf(TypeError);
  });

  test("a page load without a hole: cursor, state, subscription; what is published in between arrives", async () => {
    const url = await startHub();
    const manager = quiet({ url });
    const lastEventId = await manager.getCursor();
    await manager.broadcast({ event: "a", data: "in between" });
    const client = new SSEClient({ url: `${url}/api/sse`, lastEventId });
    const first = client.events("a").next();
    client.connect();
    expect((await first).value?.data).toBe("in between");
    client.disconnect();
  });

  test("flush waits for what was sent, and never rejects", async () => {
    const { url, requests } = await standIn((response) => setTimeout(() => response.writeHead(422).end(), 20));
    const manager = quiet({ url, onError: () => {} });
    manager.broadcast({ event: "a", data: 1 });
    manager.broadcast({ event: "a", data: 2 });
    await manager.flush();
    expect(requests.length).toBeGreaterThanOrEqual(1);
    await manager.flush();
  });

  test("flush waits for what was sent before it, not for what comes meanwhile", async () => {
    const { url } = await standIn((response, request) => setTimeout(() => response.end(receipts(request)), 20));
    const manager = quiet({ url });
    const timer = setInterval(() => manager.broadcast({ event: "a", data: 1 }), 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await manager.flush();
    clearInterval(timer);
  });

  test.each([
    ["says nothing", () => {}],
    ["sends a page", (response: ServerResponse) => response.setHeader("content-type", "text/html").end("<html>")],
    ["is in trouble", (response: ServerResponse) => response.writeHead(502).end()],
  ])("a hub that %s: the browser is told to come back", async (_, answer) => {
    const { url } = await standIn((response) => void answer(response));
    const onError = vi.fn();
    const response = await quiet({ url, timeout: 200, onError }).createConnection();
    expect(await response.text()).toContain('"reconnect":true');
    expect(onError).toHaveBeenCalledTimes(1);
  });

  test("204 is passed on: it is a server's stop", async () => {
    const { url } = await standIn((response) => response.writeHead(204).end());
    expect((await quiet({ url }).createConnection()).status).toBe(204);
  });
});
