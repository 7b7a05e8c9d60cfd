// One connection for all tabs: each tab gets every event once, whoever leads, comes, goes or stands still.

import assert from "node:assert/strict";
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
  Stream,
  subscribe,
  values,
  verdicts,
} from "./client.mjs";
import { seeded, startProxy, startServer, until } from "./support.mjs";

let browser;
before(async () => (browser = await launchWithCache()));
after(() => browser?.close());

const ADA = { userId: "ada", share: "" };

/** Tabs with a client each; the first one leads, and they wait for the lead in their order. */
async function openTabs(context, origin, number, options = ADA) {
  const streams = [];
  for (let n = 0; n < number; n++) {
    const stream = await subscribe(await openTab(context, origin), options);
    await stream.connected();
    streams.push(stream);
  }
  return streams;
}

/** Every tab has everything up to `last` once, from its first on or from `first`. */
async function assertAllHave(streams, last, first) {
  for (const stream of streams) {
    assertEach(await stream.all("n", last), last, first);
    assert.deepEqual(stream.page.complaints, []);
  }
}

/** Events of a history that no buffer between a server and a page takes at once. */
const HISTORY = 3_000;

/** A server with a history, of which the first connection gets the beginning, and the rest when `release` is called. */
async function startHeldBack(t) {
  const server = await startServer(t);
  for (let n = 0; n < HISTORY; n += 500) await server.publish(count(n, n + 500).map((n) => ({ event: "n", data: n })));
  let held;
  const origin = await startProxy(t, server, (client, upstream) => {
    let stream = false;
    upstream.on("data", (bytes) => {
      client.write(bytes);
      stream ||= bytes.includes("event: connected");
      if (!stream || held) return;
      held = upstream;
      upstream.pause();
    });
    upstream.on("end", () => client.end());
  });
  return { server, origin, release: () => held.resume() };
}

const hidden = (page) => until("the tab is hidden", () => page.evaluate(() => document.visibilityState === "hidden"));
const freeze = async (page) => {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  return () => devtools.send("Page.setWebLifecycleState", { state: "active" });
};

describe("tabs that share", { concurrency: 4 }, () => {
  test("have one connection, however many they are, and each hears everything once", async (t) => {
    const server = await startServer(t);
    const context = await openContext(t, browser);
    // More than the six connections that a browser opens to one host.
    const streams = await openTabs(context, server.origin, 8);
    assert.equal((await server.clients()).length, 1);
    for (let n = 0; n < 50; n++) await server.publish({ event: "n", data: n, id: n % 3 ? undefined : `own-${n}` });
    await server.publish({ event: "fleeting", data: 0, ephemeral: true });
    const { id } = await server.publish({ event: "n", data: 50 });
    await assertAllHave(streams, 50, 0);
    const seen = [];
    for (const stream of streams) {
      const log = await stream.log();
      assert.deepEqual(values(log, "fleeting"), [0]);
      assert.deepEqual(verdicts(log), ["live"]);
      assert.deepEqual(calls(log, "error"), []);
      assert.deepEqual(await stream.state(), { status: "open", error: null, reconnectAttempts: 0, lastEventId: id });
      seen.push(log.filter(({ type }) => type === "n"));
    }
    for (const events of seen) assert.deepEqual(events, seen[0], "cursors and ids are the same everywhere");
    assert.equal((await server.clients()).length, 1);
  });

  test("lose nothing when the one that leads is closed, again and again", async (t) => {
    const server = await startServer(t);
    const streams = await openTabs(await openContext(t, browser), server.origin, 4);
    const publisher = publishing(t, server);
    await publisher.more(20);
    while (streams.length > 1) {
      await streams.shift().page.close();
      await publisher.more(20);
      await streams[0].until("the next one leads", async () => (await server.clients()).length === 1);
      await publisher.more(20);
    }
    const last = await publisher.stop();
    await assertAllHave(streams, last, 0);
    assert.deepEqual(calls(await streams[0].log(), "error"), []);
    await connections(server, 1);
  });

  test("lose nothing when the one that leads disconnects, and it comes back to follow", async (t) => {
    const server = await startServer(t);
    const streams = await openTabs(await openContext(t, browser), server.origin, 3);
    const publisher = publishing(t, server);
    for (let n = 0; n < 6; n++) {
      const { page } = streams[n % 3];
      await publisher.more(10);
      await streams[n % 3].disconnect();
      assert.equal((await streams[n % 3].state()).status, "closed");
      await publisher.more(10);
      await page.evaluate(() => streams.main.client.connect());
      await streams[n % 3].is("open");
    }
    const last = await publisher.stop();
    await assertAllHave(streams, last, 0);
    await connections(server, 1);
  });

  test("lose nothing in any order of coming, going, cuts and reloads", async (t) => {
    const seed = Number(process.env.FANFARE_TEST_SEED ?? Date.now() % 2 ** 31);
    t.diagnostic(`FANFARE_TEST_SEED=${seed}`);
    const random = seeded(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const server = await startServer(t);
    const sockets = new Set();
    const origin = await startProxy(t, server, (client, upstream) => {
      sockets.add(client);
      client.on("close", () => sockets.delete(client));
      upstream.pipe(client);
    });
    const context = await openContext(t, browser);
    const options = { ...ADA, storage: true };
    const streams = await openTabs(context, origin, 2, options);
    const publisher = publishing(t, server, (n) => ({ event: "n", data: n, to: n % 3 ? undefined : { userId: "ada" } }));
    const did = [];
    const moves = {
      come: async () => streams.length < 5 && streams.push(await subscribe(await openTab(context, origin), options)),
      fromTheBeginning: async () =>
        streams.length < 5 && streams.push(await subscribe(await openTab(context, origin), { ...options, lastEventId: "earliest" })),
      go: async () => streams.length > 1 && (await streams.splice(Math.floor(random() * streams.length), 1)[0].page.close()),
      cut: async () => {
        for (const socket of sockets) socket.resetAndDestroy();
      },
      rest: async () => {
        const { page } = pick(streams);
        await page.evaluate(() => streams.main.client.disconnect());
        await publisher.more(5);
        await page.evaluate(() => streams.main.client.connect());
      },
      reload: async () => {
        const { page } = pick(streams);
        await page.reload();
        await subscribe(page, options);
      },
      away: async () => {
        const { page } = pick(streams);
        const times = await page.evaluate(() => shown.length);
        await page.goto(`${origin}/readyz`);
        await publisher.more(5);
        await page.goBack({ waitUntil: "commit" });
        await until("it is shown again", () => page.evaluate((times) => shown.length > times, times));
      },
    };
    try {
      for (let n = 0; n < 25; n++) {
        did.push(pick(Object.keys(moves)));
        await moves[did.at(-1)]();
        if (random() < 0.5) await publisher.more(5);
      }
      await publisher.more(10);
      const last = await publisher.stop();
      for (const stream of streams) {
        await stream.heard(({ type, data }) => type === "n" && data === last);
        assertEach(values(await stream.kept(), "n"), last);
        assert.deepEqual(stream.page.complaints, []);
      }
      await connections(server, 1);
    } catch (error) {
      error.message += `\nafter ${did.join(" ")}`;
      throw error;
    }
  });

  test("never mix what is meant for different users, topics or scopes", async (t) => {
    const server = await startServer(t);
    const context = await openContext(t, browser);
    const who = {
      alice: { userId: "alice", share: "" },
      bob: { userId: "bob", share: "" },
      topic: { userId: "bob", topics: ["news"], share: "" },
      one: { headers: { authorization: "Bearer 1" }, share: "one" },
      two: { headers: { authorization: "Bearer 2" }, share: "two" },
    };
    const streams = {};
    for (const [name, options] of Object.entries(who)) streams[name] = await openTabs(context, server.origin, 2, options);
    assert.equal((await server.clients()).length, 5);
    for (const userId of ["alice", "bob"]) await server.publish({ event: "n", data: userId, to: { userId } });
    await server.publish({ event: "n", data: "news", to: { topic: "news" } });
    await server.publish({ event: "n", data: "end" });
    const expected = { alice: ["alice", "end"], bob: ["bob", "end"], topic: ["bob", "news", "end"], one: ["end"], two: ["end"] };
    for (const [name, both] of Object.entries(streams)) {
      for (const stream of both) {
        assert.deepEqual(await stream.all("n", "end"), expected[name], name);
        const [{ data }] = (await stream.log()).filter(({ type }) => type === "connected");
        assert.equal(data.userId, who[name].userId);
      }
    }
    // One leaves: its place is not for the others' user.
    await streams.alice[0].page.close();
    await server.publish({ event: "n", data: "more", to: { userId: "alice" } });
    assert.deepEqual(await streams.alice[1].all("n", "more"), ["alice", "end", "more"]);
    for (const name of ["bob", "topic", "one", "two"]) {
      for (const stream of streams[name]) assert.deepEqual(values(await stream.log(), "n"), expected[name]);
    }
  });

  test("must say who they are if a request does; a public stream is asked for without cookies", async (t) => {
    const server = await startServer(t);
    const context = await openContext(t, browser);
    const page = await openTab(context, server.origin);
    const tried = await page.evaluate(() =>
      [
        [{ headers: { authorization: "x" } }],
        [{ headers: () => ({}) }],
        [{ credentials: "include" }],
        [{ url: () => "/api/sse" }],
        [{}],
        [{ headers: { authorization: "x" }, userId: "ada" }],
        [{ headers: { authorization: "x" }, sessionId: "s" }],
        [{ headers: { authorization: "x" } }, "scope"],
      ].map(([options, scope]) => {
        try {
          new Fanfare.SSEClient({ ...options, share: Fanfare.acrossTabs(scope) });
          return "made";
        } catch (error) {
          return error.name;
        }
      }),
    );
    assert.deepEqual(tried, ["TypeError", "TypeError", "TypeError", "TypeError", "made", "made", "made", "made"]);

    await context.addCookies([{ name: "login", value: "ada", url: server.origin }]);
    const cookie = async (options) => {
      const asked = page.waitForRequest((request) => request.url().includes("/api/sse"));
      const stream = await subscribe(page, options);
      await stream.connected();
      const { cookie } = await (await asked).allHeaders();
      await stream.disconnect();
      return cookie;
    };
    assert.equal(await cookie({ share: "" }), undefined);
    assert.equal(await cookie({ share: "", userId: "ada" }), "login=ada");
    assert.equal(await cookie({ share: "the login" }), "login=ada");
    assert.equal(await cookie({}), "login=ada");
  });

  test("close the hole between the page's load and the place of the one that leads", async (t) => {
    const server = await startServer(t);
    const context = await openContext(t, browser);
    const streams = await openTabs(context, server.origin, 2);
    for (let n = 0; n < 3; n++) await server.publish({ event: "n", data: n });
    const page = await openTab(context, server.origin);
    const { id } = await page.evaluate(async () => (await fetch("/api/sse/cursor")).json());
    // The page renders what it knows. Meanwhile:
    for (let n = 3; n < 6; n++) await server.publish({ event: "n", data: n, to: n % 2 ? { userId: "ada" } : undefined });
    for (const stream of streams) await stream.all("n", 5);
    const late = await subscribe(page, { ...ADA, lastEventId: id });
    assertEach(await late.all("n", 5), 5, 3);
    await connections(server, 1);
    await server.publish({ event: "n", data: 6 });
    await assertAllHave(streams, 6, 0);
    await assertAllHave([late], 6, 3);
    for (const stream of [...streams, late]) {
      assert.deepEqual(calls(await stream.log(), "reset"), []);
      assert.deepEqual(calls(await stream.log(), "error"), []);
    }
  });

  test("hear nothing from before the place that they give, while the one that leads is catching up", async (t) => {
    const { server, origin, release } = await startHeldBack(t);
    const { id } = await server.request("GET", "/cursor");
    const context = await openContext(t, browser);
    const [leader] = await openTabs(context, origin, 1, { ...ADA, lastEventId: "earliest" });
    await leader.heard("n");
    const others = await openTabs(context, origin, 2, { ...ADA, lastEventId: id });
    release();
    await leader.heard(({ data }) => data === HISTORY - 1);
    await server.publish({ event: "n", data: HISTORY });
    await assertAllHave([leader], HISTORY, 0);
    await assertAllHave(others, HISTORY, HISTORY);
    await connections(server, 1);
  });

  test("hear nothing twice though they are busy while they join", async (t) => {
    const { server, origin, release } = await startHeldBack(t);
    const { id } = await server.request("GET", "/cursor");
    const context = await openContext(t, browser);
    const [leader] = await openTabs(context, origin, 1, { ...ADA, lastEventId: "earliest" });
    await leader.heard("n");
    const page = await openTab(context, origin);
    // What the one that leads tells in this time waits in front of its answer to the one that joins.
    const joining = page.waitForEvent("console");
    const joined = page.evaluate((options) => {
      globalThis.subscribe("main", options);
      console.info("joining");
      for (const end = performance.now() + 500; performance.now() < end; );
    }, { ...ADA, lastEventId: id });
    await joining;
    release();
    await joined;
    await leader.heard(({ data }) => data === HISTORY - 1);
    await server.publish({ event: "n", data: HISTORY });
    await assertAllHave([leader], HISTORY, 0);
    await assertAllHave([new Stream(page)], HISTORY, HISTORY);
    await connections(server, 1);
  });

  test("hear from now on unless they say otherwise, while the one that leads is catching up", async (t) => {
    const { server, origin, release } = await startHeldBack(t);
    const context = await openContext(t, browser);
    const [leader] = await openTabs(context, origin, 1, { ...ADA, lastEventId: "earliest" });
    await leader.heard("n");
    const others = await openTabs(context, origin, 2);
    release();
    await leader.heard(({ data }) => data === HISTORY - 1);
    await server.publish({ event: "n", data: HISTORY });
    await assertAllHave([leader], HISTORY, 0);
    await assertAllHave(others, HISTORY, HISTORY);
    await connections(server, 1);
  });

  for (const [from, first, verdict] of [
    ["earliest", 0, "resumed"],
    ["last:5", 15, "resumed"],
    ["latest", 20, undefined],
    ["1.another.5", 20, "reset"],
  ]) {
    test(`hear each for itself what another never asked for, from ${from}, and follow again`, async (t) => {
      // What says that one has caught up is the heartbeat.
      const server = await startServer(t, "--ping-interval", "1s");
      const context = await openContext(t, browser);
      const streams = await openTabs(context, server.origin, 2);
      for (let n = 0; n < 20; n++) await server.publish({ event: "n", data: n });
      for (const stream of streams) await stream.all("n", 19);
      const late = await subscribe(await openTab(context, server.origin), { ...ADA, lastEventId: from });
      await late.connected();
      await server.publish({ event: "n", data: 20 });
      assertEach(await late.all("n", 20), 20, first);
      await connections(server, 1);
      await server.publish({ event: "n", data: 21 });
      await assertAllHave(streams, 21, 0);
      await assertAllHave([late], 21, first);
      if (verdict) assert.equal(verdicts(await late.log())[0], verdict);
      assert.equal(calls(await late.log(), "reset").length, verdict === "reset" ? 1 : 0);
      for (const stream of streams) {
        assert.deepEqual(calls(await stream.log(), "reset"), []);
        assert.deepEqual(calls(await stream.log(), "error"), []);
      }
    });
  }

  test("are reset once each by a server that forgot", async (t) => {
    const server = await startServer(t, "--drain", "300ms");
    const streams = await openTabs(await openContext(t, browser), server.origin, 3);
    await server.publish({ event: "n", data: 0 });
    for (const stream of streams) await stream.heard("n");
    await server.stop("SIGTERM");
    for (const stream of streams) await stream.is("waiting");
    await server.start();
    for (const stream of streams) {
      await stream.until("it is reset", async () => calls(await stream.log(), "reset").length > 0);
      await stream.is("open");
    }
    await server.publish({ event: "n", data: 1 });
    await assertAllHave(streams, 1, 0);
    await connections(server, 1);
    for (const stream of streams) {
      const log = await stream.log();
      assert.equal(calls(log, "reset").length, 1);
      assert.deepEqual(verdicts(log), ["live", "reset"]);
      assert.deepEqual(values(log, "$closing"), [{ reason: "shutdown", reconnect: true }]);
    }
  });

  test("lose nothing by the restart of a server with a memory", async (t) => {
    const server = await startServer(t, "--data-dir", directory(t), "--drain", "300ms");
    const streams = await openTabs(await openContext(t, browser), server.origin, 3);
    const publisher = publishing(t, server);
    await publisher.more(20);
    await server.stop("SIGTERM");
    await server.start();
    await publisher.more(20);
    // The one that leads goes right behind it.
    await streams.shift().page.close();
    await publisher.more(20);
    const last = await publisher.stop();
    await assertAllHave(streams, last, 0);
    for (const stream of streams) assert.deepEqual(calls(await stream.log(), "reset"), []);
    await connections(server, 1);
  });

  test("end together when the server wants it so, and none of them comes back", async (t) => {
    const server = await startServer(t);
    const streams = await openTabs(await openContext(t, browser), server.origin, 5);
    for (let round = 1; round <= 5; round++) {
      const [{ clientId }] = await connections(server, 1).then(() => server.clients());
      await server.request("DELETE", `/clients/${clientId}`);
      for (const stream of streams) {
        await stream.is("closed");
        assert.equal((await stream.state()).error, "closing");
        const errors = calls(await stream.log(), "error");
        assert.equal(errors.length, round);
        assert.equal(errors.at(-1).reason, "disconnected");
      }
      // Nobody leads, or waits for the lead: so nobody will connect.
      await until("there is no lock, and nobody waits for it", async () => {
        const { held, pending } = await streams[0].page.evaluate(() => navigator.locks.query());
        return held.length === 0 && pending.length === 0;
      });
      await connections(server, 0);
      for (const stream of streams) {
        assert.equal(verdicts(await stream.log()).length, round);
        await stream.page.evaluate(() => streams.main.client.connect());
        await stream.connected(round + 1);
      }
    }
  });

  test("go on though what failed cannot be told to the others", async (t) => {
    const server = await startServer(t);
    const context = await openContext(t, browser);
    const pages = [await openTab(context, server.origin), await openTab(context, server.origin)];
    for (const page of pages) {
      await page.evaluate(() => {
        // As applications do with an answer that they do not like.
        const url = async () => {
          if (!globalThis.ready) throw new Response("no");
          return "/api/sse";
        };
        globalThis.errors = [];
        const onError = ({ kind }) => errors.push(kind);
        globalThis.client = new Fanfare.SSEClient({ userId: "ada", reconnectInterval: 0, url, share: Fanfare.acrossTabs(), onError });
        client.connect();
      });
    }
    const state = (page) => page.evaluate(() => ({ status: client.status, error: client.getSnapshot().error?.kind, errors: errors[0] }));
    await until("the first one tells that it failed", async () => (await state(pages[0])).errors === "network");
    await until("the other one knows", async () => (await state(pages[1])).error === "network");
    for (const page of pages) await page.evaluate(() => void (globalThis.ready = true));
    for (const page of pages) await until("it is open", async () => (await state(page)).status === "open");
    for (const { complaints } of pages) assert.deepEqual(complaints, []);
    await connections(server, 1);
  });

  test("go on when one of them comes out of the back/forward cache", async (t) => {
    const server = await startServer(t);
    const streams = await openTabs(await openContext(t, browser), server.origin, 3);
    const publisher = publishing(t, server);
    // The one that leads, and one that follows.
    for (const { page } of [streams[0], streams[2]]) {
      await publisher.more(10);
      await page.goto(`${server.origin}/readyz`);
      await publisher.more(10);
      await page.goBack({ waitUntil: "commit" });
      await until("it is shown again", () => page.evaluate(() => shown.length === 2));
      assert.equal(await page.evaluate(() => shown[1]), true, "out of the cache");
    }
    const last = await publisher.stop();
    await assertAllHave(streams, last, 0);
    for (const stream of streams) assert.deepEqual(calls(await stream.log(), "error"), []);
    await connections(server, 1);
  });

  test("do without one that leads and is frozen: a new one takes the lead", async (t) => {
    const server = await startServer(t);
    const window = await openWindow(t);
    const [leader] = await openTabs(window, server.origin, 1);
    const page = await openTab(window, server.origin);
    await hidden(leader.page);
    const thaw = await freeze(leader.page);
    const late = await subscribe(page, ADA);
    await late.connected();
    await server.publish({ event: "n", data: 0 });
    await server.publish({ event: "n", data: 1 });
    await assertAllHave([late], 1, 0);
    await thaw();
    await assertAllHave([leader], 1, 0);
    await server.publish({ event: "n", data: 2 });
    await assertAllHave([leader, late], 2, 0);
    await connections(server, 1);
  });

  test("do without one that leads and is frozen: one that followed notices the silence", async (t) => {
    const server = await startServer(t);
    const window = await openWindow(t);
    const [leader] = await openTabs(window, server.origin, 1);
    const page = await openTab(window, server.origin);
    // More than a minute of silence is what counts: here it is a second and a half.
    await page.evaluate(() => {
      const { setTimeout } = globalThis;
      globalThis.setTimeout = (f, ms) => setTimeout(f, ms < 60_000 ? ms : ms / 40);
    });
    const follower = await subscribe(page, ADA);
    await follower.connected();
    await hidden(leader.page);
    const thaw = await freeze(leader.page);
    await server.publish({ event: "n", data: 0 });
    await follower.heard("n");
    await thaw();
    await server.publish({ event: "n", data: 1 });
    await assertAllHave([leader, follower], 1, 0);
    await connections(server, 1);
  });

  test("hear everything soon after the one that leads was frozen for a moment", async (t) => {
    const server = await startServer(t);
    const window = await openWindow(t);
    const streams = await openTabs(window, server.origin, 2);
    const [leader] = streams;
    await hidden(leader.page);
    const thaw = await freeze(leader.page);
    await server.publish({ event: "n", data: 0 });
    await thaw();
    await server.publish({ event: "n", data: 1 });
    for (const stream of streams) {
      await stream.until("all are there", async () => values(await stream.log(), "n").includes(1), 5_000);
    }
    await assertAllHave(streams, 1, 0);
    await connections(server, 1);
  });

  test("hear everything though one that followed was frozen", async (t) => {
    const server = await startServer(t);
    const window = await openWindow(t);
    const streams = (await openTabs(window, server.origin, 2)).reverse();
    await streams[1].page.bringToFront();
    await hidden(streams[0].page);
    const thaw = await freeze(streams[0].page);
    const publisher = publishing(t, server);
    await publisher.more(50);
    await thaw();
    await publisher.more(5);
    const last = await publisher.stop();
    await assertAllHave(streams, last, 0);
    await connections(server, 1);
  });
});
