// The fifteen functions of the seed, against the table that the hub's own tests read too, and against the hub.

import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import type { SSEEvent } from "../../src/index.js";
import { SSEClient } from "../../src/index.js";
import * as sse from "../../src/server/index.js";
import { FakeHub } from "../../src/testing/core.js";
import { startHub } from "./support.js";

interface Case {
  name: string;
  function: string;
  args: Record<string, unknown>;
  target?: unknown;
  event?: string;
  data?: Record<string, unknown>;
  ephemeral?: boolean;
  nobody?: boolean;
  error?: { pointer: string };
}
const fixtures: { parameters: Record<string, string[]>; cases: Case[] } = JSON.parse(
  readFileSync(new URL("../../../../fixtures/helpers.json", import.meta.url), "utf8"),
);

const call = (name: string, args: unknown[]) =>
  (sse as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>)[name]?.(...args);
const positional = ({ function: name, args }: Case) => {
  const names = fixtures.parameters[name] as string[];
  return Object.keys(args).every((key) => names.includes(key)) ? names.map((key) => args[key]) : undefined;
};

describe.each(Object.keys(fixtures.parameters))("%s", (name) => {
  const cases = fixtures.cases.filter((each) => each.function === name);

  test.each(cases.filter((each) => !each.error).map((each) => [each.name, each] as const))("%s", async (_, each) => {
    const hub = new FakeHub();
    sse.initializeSSE({ url: "http://hub.test", fetch: hub.fetch });
    const before = Date.now();
    const count = await call(name, positional(each) as unknown[]);
    const [{ to, event, data, ephemeral = false } = {} as never] = hub.published;
    expect({ target: to ?? { all: true }, event, ephemeral }).toEqual({
      target: each.target,
      event: each.event,
      ephemeral: each.ephemeral,
    });
    // Down to the order of keys; `timestamp` is the last one.
    const { timestamp, ...rest } = data as Record<string, unknown>;
    expect(JSON.stringify(rest)).toBe(JSON.stringify(each.data));
    expect(JSON.stringify(data)).toMatch(/,"timestamp":\d+\}$/);
    expect(timestamp).toBeGreaterThanOrEqual(before);
    expect(count).toBe(["notifyJobCompletion", "updateOperationProgress"].includes(name) ? undefined : 0);
  });

  // What has no place among positional arguments can only be sent over HTTP.
  const refused = cases.filter((each) => each.error && positional(each));
  test.each(refused.map((each) => [each.name, each] as const))("refuses: %s", async (_, each) => {
    const hub = new FakeHub();
    sse.initializeSSE({ url: "http://hub.test", fetch: hub.fetch });
    const error = await call(name, positional(each) as unknown[])?.catch((failure) => failure);
    expect(error).toBeInstanceOf(sse.InvalidError);
    expect(error).toMatchObject({ errors: [{ pointer: each.error?.pointer }] });
    expect(hub.published).toEqual([]);
  });
});

describe("against the hub", () => {
  const clients: SSEClient[] = [];
  afterEach(() => {
    for (const client of clients.splice(0)) client.disconnect();
  });

  async function subscriber(url: string, userId: string) {
    const client = new SSEClient({ url: `${url}/api/sse`, userId });
    clients.push(client);
    const events: SSEEvent[] = [];
    client.onEvent(({ event, data }) => void (["connected", "ping"].includes(event) || events.push({ event, data })));
    const connected = new Promise((resolve) => client.addEventListener("connected", resolve));
    client.connect();
    await connected;
    return events;
  }

  test("each function reaches whom it is for, in the order of the calls, and counts", async () => {
    const url = await startHub();
    sse.initializeSSE({ url });
    const ada = await subscriber(url, "ada");
    const bob = await subscriber(url, "bob");
    const results = await Promise.all([
      sse.broadcast({ event: "one", data: 1 }),
      sse.notifyUser("ada", { event: "two", data: 2, id: "own" }),
      sse.notifyUsers(["ada", "bob", "nobody"], { event: "three", data: 3 }),
      sse.notifyUsers([], { event: "none", data: 0 }),
      sse.systemNotification("four"),
      sse.realtimeUpdate("five", { a: 1 }, ["bob"]),
      sse.progressUpdate("op", 6, undefined, "ada"),
      sse.successNotification("seven", undefined, "ada"),
      sse.errorNotification("eight", { a: 1 }),
      sse.notifyJobCompletion("job", "ada", "success"),
      sse.updateOperationProgress("op", "ada", 10, "ten", { a: 1 }),
      sse.announceSystemUpdate("eleven", "x", "critical"),
      sse.notifyDataChange("post", "12", "updated", { a: 1 }, ["ada"]),
      sse.notifyNewMessage("13", "bob", ["ada"], "Hi"),
      sse.notifyUserActivity("ada", "typing", ["bob"]),
      sse.notifyMetricsUpdate("cpu", 15, -1, ["ada", "bob"]),
      sse.broadcast({ event: "end", data: null }),
    ]);
    expect(results).toEqual([2, 1, 2, 0, 2, 1, 1, 1, 2, undefined, undefined, 2, 1, 1, 1, 2, 2]);
    await expect.poll(() => [ada.at(-1)?.event, bob.at(-1)?.event]).toEqual(["end", "end"]);
    const types = [
      "one",
      "two",
      "three",
      "system",
      "progress",
      "success",
      "error",
      "success",
      "progress",
      "system",
      "update",
      "notification",
    ];
    expect(ada.map(({ event }) => event)).toEqual([...types, "update", "end"]);
    expect(bob.map(({ event }) => event)).toEqual([
      "one",
      "three",
      "system",
      "update",
      "error",
      "system",
      "update",
      "update",
      "end",
    ]);
  });
});
