// The demo page, as a person uses it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DEADLINE, launch, startProxy, startServer, until } from "./support.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** The demo page in `context`, or one of its own. Complaints of the browser fail the test, `expected` ones excepted. */
async function openDemo(t, origin, { context, viewport, expected = /^$/, hash = "" } = {}) {
  if (!context) {
    context = await browser.newContext({ viewport: viewport ?? { width: 1440, height: 900 } });
    t.after(() => context.close());
  }
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`a dialog: ${dialog.message()}`) && dialog.dismiss());
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(`${origin}/sse-demo${hash}`);
  const demo = {
    page,
    get: (id) => page.locator(`#${id}`),
    text: async (id) => (await page.locator(`#${id}`).textContent()).trim(),
    rows: (type) => page.locator(`#log [data-type=${JSON.stringify(type)}]`),
    is: (id, wanted) =>
      until(`${id} is ${wanted}`, async () => {
        const text = await demo.text(id);
        return wanted instanceof RegExp ? wanted.test(text) : text === wanted;
      }),
    connected: () => demo.is("state", "Connected"),
    /** The data of the newest event of the type that contains `part`. */
    async logged(type, part = "") {
      const body = demo.rows(type).filter({ hasText: part }).first().locator(".body");
      await body.waitFor({ state: "attached" });
      return body.textContent();
    },
    quiet: () => assert.deepEqual(complaints.filter((text) => !expected.test(text)), []),
  };
  return demo;
}

test("connects by itself, sends each demo type and a custom event, and logs them", async (t) => {
  const server = await startServer(t);
  const demo = await openDemo(t, server.origin, { hash: "#userId=ada", expected: /status of 422/ });
  await demo.connected();
  assert.equal(await demo.text("resume"), "live");
  const types = {
    broadcast: "notification",
    user: "notification",
    system: "system",
    update: "update",
    progress: "progress",
    success: "success",
    error: "error",
  };
  for (const [type, event] of Object.entries(types)) {
    await demo.get("demo-type").selectOption(type);
    if (type === "user") await demo.get("demo-user").fill("ada");
    await demo.get("demo-message").fill(`message of ${type}`);
    await demo.get("demo-send").click();
    await demo.is("send-result", /^Sent to 1 stream /);
    const data = JSON.parse(await demo.logged(event, `message of ${type}`));
    assert.equal(typeof data.timestamp, "number", type);
  }
  assert.equal(JSON.parse(await demo.logged("progress")).progress, 40, "the example's");

  await demo.get("demo-type").selectOption("user");
  await demo.get("demo-user").fill("bob");
  await demo.get("demo-send").click();
  await demo.is("send-result", /nobody is listening/);

  await demo.get("custom-event").fill("order_paid");
  await demo.get("custom-data").fill('{"order": 17, "total": 12345678901234567890}');
  await demo.get("custom-id").fill("order-17");
  await demo.get("custom-send").click();
  assert.match(await demo.logged("order_paid", "order-17"), /"total": 12345678901234567890/);
  await demo.is("last-event-id", /~order-17$/);

  for (const [target, name, reach] of [["userId", "ada", 1], ["topic", "orders", 0], ["clientId", await demo.text("client-id"), 1]]) {
    await demo.get("custom-target").selectOption(target);
    await demo.get("custom-target-value").fill(name);
    await demo.get("custom-id").fill("");
    await demo.get("custom-data").fill(`"to ${target}"`);
    await demo.get("custom-send").click();
    await demo.is("send-result", reach ? /^Sent to 1 stream / : /nobody is listening/);
    if (reach) await demo.logged("order_paid", `to ${target}`);
  }
  await demo.get("custom-target").selectOption("all");

  await demo.get("custom-data").fill("{not JSON");
  await demo.get("custom-send").click();
  await demo.page.getByText("This is not valid JSON.").waitFor();
  await demo.get("custom-data").fill("1");
  await demo.get("custom-event").fill("$mine");
  await demo.get("custom-send").click();
  await demo.is("send-result", /^422: .*\/event/);

  await until("statistics", async () => (await demo.text("stat-total-clients")) === "1" && Number(await demo.text("stat-total-events")) >= 10);
  assert.match(await demo.text("users"), /^ada\s*1$/);
  await until("bars in the chart", async () => (await demo.page.locator("#chart rect:not(.zero)").count()) > 0);
  demo.quiet();
});

test("an ephemeral event is marked, and leaves the place as it was", async (t) => {
  const server = await startServer(t);
  const demo = await openDemo(t, server.origin);
  await demo.connected();
  await demo.get("custom-event").fill("order_paid");
  await demo.get("custom-data").fill('"kept"');
  await demo.get("custom-send").click();
  await demo.logged("order_paid", "kept");
  await demo.is("last-event-id", (await server.request("GET", "/cursor")).id);
  const place = await demo.text("last-event-id");
  await demo.get("custom-ephemeral").check();
  await demo.get("custom-data").fill('"passing"');
  await demo.get("custom-send").click();
  await demo.logged("order_paid", "passing");
  await demo.rows("order_paid").filter({ hasText: "passing" }).filter({ hasText: "ephemeral" }).waitFor();
  assert.equal(await demo.rows("order_paid").filter({ hasText: "ephemeral" }).count(), 1);
  await demo.is("last-event-id", place);
  demo.quiet();
});

test("user, session, topics and metadata reach the server; disconnect and connect do what they say", async (t) => {
  const server = await startServer(t);
  const demo = await openDemo(t, server.origin);
  await demo.connected();
  await demo.get("user-id").fill("ada & bob");
  await demo.get("session-id").fill("räume+1");
  await demo.get("topics").fill("orders, a/b ,orders");
  await demo.get("metadata").fill("page=dash=board\n region = eu \n");
  await demo.get("connect-button").click();
  const client = await until("the new connection alone", async () => {
    const clients = await server.clients();
    return clients.length === 1 && clients[0].userId && clients[0];
  });
  const { clientId, userId, sessionId, topics, metadata } = client;
  assert.deepEqual({ userId, sessionId, metadata }, { userId: "ada & bob", sessionId: "räume+1", metadata: { page: "dash=board", region: "eu" } });
  assert.deepEqual(topics.toSorted(), ["a/b", "orders"]);
  await demo.is("client-id", clientId);

  await demo.get("disconnect-button").click();
  await demo.is("state", "Disconnected");
  await until("nobody", async () => (await server.clients()).length === 0);
  const missed = await server.publish({ event: "notification", data: "while away" });
  assert.equal(missed.clients, 0);
  await demo.get("connect-button").click();
  await demo.connected();
  assert.equal(await demo.text("resume"), "resumed");
  assert.equal(await demo.logged("notification"), '"while away"');

  await demo.get("metadata").fill("topic=reserved");
  await demo.get("connect-button").click();
  await demo.page.getByText("“topic” is reserved.").waitFor();

  const { clientId: now } = (await server.clients())[0];
  await server.request("DELETE", `/clients/${now}`);
  await demo.is("state", "Closed by the server");
  await demo.is("detail", /an operator disconnected this client/);
  assert.equal((await server.clients()).length, 0);
  demo.quiet();
});

test("a hostile payload is shown as text", async (t) => {
  const server = await startServer(t);
  const demo = await openDemo(t, server.origin, { viewport: { width: 360, height: 740 } });
  await demo.connected();
  const markup = '<img src=x onerror="alert(1)"><script>alert(2)</script><b>';
  const payloads = {
    markup,
    "direction\u202e controls \u2066": "\u202e\u2066reversed",
    "one word": "W".repeat(3_000),
    "deep nesting": JSON.parse("[".repeat(100) + "]".repeat(100)),
    "no end": "line\n".repeat(40_000),
    "separators": "a\u2028b\u0000c",
  };
  await server.publish([
    ...Object.entries(payloads).map(([name, value]) => ({ event: "message", data: { [name]: value } })),
    { event: markup, data: markup },
    { event: "error", data: { error: markup } },
  ]);
  await demo.rows("error").first().waitFor({ state: "attached" });
  assert.deepEqual(JSON.parse(await demo.logged("message", "onerror")), { markup });
  assert.equal(await demo.page.locator("#log .badge", { hasText: markup }).count(), 1);
  assert.equal(await demo.page.locator("#log :is(img, script, b)").count(), 0);
  const long = demo.rows("message").filter({ hasText: "no end" });
  assert.ok((await long.locator(".body").textContent()).length < 2_000);
  await long.getByRole("button", { name: "Show all" }).click();
  assert.deepEqual(JSON.parse(await long.locator(".body").textContent()), { "no end": payloads["no end"] });
  assert.equal(await sideways(demo.page), 0);
  demo.quiet();
});

/** Pixels by which the page is wider than its window. */
const sideways = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

test("fits every window without scrolling sideways", async (t) => {
  const server = await startServer(t);
  const demo = await openDemo(t, server.origin, { hash: `#userId=${"u".repeat(200)}&topic=${"t".repeat(200)}` });
  await demo.connected();
  await demo.get("custom-id").fill("i".repeat(128));
  await demo.get("custom-send").click();
  await demo.is("send-result", /^Sent to 1 stream /);
  for (const [width, height] of [[360, 740], [390, 844], [768, 1024], [1024, 768], [1440, 900], [2560, 1300]]) {
    await demo.page.setViewportSize({ width, height });
    assert.equal(await sideways(demo.page), 0, `${width} px`);
    for (const id of ["state", "connect-button", "demo-send", "custom-send", "log", "chart", "stat-total-clients"]) {
      const box = await demo.get(id).boundingBox();
      assert.ok(box && box.x >= 0 && box.x + box.width <= width && box.height > 0, `${id} at ${width} px: ${JSON.stringify(box)}`);
    }
  }
  demo.quiet();
});

test("below a token the page asks for it, and works with it", async (t) => {
  const token = "correct-horse-battery";
  const server = await startServer(t, "--token", token);
  const demo = await openDemo(t, server.origin, { expected: /status of 401/ });
  await demo.connected(); // subscribing never needs the token
  await demo.get("token").waitFor();
  await demo.is("stats-note", /401/);
  await demo.get("demo-send").click();
  await demo.is("send-result", /^401: /);
  await demo.get("token").fill("wrong-horse-battery");
  await demo.get("demo-send").click();
  await demo.is("send-result", /^401: .*not the server's/);
  await demo.get("token").fill(token);
  await demo.get("demo-send").click();
  await demo.is("send-result", /^Sent to 1 stream /);
  await demo.logged("notification", "Hello from Fanfare");
  await demo.is("stat-total-clients", "1");
  assert.equal(await demo.page.evaluate((token) => location.href.includes(token), token), false);
  demo.quiet();
});

test("with six tabs of six users the page says why nothing is answered, and can free the others", async (t) => {
  const server = await startServer(t);
  const context = await browser.newContext();
  t.after(() => context.close());
  const demos = [];
  for (let i = 0; i < 6; i++) {
    demos.push(await openDemo(t, server.origin, { context, hash: `#userId=user-${i}` }));
    await demos[i].connected();
    if (i < 5) assert.equal(await demos[i].get("banner").isVisible(), false);
  }
  for (const demo of demos) {
    await demo.get("banner").waitFor();
    await demo.is("banner", /only six connections/);
  }
  const last = demos.at(-1);
  await last.get("demo-send").click();
  await last.is("send-result", /Still waiting for an answer/);
  await last.page.getByRole("button", { name: "Disconnect the other tabs" }).click();
  await last.is("send-result", /^Sent to \d streams? /); // the server may not have heard of all the ends yet
  await last.get("banner").waitFor({ state: "hidden" });
  await last.connected();
  await demos[0].is("state", "Disconnected");
  for (const demo of demos) demo.quiet();
});

/** Tabs of one browser, all connected, the first one before the others. */
async function openTabs(t, origin, hashes) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const tabs = [];
  for (const hash of hashes) {
    tabs.push(await openDemo(t, origin, { context, hash }));
    await tabs.at(-1).connected();
  }
  return tabs;
}

/** The data of all events of the type in the log, oldest first. */
const heard = async (demo, type) => (await demo.rows(type).locator(".body").allTextContents()).reverse().map((text) => JSON.parse(text));

test("eight tabs share one connection, and each sees every event once", async (t) => {
  const server = await startServer(t);
  const tabs = await openTabs(t, server.origin, Array(8).fill("#userId=ada&topic=b&topic=a"));
  const clients = await server.clients();
  assert.equal(clients.length, 1);
  for (const tab of tabs) assert.equal(await tab.text("client-id"), clients[0].clientId);
  for (const data of [1, 2, 3]) assert.equal((await server.publish({ event: "order_paid", data })).clients, 1);
  await tabs[7].get("demo-type").selectOption("user");
  await tabs[7].get("demo-user").fill("ada");
  await tabs[7].get("demo-send").click();
  await tabs[7].is("send-result", /^Sent to 1 stream /); // eight streams would have kept it from being sent
  for (const tab of tabs) {
    await tab.logged("notification");
    assert.deepEqual(await heard(tab, "order_paid"), [1, 2, 3]);
    assert.equal((await heard(tab, "notification")).length, 1);
    assert.equal(await tab.get("banner").isVisible(), false);
    tab.quiet();
  }
  assert.equal((await server.clients()).length, 1);
});

/** Ways in which a tab ends. */
const ENDS = {
  closed: (page) => page.close(),
  "led elsewhere": (page, origin) => page.goto(`${origin}/healthz`),
  crashed: async (page) => {
    const crashed = page.waitForEvent("crash");
    const session = await page.context().newCDPSession(page);
    session.send("Page.crash").catch(() => {}); // which nobody is left to answer
    await crashed;
  },
};

test("when the leading tab ends another one takes over, without loss or duplicate", async (t) => {
  const server = await startServer(t);
  const tabs = await openTabs(t, server.origin, Array(5).fill("#userId=ada"));
  let published = 0;
  let publishing = true;
  t.after(() => (publishing = false));
  const publisher = (async () => {
    for (; publishing; await sleep(10)) await server.publish({ event: "order_paid", data: published++ }); // the log keeps 500
  })();
  for (const [how, end] of Object.entries(ENDS)) {
    const [{ clientId }] = await server.clients();
    const leading = tabs.shift(); // who came first got the lock first, and hands it on in the order of asking
    const heardThen = (await heard(leading, "order_paid")).at(-1) ?? -1;
    await tabs[0].logged("order_paid", String(heardThen + 10)); // in full swing
    await end(leading.page, server.origin);
    const next = await until(`one connection, another one (${how})`, async () => {
      const clients = await server.clients();
      return clients.length === 1 && clients[0].clientId !== clientId && clients[0];
    });
    for (const tab of tabs) {
      await tab.is("client-id", next.clientId);
      assert.equal(await tab.text("resume"), "resumed");
    }
  }
  publishing = false;
  await publisher;
  assert.ok(published < 450, `${published} events: too many for the log to show all`);
  const all = Array.from({ length: published }, (_, n) => n);
  for (const tab of tabs) {
    await tab.is("count", `${published} received`);
    assert.deepEqual(await heard(tab, "order_paid"), all);
    assert.equal(await tab.text("reconnects"), "3");
    tab.quiet();
  }
});

test("tabs of another user have a connection of their own, and nothing of the first user's", async (t) => {
  const server = await startServer(t);
  const hashes = ["#userId=ada", "#userId=ada", "#userId=bob", ""];
  const tabs = await openTabs(t, server.origin, hashes);
  const [ada, , bob, nobody] = await Promise.all(tabs.map((tab) => tab.text("client-id")));
  assert.equal(new Set([ada, bob, nobody]).size, 3);
  assert.deepEqual((await server.clients()).map(({ clientId }) => clientId).toSorted(), [ada, bob, nobody].toSorted());
  await server.publish([
    { event: "order_paid", data: "for ada", to: { userId: "ada" } },
    { event: "order_paid", data: "for bob", to: { userId: "bob" } },
    { event: "order_paid", data: "for all" },
  ]);
  for (const [i, hash] of hashes.entries()) {
    await tabs[i].logged("order_paid", "for all");
    const own = hash ? [`for ${hash.slice("#userId=".length)}`] : [];
    assert.deepEqual(await heard(tabs[i], "order_paid"), [...own, "for all"]);
  }

  // The next login in the same tab, and back.
  const tab = tabs[1];
  await tab.get("user-id").fill("bob");
  await tab.get("connect-button").click();
  await tab.is("client-id", bob);
  await tab.get("clear").click();
  await server.publish([
    { event: "order_paid", data: "ada again", to: { userId: "ada" } },
    { event: "order_paid", data: "bob again", to: { userId: "bob" } },
  ]);
  await tab.logged("order_paid", "bob again");
  await tabs[0].logged("order_paid", "ada again");
  assert.deepEqual(await heard(tab, "order_paid"), ["bob again"]);
  assert.equal((await server.clients()).length, 3);
  for (const tab of tabs) tab.quiet();
});

test("where tabs cannot share, each of them counts", async (t) => {
  const server = await startServer(t);
  const context = await browser.newContext();
  t.after(() => context.close());
  await context.addInitScript(() => Object.defineProperty(Navigator.prototype, "locks", { value: undefined })); // as without TLS
  const demos = [];
  for (let i = 0; i < 6; i++) {
    demos.push(await openDemo(t, server.origin, { context, hash: "#userId=ada" }));
    await demos[i].connected();
    if (i === 4) assert.equal((await server.clients()).length, 5);
    if (i < 5) assert.equal(await demos[i].get("banner").isVisible(), false);
  }
  for (const demo of demos) {
    await demo.is("banner", /want 6 streams; only six connections/);
    demo.quiet();
  }
});

describe("after the connection was lost", { concurrency: true }, () => {
  test("a restarted server is found again, with the verdict that the cursor is unknown", async (t) => {
    const server = await startServer(t, "--drain", "100ms");
    const demo = await openDemo(t, server.origin, { expected: /net::ERR_/ });
    await demo.connected();
    assert.equal(await demo.text("reconnects"), "0");
    assert.equal(await server.stop("SIGTERM"), 0);
    await demo.is("state", "Reconnecting");
    await demo.is("detail", /shutting down/);
    await server.start();
    await demo.connected();
    await demo.is("reconnects", "1");
    assert.equal(await demo.text("resume"), "reset");
    await demo.get("demo-send").click();
    await demo.logged("notification", "Hello from Fanfare");
    demo.quiet();
  });

  test("tabs that share a connection tell the same of its end, and of the end for good", async (t) => {
    const server = await startServer(t, "--drain", "100ms");
    const context = await browser.newContext();
    t.after(() => context.close());
    const tabs = [];
    for (let i = 0; i < 2; i++) {
      tabs.push(await openDemo(t, server.origin, { context, expected: /net::ERR_/ }));
      await tabs[i].connected();
    }
    await server.stop("SIGTERM");
    for (const tab of tabs) {
      await tab.is("state", "Reconnecting");
      await tab.is("detail", /shutting down/);
    }
    await server.start();
    for (const tab of tabs) {
      await tab.connected();
      await tab.is("reconnects", "1");
      assert.equal(await tab.text("resume"), "reset");
    }
    const [{ clientId }, ...more] = await server.clients();
    assert.deepEqual(more, []);
    await server.request("DELETE", `/clients/${clientId}`);
    for (const tab of tabs) {
      await tab.is("state", "Closed by the server");
      await tab.is("detail", /an operator disconnected this client/);
      tab.quiet();
    }
    assert.deepEqual(await server.clients(), []);
  });

  test("a cut connection resumes, and shows what it missed", async (t) => {
    const server = await startServer(t);
    const open = new Set();
    const origin = await startProxy(t, server, (client, upstream) => {
      upstream.pipe(client);
      open.add(client);
    });
    const demo = await openDemo(t, origin, { expected: /net::ERR_/ });
    await demo.connected();
    for (const client of open) client.resetAndDestroy();
    await demo.is("state", "Reconnecting");
    await server.publish({ event: "notification", data: { message: "missed" } });
    await demo.connected();
    await demo.is("resume", "resumed");
    await demo.is("reconnects", "1");
    await demo.logged("notification", "missed");
    demo.quiet();
  });
});
