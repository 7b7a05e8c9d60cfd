// The fake hub, by what users' tests rely on.

import { expect, test } from "vitest";
import { SSEClient } from "../../src/index.js";
import { InvalidError, SSEManager } from "../../src/server/index.js";
import { FAKE_URL, FakeHub } from "../../src/testing/core.js";

function connect(hub: FakeHub, options = {}) {
  const client = new SSEClient({ url: FAKE_URL, fetch: hub.fetch, reconnectInterval: 0, ...options });
  const heard: unknown[] = [];
  client.addEventListener("a", ({ data }) => heard.push(data));
  client.connect();
  return { client, heard };
}

test("emit waits until it was handled, and counts", async () => {
  const hub = new FakeHub();
  expect(await hub.emit("a", 0)).toBe(0);
  const ada = connect(hub, { userId: "ada" });
  const bob = connect(hub, { userId: "bob", topics: ["t"], metadata: { page: "x" } });
  await expect.poll(() => hub.connections.length).toBe(2);
  expect(await hub.emit("a", 1)).toBe(2);
  expect(await hub.emit("a", 2, { userId: "ada" })).toBe(1);
  expect(await hub.emit("a", 3, { topic: "t" })).toBe(1);
  expect(await hub.emit("a", 4, { filter: { userId: "bob", metadata: { page: "y" } } })).toBe(0);
  expect([ada.heard, bob.heard]).toEqual([
    [1, 2],
    [1, 3],
  ]);
  ada.client.disconnect();
  await expect.poll(() => hub.connections.length).toBe(1);
  bob.client.disconnect();
});

test("many events at once, and one after the other", async () => {
  const hub = new FakeHub();
  const { client, heard } = connect(hub);
  await expect.poll(() => hub.connections.length).toBe(1);
  await Promise.all(Array.from({ length: 20_000 }, (_, n) => hub.emit("a", n)));
  expect(heard).toHaveLength(20_000);
  client.disconnect();
});

test("a dropped connection resumes; after a gap or a restart it is told", async () => {
  const hub = new FakeHub();
  const told: string[] = [];
  const { client, heard } = connect(hub, { onGap: () => told.push("gap"), onReset: () => told.push("reset") });
  await expect.poll(() => hub.connections.length).toBe(1);
  await hub.emit("a", 1);
  hub.drop();
  await hub.emit("a", 2);
  await expect.poll(() => heard).toEqual([1, 2]);
  hub.drop();
  await hub.gap();
  await expect.poll(() => told).toEqual(["gap"]);
  hub.restart();
  await expect.poll(() => told).toEqual(["gap", "reset"]);
  await hub.close("disconnected", false);
  await expect.poll(() => client.status).toBe("closed");
});

test("takes what a manager sends, and refuses what would reach nobody by mistake", async () => {
  const hub = new FakeHub();
  const manager = new SSEManager({ url: "http://hub.test", fetch: hub.fetch });
  expect(await manager.broadcast({ event: "a", data: 1 })).toBe(0);
  expect(hub.published).toEqual([{ event: "a", data: 1 }]);
  for (const event of ["", "two\nlines", "$mine", undefined]) {
    await expect(manager.broadcast({ event: event as string, data: 1 })).rejects.toBeInstanceOf(InvalidError);
  }
  for (const userId of ["", null, undefined]) {
    await expect(manager.sendToUser(userId as string, { event: "a", data: 1 })).rejects.toBeInstanceOf(InvalidError);
  }
  expect(hub.published).toHaveLength(1);
});
