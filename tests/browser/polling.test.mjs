// The client for browsers without EventSource, as docs/browser-support.md prints it, in a page that has neither EventSource nor
// fetch: in order, for its user only, through an outage, a gap and a restart.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { launch, openPage, startServer, until } from "./support.mjs";

const document = readFileSync(new URL("../../docs/browser-support.md", import.meta.url), "utf8");
const snippets = [...document.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, code]) => code);

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** A page that polls every 100 ms, and what it was told. */
async function poll(t, server) {
  const snippet = snippets.find((code) => code.includes("function pollEvents("));
  assert.ok(snippet, "the page has the snippet");
  // Old browsers stop at the first of these.
  assert.doesNotMatch(snippet.replace(/\/\*[\s\S]*?\*\//g, ""), /=>|\b(let|const|class|async)\b|`|,\s*\)/);
  const page = await openPage(t, browser, server.origin);
  const answered = page.waitForResponse(/\/api\/sse\/events/);
  await page.evaluate((snippet) => {
    delete window.EventSource;
    delete window.fetch;
    window.told = { events: [], lost: [] };
    const define = new Function(`${snippet}; stop(); return pollEvents;`);
    window.stop = define()("userId=user123", 100, (event) => told.events.push(event), (verdict) => told.lost.push(verdict));
  }, snippet);
  // It begins now: only what comes behind the first answer is for it.
  await (await answered).finished();
  await until("the first answers", () => page.evaluate(() => performance.getEntriesByType("resource").length >= 3));
  return { page, told: () => page.evaluate(() => window.told) };
}

const event = (data, userId = "user123") => ({ event: "n", data, to: { userId } });

test("events come in order, a page after the other, and none of anybody else", async (t) => {
  const server = await startServer(t);
  const { page, told } = await poll(t, server);
  const numbers = Array.from({ length: 250 }, (_, number) => number);
  await server.publish(numbers.flatMap((number) => [event(number), event(number, "other")]));
  await until("all of them", async () => (await told()).events.length >= numbers.length);
  const { events, lost } = await told();
  assert.deepEqual(events.map(({ data }) => data), numbers);
  assert.deepEqual(lost, []);

  await page.evaluate(() => stop());
  const asked = () => page.evaluate(() => performance.getEntriesByType("resource").length);
  const before = await asked();
  await server.publish(event("late"));
  // Time for several questions, had it not stopped; one may have been under way.
  await page.waitForTimeout(500);
  assert.ok((await asked()) <= before + 1);
  assert.equal((await told()).events.length, numbers.length);
});

test("an outage costs nothing; a gap and a restart are told", async (t) => {
  const server = await startServer(t, "--history-size", "64KiB");
  const { page, told } = await poll(t, server);
  const offline = async () => {
    const failed = page.waitForEvent("requestfailed");
    await page.context().setOffline(true);
    await failed;
  };
  await offline();
  await server.publish(event("meanwhile"));
  await page.context().setOffline(false);
  await until("what came in the outage", async () => (await told()).events.at(-1)?.data === "meanwhile");
  assert.deepEqual((await told()).lost, []);

  await offline();
  await server.publish(Array.from({ length: 20 }, () => event("x".repeat(10_000))));
  await page.context().setOffline(false);
  await until("the gap", async () => (await told()).lost.includes("gap"));

  await server.stop("SIGKILL");
  await server.start();
  await until("the reset", async () => (await told()).lost.includes("reset"));
  await server.publish(event("afterwards"));
  await until("what came afterwards", async () => (await told()).events.at(-1)?.data === "afterwards");
});
