// Connections end: by a restart, a kill, a cut at any byte, for want of room. The browser comes back by itself.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { launch, openPage, seeded, startCuttingProxy, startProxy, startServer, subscribe, until } from "./support.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

const CLOSED = 2;
const verdict = (entry) => JSON.parse(entry.data).resume;

// Side by side: they spend their time waiting for the browser to come back.
describe("the browser reconnects by itself", { concurrency: true }, () => {
  for (const [how, args, end] of [
    ["an orderly restart", ["--drain", "300ms"], async (server) => assert.equal(await server.stop("SIGTERM"), 0)],
    ["a killed server", [], async (server) => assert.equal(await server.stop("SIGKILL"), null)],
  ]) {
    test(`after ${how}, and is told that its cursor means nothing to a new memory`, async (t) => {
      const server = await startServer(t, ...args);
      const page = await openPage(t, browser, server.origin);
      const stream = await subscribe(page, { types: ["n"] });
      await stream.heard("connected");
      await server.publish({ event: "n", data: 1 });
      await stream.heard("n");

      await end(server);
      await stream.heard(({ type, data }) => type === "error" && data === undefined);
      const closing = (await stream.log()).find(({ type }) => type === "$closing");
      if (args.length) assert.deepEqual(JSON.parse(closing.data), { reason: "shutdown", reconnect: true });
      else assert.equal(closing, undefined);
      assert.equal(await stream.readyState(), 0);

      await server.start();
      const before = (await stream.log()).length;
      const connected = await stream.heard("connected", before);
      assert.equal(verdict(connected), "reset");
      await server.publish({ event: "n", data: 2 });
      await stream.heard(({ data }) => data === "2", before);
      const log = await stream.log();
      assert.deepEqual(log.filter(({ type }) => type === "n").map(({ data }) => data), ["1", "2"]);
      assert.ok(log.every(({ state }) => state !== CLOSED), "it never gave up");
    });
  }

  test("for want of room it keeps trying, and gets in when the first has left", async (t) => {
    const server = await startServer(t, "--max-clients", "1");
    const first = await openPage(t, browser, server.origin);
    const one = await subscribe(first);
    await one.heard("connected");

    // The wait the server sets is long, to spare it: checked here, and shortened for the test.
    const waits = [];
    const shortened = await startProxy(t, server, (client, upstream) => {
      upstream.on("data", (bytes) => {
        const text = bytes.toString("latin1").replace(/^retry: (\d+)$/m, (_, wait) => (waits.push(Number(wait)), "retry: 100"));
        client.write(text, "latin1");
      });
      upstream.on("end", () => client.end());
    });
    const second = await openPage(t, browser, shortened);
    waits.length = 0;
    const two = await subscribe(second, { types: ["n"] });
    await two.heard("$closing");
    await until("it has tried again, twice", async () => (await two.log()).filter(({ type }) => type === "$closing").length >= 3);
    for (const entry of await two.log()) {
      assert.ok(["open", "error", "$closing"].includes(entry.type), `no connected: ${JSON.stringify(entry)}`);
      if (entry.type === "$closing") assert.deepEqual(JSON.parse(entry.data), { reason: "capacity", reconnect: true });
      assert.notEqual(entry.state, CLOSED);
    }
    assert.ok(waits.every((wait) => wait >= 15_000 && wait <= 45_000), `waits ${waits}`);
    assert.ok(new Set(waits).size > 1, `the waits differ: ${waits}`);

    await one.close();
    assert.equal(verdict(await two.heard("connected")), "live");
    await server.publish({ event: "n", data: "in" });
    await two.heard("n");
    assert.equal(await two.readyState(), 1);
  });

  test("after cuts at any byte, without loss and without duplicates", async (t) => {
    const EVENTS = 500;
    const seed = Number(process.env.FANFARE_TEST_SEED ?? Date.now() % 2 ** 31);
    t.diagnostic(`FANFARE_TEST_SEED=${seed}`);
    const random = seeded(seed);
    const server = await startServer(t);

    // (Each cut after `connected` and before an event costs the wait that the server sets.)
    const proxy = await startCuttingProxy(t, server, random);
    const page = await openPage(t, browser, proxy.origin);
    const stream = await subscribe(page, { url: "/api/sse?userId=ada", types: ["n", "first"] });
    await stream.heard("connected");
    // Tells the browser to come back at once, until the next `connected`; so does every numbered event.
    await server.publish({ event: "first", data: 0, retry: 10 });
    await stream.heard("first");

    proxy.cutting = true;
    for (let n = 0; n < EVENTS; n++) {
      const data = { n, text: "x".repeat(Math.floor(random() * 60)) };
      // For another: the places in the history are not one after the other.
      if (n % 7 === 0) await server.publish({ event: "n", data: "not mine", to: { userId: "bob" } });
      await server.publish({ event: "n", data, retry: 10, to: n % 3 ? undefined : { userId: "ada" }, id: n % 5 ? undefined : `own-${n}` });
    }
    await stream.heard(({ type, data }) => type === "n" && JSON.parse(data).n > EVENTS * 0.9);
    proxy.cutting = false;
    await stream.heard(({ type, data }) => type === "n" && JSON.parse(data).n === EVENTS - 1);
    // Nothing comes late, or again.
    await server.publish({ event: "first", data: "end" });
    await stream.heard(({ type, data }) => type === "first" && data === '"end"');

    const log = await stream.log();
    const numbers = log.filter(({ type }) => type === "n").map(({ data }) => JSON.parse(data).n);
    assert.deepEqual(numbers, Array.from({ length: EVENTS }, (_, n) => n));
    const verdicts = log.filter(({ type }) => type === "connected").map(verdict);
    assert.deepEqual([...new Set(verdicts)], ["live", "resumed"]);
    const { cuts } = proxy;
    assert.ok(cuts.length >= 10, `${cuts.length} cuts are too few to tell`);
    assert.equal(log.some(({ type }) => type === "$gap" || type === "$reset" || type === "$closing"), false);
    assert.ok(log.every(({ state }) => state !== CLOSED));
    t.diagnostic(`${cuts.length} cuts, ${cuts.filter(Boolean).length} of them orderly`);
  });
});
