// Claims about types. Nothing here runs: `tsc` is the test, and an expected error that does not come is an error.

import { type ReceivedEvent, SSEClient, type SSEEvent, type SSEHookResult } from "../src/index.js";
import { useSSE, useSSEEvent } from "../src/react/index.js";
import {
  broadcast,
  type InvalidError,
  type notifyJobCompletion,
  notifyUserActivity,
  SSEManager,
} from "../src/server/index.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const is = <T extends true>(): T | undefined => undefined;

interface Order {
  id: string;
  total: number;
}
type Events = { order_paid: Order; progress: { step: number } };

export function client(): void {
  const plain = new SSEClient();
  // The standard events out of the box.
  plain.addEventListener("connected", ({ data }) =>
    is<Equal<typeof data.resume, "live" | "resumed" | "gap" | "reset">>(),
  );
  plain.addEventListener("progress", ({ data }) => is<Equal<typeof data.progress, number>>());
  plain.addEventListener("error", ({ data }) => is<Equal<typeof data.error, string>>());
  // Nobody knows what others carry.
  plain.addEventListener("custom_event", ({ data }) => is<Equal<typeof data, unknown>>());

  const typed = new SSEClient<Events>();
  typed.addEventListener("order_paid", ({ data, event }) => {
    is<Equal<typeof data, Order>>();
    is<Equal<typeof event, "order_paid">>();
  });
  // One's own declaration wins over the standard one; the others stay.
  typed.addEventListener("progress", ({ data }) => is<Equal<typeof data, { step: number }>>());
  typed.addEventListener("ping", ({ data }) => is<Equal<typeof data.timestamp, number>>());
  // @ts-expect-error: an order has no name
  typed.addEventListener("order_paid", ({ data }) => data.name);

  // @ts-expect-error: metadata are texts
  new SSEClient({ metadata: { n: 1 } });
  // @ts-expect-error: no such option
  new SSEClient({ userID: "ada" });
}

export async function loop(typed: SSEClient<Events>): Promise<void> {
  for await (const event of typed.events("order_paid")) is<Equal<typeof event, ReceivedEvent<Order, "order_paid">>>();
}

export function Component(): null {
  const result = useSSE<Events>({ userId: "ada" });
  is<Equal<typeof result, SSEHookResult<Events>>>();
  result.addEventListener("order_paid", ({ data }) => data.total);
  // What received an event of any kind takes any of ours.
  const any: (event: SSEEvent) => void = () => {};
  result.addEventListener("order_paid", any);
  result.addEventListener("whatever", any);
  useSSEEvent("progress", ({ data }) => is<Equal<typeof data.progress, number>>());
  useSSEEvent<Order>("order_paid", ({ data }) => is<Equal<typeof data, Order>>());
  return null;
}

export function server(error: InvalidError): void {
  is<Equal<ReturnType<typeof broadcast>, Promise<number>>>();
  is<Equal<ReturnType<typeof notifyJobCompletion>, Promise<void>>>();
  void broadcast({ event: "a", data: { anything: [1] }, id: "own", retry: 1_000 });
  // @ts-expect-error: data is needed
  void broadcast({ event: "a" });
  // @ts-expect-error: no such activity
  void notifyUserActivity("ada", "sleeping");
  const manager = new SSEManager({
    pingInterval: 30_000,
    clientTimeout: 60_000,
    maxClients: 1_000,
    enableLogging: true,
  });
  // @ts-expect-error: one target, not two
  void manager.publish({ event: "a", data: 1, to: { userId: 1 } });
  is<Equal<(typeof error.errors)[number]["pointer"], string>>();
}
