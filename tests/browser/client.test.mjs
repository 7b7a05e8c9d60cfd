// The client of the package, in pages: what an application gets to know when servers, networks and pages come and go.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import {
  assertEach,
  calls,
  connections,
  count,
  directory,
  launchWithCache,
  openContext,
  openTab,
  openWindow,
  publishing,
  subscribe,
  values,
  verdicts,
} from "./client.mjs";
import { otherOrigin, seeded, startCuttingProxy, startProxy, startServer, until } from "./support.mjs";

let browser;
before(async () => (browser = await launchWithCache()));
after(() => browser?.close());

/** An empty page of the origin with the client, in a context of its own. */
const open = async (t, origin, path) => openTab(await openContext(t, browser), origin, path);

/** A proxy that only carries, and can cut all there is. */
async function startCutter(t, server) {
  const sockets = new Set();
  const origin = await startProxy(t, server, (client, upstream) => {
    sockets.add(client);
    client.on("close", () => sockets.delete(client));
    upstream.pipe(client);
  });
  return {
    origin,
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
  };
}

// Side by side: they spend their time waiting. Not all at once: each has a server and a page.
describe("the client", { concurrency: 4 }, () => {
  for (const signal of ["SIGTERM", "SIGKILL"]) {
    test(`resumes after ${signal} to a server with a disk, while events are published all the time`, async (t) => {
      const server = await startServer(t, "--data-dir", directory(t), "--drain", "300ms");
      const page = await open(t, server.origin);
      const stream = await subscribe(page, { userId: "ada" });
      await stream.connected();
      const publisher = publishing(t, server);
      await publisher.more(20);

      await server.stop(signal);
      await stream.is("waiting");
      const log = await stream.log();
      if (signal === "SIGTERM") {
        assert.deepEqual(values(log, "$closing"), [{ reason: "shutdown", reconnect: true }]);
        // The server said when to come back: not in the time that passed since.
        assert.deepEqual(calls(log, "error"), []);
        assert.deepEqual((await stream.state()).error, null);
      }
      await server.start();
      await publisher.more(20);
      const last = await publisher.stop();

      assertEach(await stream.all("n", last), last, 0);
      assert.deepEqual(verdicts(await stream.log()), ["live", "resumed"]);
      const after = await stream.log();
      assert.deepEqual(calls(after, "reset"), []);
      assert.deepEqual(calls(after, "gap"), []);
      assert.ok(calls(after, "error").every(({ kind }) => kind === "network"), JSON.stringify(calls(after, "error")));
      assert.deepEqual(page.complaints, []);
    });
  }

  test("is reset once by a server that forgot, and goes on", async (t) => {
    const server = await startServer(t, "--drain", "300ms");
    const page = await open(t, server.origin);
    const stream = await subscribe(page);
    await stream.connected();
    await server.publish({ event: "n", data: 1 });
    await stream.heard("n");
    assert.equal(await server.stop("SIGTERM"), 0);
    await server.start();
    await stream.connected(2);
    const { id } = await server.publish({ event: "n", data: 2 });
    assert.deepEqual(await stream.all("n", 2), [1, 2]);
    const log = await stream.log();
    assert.deepEqual(verdicts(log), ["live", "reset"]);
    const [reset, ...more] = calls(log, "reset");
    assert.deepEqual(more, []);
    assert.equal(reset.cursor, log.filter(({ type }) => type === "connected")[1].cursor);
    assert.equal((await stream.state()).lastEventId, id);
    assert.ok(calls(log, "error").every(({ kind }) => kind === "network"));
  });

  test("loses nothing and hands nothing over twice, however it is cut", async (t) => {
    const EVENTS = 300;
    const seed = Number(process.env.FANFARE_TEST_SEED ?? Date.now() % 2 ** 31);
    t.diagnostic(`FANFARE_TEST_SEED=${seed}`);
    const random = seeded(seed);
    const server = await startServer(t);
    const proxy = await startCuttingProxy(t, server, random);
    const page = await open(t, proxy.origin);
    const stream = await subscribe(page, { userId: "ada" });
    await stream.connected();

    proxy.cutting = true;
    const ids = [];
    for (let n = 0; n < EVENTS; n++) {
      // For another: the places in the history are not one after the other.
      if (n % 7 === 0) await server.publish({ event: "n", data: "not mine", to: { userId: "bob" } });
      if (n % 11 === 0) await server.publish({ event: "fleeting", data: n, ephemeral: true });
      const own = n % 5 ? undefined : `own:${n}`;
      const data = { n, text: "x".repeat(Math.floor(random() * 60)) };
      ids.push((await server.publish({ event: "n", data, to: n % 3 ? undefined : { userId: "ada" }, id: own })).id);
    }
    await stream.heard(({ type, data }) => type === "n" && data.n > EVENTS * 0.9);
    proxy.cutting = false;
    await server.publish({ event: "end", data: 0 });
    await stream.heard("end");

    const log = await stream.log();
    assertEach(values(log, "n").map(({ n }) => n), EVENTS - 1, 0);
    // The cursor and the publisher's id are what was on the `id:` line.
    const told = log.filter(({ type }) => type === "n").map(({ cursor, id }) => (id === undefined ? cursor : `${cursor}~${id}`));
    assert.deepEqual(told, ids);
    const fleeting = values(log, "fleeting");
    assert.deepEqual(fleeting, [...new Set(fleeting)], "what is not kept may be lost, and never comes twice");
    assert.deepEqual([...new Set(verdicts(log))], ["live", "resumed"]);
    assert.ok(calls(log, "error").every(({ kind }) => kind === "network"), JSON.stringify(calls(log, "error")));
    const { length: cuts } = proxy.cuts;
    assert.ok(cuts >= 10, `${cuts} cuts are too few to tell`);
    assert.deepEqual(page.complaints, []);
    t.diagnostic(`${cuts} cuts`);
  });

  test("handles each event once if a server repeats itself, and its place never moves back", async (t) => {
    const frame = (id, event, data) => `${id ? `id: ${id}\n` : ""}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    const connected = (id, resume) => frame(id, "connected", { clientId: "c", heartbeatInterval: 30_000, resume });
    // Positions are in base 36: `10` comes after `z`.
    const connections = [
      [
        connected("1.ab.w", "live"),
        frame("1.ab.x", "n", 1),
        frame("1.ab.y~order:1", "n", 2),
        frame("1.ab.y~order:1", "n", 2),
        frame("1.ab.z", "n", 3),
        frame("1.ab.10", "n", 4),
        frame("1.ab.10~~", "fleeting", 1),
      ],
      [
        connected("1.ab.10", "resumed"),
        frame("1.ab.y~order:1", "n", 2),
        frame("1.ab.z", "n", 3),
        frame("1.ab.10", "n", 4),
        frame("1.ab.10~~", "fleeting", 2),
        frame("1.ab.11", "n", 5),
        frame("1.ab.z", "ping", { timestamp: 1 }),
      ],
      // In another epoch, positions begin anew.
      [connected("1.cd.1", "reset"), frame("1.cd.2", "n", 6), frame("1.cd.2", "n", 6), frame("1.cd.3", "end", 0)],
    ];
    const asked = [];
    const stub = http.createServer((request, answer) => {
      if (!request.url.startsWith("/api/sse")) return answer.setHeader("content-type", "text/html").end("<!doctype html>");
      const frames = connections[asked.length];
      asked.push(request.headers["last-event-id"]);
      answer.writeHead(200, { "content-type": "text/event-stream" });
      answer.write(frames.join(""));
      if (asked.length < connections.length) answer.end();
    });
    stub.listen(0, "127.0.0.1");
    await once(stub, "listening");
    t.after(() => {
      stub.close();
      stub.closeAllConnections();
    });
    const page = await open(t, `http://127.0.0.1:${stub.address().port}`, "/");
    const stream = await subscribe(page);
    await stream.heard("end");
    const log = await stream.log();
    assert.deepEqual(values(log, "n"), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(values(log, "fleeting"), [1, 2]);
    assert.deepEqual(asked, [undefined, "1.ab.10", "1.ab.11"]);
    assert.equal((await stream.state()).lastEventId, "1.cd.3");
    assert.equal(calls(log, "reset").length, 1);
  });

  for (const share of [undefined, ""]) {
    const how = share === undefined ? "" : ", sharing";
    test(`holds nothing in the back/forward cache, and resumes on the way back${how}`, async (t) => {
      const server = await startServer(t);
      const page = await open(t, server.origin);
      const stream = await subscribe(page, { userId: "ada", share });
      await stream.connected();
      await server.publish({ event: "n", data: 0 });
      await stream.heard("n");

      for (let n = 1; n <= 2; n++) {
        await page.goto(`${server.origin}/readyz`);
        await connections(server, 0);
        // Not by a loss of time: the page cannot hold a lock, which the next tab would wait for.
        assert.deepEqual((await page.evaluate(() => navigator.locks.query())).held, []);
        await server.publish({ event: "n", data: n });
        // A page out of the cache is not loaded.
        await page.goBack({ waitUntil: "commit" });
        await until("the page is shown again", () => page.evaluate((n) => shown.length > n, n));
        assert.deepEqual(await page.evaluate((n) => shown[n], n), true, "out of the cache");
        await stream.heard(({ type, data }) => type === "n" && data === n);
        await connections(server, 1);
      }
      await server.publish({ event: "n", data: 3 });
      assertEach(await stream.all("n", 3), 3, 0);
      const log = await stream.log();
      assert.deepEqual(verdicts(log), ["live", "resumed", "resumed"]);
      assert.deepEqual(calls(log, "error"), []);
      assert.deepEqual(page.complaints, []);
    });
  }

  describe("with no network", () => {
    /** What the page asked for at the hub, from now on. */
    const attempts = (page) => {
      const urls = [];
      page.on("request", (request) => /\/api\/sse/.test(request.url()) && urls.push(request.url()));
      return urls;
    };

    test("keeps the connection it has, and changes it when there is one again", async (t) => {
      const server = await startServer(t);
      const page = await open(t, server.origin);
      const stream = await subscribe(page);
      await stream.connected();
      const [before] = await server.clients();
      const asked = attempts(page);
      await page.context().setOffline(true);
      // The network of this machine goes on to work for what is open.
      await server.publish({ event: "n", data: 0 });
      await stream.heard("n");
      assert.deepEqual(asked, []);
      await page.context().setOffline(false);
      await stream.connected(2);
      await server.publish({ event: "n", data: 1 });
      assertEach(await stream.all("n", 1), 1, 0);
      const [now, ...others] = await until("one connection", async () => {
        const clients = await server.clients();
        return clients.length === 1 && clients;
      });
      assert.notEqual(now.clientId, before.clientId);
      assert.deepEqual(others, []);
      const log = await stream.log();
      assert.deepEqual(verdicts(log), ["live", "resumed"]);
      assert.deepEqual(calls(log, "error"), []);
    });

    test("piles up no attempts, and is back at once when there is one", async (t) => {
      const server = await startServer(t);
      const { origin, cut } = await startCutter(t, server);
      const page = await open(t, origin);
      const stream = await subscribe(page);
      await stream.connected();
      await page.context().setOffline(true);
      await until("it knows", () => page.evaluate(() => !navigator.onLine));
      const asked = attempts(page);
      cut();
      await stream.is("waiting");
      await connections(server, 0);
      for (let n = 0; n < 20; n++) await server.publish({ event: "n", data: n });
      // With a network it would have tried again by now, several times.
      const waited = performance.now();
      await until("a second passed", () => performance.now() - waited > 1_000);
      assert.deepEqual(asked, []);
      await page.context().setOffline(false);
      await stream.until("it is back", async () => (await stream.state()).status === "open", 3_000);
      assertEach(await stream.all("n", 19), 19, 0);
      const log = await stream.log();
      assert.deepEqual(verdicts(log), ["live", "resumed"]);
      assert.equal(calls(log, "error").length, 1);
    });

    test("that begins so is there at once when there is one", async (t) => {
      const server = await startServer(t);
      const page = await open(t, server.origin);
      await page.context().setOffline(true);
      await until("it knows", () => page.evaluate(() => !navigator.onLine));
      const asked = attempts(page);
      // Long enough that it cannot come by itself in time.
      const stream = await subscribe(page, { reconnectInterval: 1e9 });
      await stream.is("waiting");
      await page.context().setOffline(false);
      await stream.until("it is there", async () => (await stream.state()).status === "open", 3_000);
      assert.ok(asked.length <= 3, asked.join());
    });
  });

  test("has no error to tell when its page goes", async (t) => {
    const server = await startServer(t);
    const page = await open(t, server.origin);
    await page.route("**/nothing", (route) => route.fulfill({ status: 204 }));
    const stream = await subscribe(page, { storage: true });
    await stream.connected();
    // A way that leads nowhere: the page stays, and what it has.
    const nowhere = page.waitForResponse("**/nothing");
    await page.evaluate(() => void (location.href = "/nothing"));
    await nowhere;
    await server.publish({ event: "n", data: 0 });
    await stream.heard("n");
    assert.deepEqual(verdicts(await stream.log()), ["live"]);

    for (const leave of [() => page.reload(), () => page.goto(`${server.origin}/readyz`), () => page.goto("about:blank")]) {
      await leave();
      await connections(server, 0);
      await page.goto(`${server.origin}/healthz`);
      await subscribe(page, { storage: true });
      await stream.connected();
    }
    const kept = await stream.kept();
    assert.equal(verdicts(kept).length, 4);
    assert.deepEqual(calls(kept, "error"), []);
    assert.deepEqual(page.complaints, []);
  });

  test("hears everything in a hidden tab", async (t) => {
    const server = await startServer(t);
    const window = await openWindow(t);
    const page = await openTab(window, server.origin);
    const stream = await subscribe(page);
    await stream.connected();
    const publisher = publishing(t, server);
    await openTab(window, server.origin, "/readyz");
    await until("the tab is hidden", () => page.evaluate(() => document.visibilityState === "hidden"));
    await publisher.more(100);
    await page.bringToFront();
    await until("the tab is seen", () => page.evaluate(() => document.visibilityState === "visible"));
    const last = await publisher.stop();
    assertEach(await stream.all("n", last), last, 0);
    const log = await stream.log();
    assert.deepEqual(verdicts(log), ["live"]);
    assert.deepEqual(calls(log, "error"), []);
  });

  test("has lost nothing after its tab was frozen", async (t) => {
    const server = await startServer(t);
    const window = await openWindow(t);
    const page = await openTab(window, server.origin);
    const stream = await subscribe(page);
    await stream.connected();
    await server.publish({ event: "n", data: 0 });
    await stream.heard("n");
    await openTab(window, server.origin, "/readyz");
    await until("the tab is hidden", () => page.evaluate(() => document.visibilityState === "hidden"));
    const devtools = await window.newCDPSession(page);
    for (let n = 1; n <= 2; n++) {
      await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
      await server.publish({ event: "n", data: 2 * n - 1 });
      await devtools.send("Page.setWebLifecycleState", { state: "active" });
      await server.publish({ event: "n", data: 2 * n });
      // Soon, and not when the silence has become too long.
      await stream.until("all are there", async () => values(await stream.log(), "n").includes(2 * n), 5_000);
    }
    assertEach(values(await stream.log(), "n"), 4, 0);
    assert.deepEqual(calls(await stream.log(), "error"), []);
    await connections(server, 1);
  });

  test("serves a page of another origin, with a header of its own and from where it says", async (t) => {
    const origin = await otherOrigin(t);
    const server = await startServer(t, "--cors-origin", origin);
    const { origin: proxied, cut } = await startCutter(t, server);
    const { id } = await server.publish({ event: "n", data: 0 });
    await server.publish({ event: "n", data: 1 });
    const page = await open(t, origin, "/");
    const requests = [];
    page.on("request", (request) => request.url().includes("/api/sse") && requests.push(request));
    const headers = { authorization: "Bearer mine" };
    const stream = await subscribe(page, { url: `${proxied}/api/sse`, userId: "ada", headers, lastEventId: id });
    await stream.heard("n");
    cut();
    await stream.connected(2);
    await server.publish({ event: "n", data: 2, to: { userId: "ada" } });
    assert.deepEqual(await stream.all("n", 2), [1, 2]);
    assert.deepEqual(verdicts(await stream.log()), ["resumed", "resumed"]);
    const sent = await Promise.all(requests.filter((request) => request.method() === "GET").map((request) => request.allHeaders()));
    assert.deepEqual(sent.map((headers) => headers.authorization), ["Bearer mine", "Bearer mine"]);
    assert.equal(sent[0]["last-event-id"], id);

    // And not one that was not let in.
    const closed = await startServer(t);
    const refused = await subscribe(page, { url: `${closed.origin}/api/sse`, headers, maxReconnectAttempts: 1 }, "refused");
    await refused.is("closed");
    assert.deepEqual(calls(await refused.log(), "error").map(({ kind }) => kind), ["network", "network"]);
    assert.deepEqual(calls(await refused.log(), "open"), []);
  });

  test("takes server events of any name for events", async (t) => {
    const server = await startServer(t);
    const page = await open(t, server.origin);
    const stream = await subscribe(page);
    await stream.connected();
    const types = ["error", "open", "close", "message", "abort", "constructor", "__proto__", "toString"];
    await page.evaluate((types) => {
      globalThis.own = [];
      for (const type of types) globalThis.streams.main.client.addEventListener(type, (event) => own.push([event.event, event.data]));
    }, types);
    for (const type of types) await server.publish({ event: type, data: { of: type } });
    await server.publish({ event: "end", data: null });
    await stream.heard("end");
    const log = await stream.log();
    assert.deepEqual(log.filter(({ data }) => data?.of).map(({ type, data }) => [type, data.of]), types.map((type) => [type, type]));
    assert.deepEqual(await page.evaluate(() => own), types.map((type) => [type, { of: type }]));
    assert.deepEqual(calls(log, "error"), []);
    assert.equal(calls(log, "open").length, 1);
    assert.deepEqual(await stream.state(), { status: "open", error: null, reconnectAttempts: 0, lastEventId: log.at(-1).cursor });
    assert.deepEqual(page.complaints, []);
  });

  test("keeps its place over reloads, with events published all the time", async (t) => {
    const server = await startServer(t);
    const page = await open(t, server.origin);
    const stream = await subscribe(page, { userId: "ada", storage: true });
    await stream.connected();
    const publisher = publishing(t, server);
    for (let n = 0; n < 4; n++) {
      await publisher.more(10);
      await page.reload();
      await publisher.more(1);
      await subscribe(page, { userId: "ada", storage: true });
      await stream.connected();
    }
    const last = await publisher.stop();
    await stream.heard(({ type, data }) => type === "n" && data === last);
    const kept = await stream.kept();
    assertEach(values(kept, "n"), last, 0);
    assert.deepEqual(verdicts(kept), ["live", ...count(0, 4).map(() => "resumed")]);
    assert.deepEqual(calls(kept, "error"), []);
    // Another user has another place.
    const other = await subscribe(page, { userId: "bob", storage: true }, "other");
    await other.connected();
    assert.deepEqual(verdicts(await other.log()), ["live"]);
  });

  test("waits between attempts, however many have failed", async (t) => {
    const server = await startServer(t);
    const page = await open(t, server.origin);
    const waits = await page.evaluate(
      () =>
        new Promise((resolve) => {
          // Time goes fast: what is asked of it is what counts.
          const waits = [];
          let attempts = 0;
          const channel = new MessageChannel();
          globalThis.setTimeout = (f, ms) => {
            // The other timer of an attempt is the one for its answer.
            if (ms === 77_777) return 0;
            waits.push(ms);
            channel.port1.onmessage = f;
            channel.port2.postMessage(0);
            return 0;
          };
          const client = new Fanfare.SSEClient({
            reconnectInterval: 0,
            connectTimeout: 77_777,
            fetch: () => (++attempts > 1_100 ? new Promise(() => resolve(waits)) : Promise.reject(new Error("no"))),
          });
          client.connect();
        }),
    );
    assert.equal(waits.length, 1_100);
    // Not a number is no wait either.
    assert.equal(waits.findIndex((ms) => !(ms >= 100)), -1, "the first that is too short");
  });
});
