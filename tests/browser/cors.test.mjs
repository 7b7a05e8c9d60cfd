// Pages of other origins: let in by --cors-origin, and only then.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, openPage, otherOrigin, startServer, subscribe, until } from "./support.mjs";

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** What a page may read of the answer, or the name of the error. */
const post = (page, url) =>
  page.evaluate(async (url) => {
    const headers = { "content-type": "application/json", "idempotency-key": "once" };
    try {
      const answer = await fetch(url, { method: "POST", headers, body: '{"event":"n","data":1}' });
      return { status: answer.status, body: await answer.json() };
    } catch (error) {
      return error.name;
    }
  }, url);

test("a page of an allowed origin connects, with credentials too, and publishes after a preflight", async (t) => {
  const origin = await otherOrigin(t);
  const server = await startServer(t, "--cors-origin", origin, "--cors-origin", "https://app.example.com");
  const page = await openPage(t, browser, origin, "/");
  const url = `${server.origin}/api/sse`;
  const plain = await subscribe(page, { name: "plain", url, types: ["n"] });
  const credentials = await subscribe(page, { name: "credentials", url, types: ["n"], init: { withCredentials: true } });
  await plain.heard("connected");
  await credentials.heard("connected");

  const preflights = [];
  page.on("request", (request) => preflights.push(request.method()));
  const { status, body } = await post(page, `${url}/publish`);
  assert.equal(status, 200);
  assert.equal(body.clients, 2);
  for (const stream of [plain, credentials]) assert.deepEqual(await stream.heard("n"), { type: "n", data: "1", id: body.id, state: 1 });
  // The same key: the answer is the first one's, and nothing is sent again.
  assert.deepEqual((await post(page, `${url}/publish`)).body, body);
  assert.equal((await server.request("GET", "/events?lastEventId=earliest")).events.length, 1);

  // What a client that sends its own headers asks for.
  const read = await page.evaluate(async (url) => {
    const answer = await fetch(url, { headers: { "Last-Event-ID": "earliest", Authorization: "Bearer x", Accept: "text/event-stream" } });
    const { value } = await answer.body.getReader().read();
    return new TextDecoder().decode(value);
  }, url);
  assert.match(read, /"resume":"resumed"/);
});

test("a page of any origin is let in by a star, without credentials", async (t) => {
  const origin = await otherOrigin(t);
  const server = await startServer(t, "--cors-origin", "*");
  const page = await openPage(t, browser, origin, "/");
  const url = `${server.origin}/api/sse`;
  const plain = await subscribe(page, { name: "plain", url });
  await plain.heard("connected");
  const credentials = await subscribe(page, { name: "credentials", url, init: { withCredentials: true } });
  await credentials.heard("error");
  assert.equal(await credentials.readyState(), 2);
  assert.equal((await post(page, `${url}/publish`)).status, 200);
});

for (const [which, args] of [
  ["no origin is allowed", []],
  ["another origin is allowed", ["--cors-origin", "https://app.example.com"]],
]) {
  test(`where ${which}, a page of another origin neither connects nor publishes`, async (t) => {
    const origin = await otherOrigin(t);
    const server = await startServer(t, ...args);
    const page = await openPage(t, browser, origin, "/");
    const stream = await subscribe(page, { url: `${server.origin}/api/sse` });
    await stream.heard("error");
    assert.deepEqual(await stream.log(), [{ type: "error", state: 2 }]);
    assert.equal(await post(page, `${server.origin}/api/sse/publish`), "TypeError");
    assert.deepEqual((await server.request("GET", "/events?lastEventId=earliest")).events, []);
    await until("nobody holds a place", async () => (await server.clients()).length === 0);
  });
}
