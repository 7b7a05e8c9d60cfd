// Owns: the order of what is sent. One request at a time; what was handed over meanwhile goes together in the next.

import { ClosedError, InvalidError, invalid, QueueFullError } from "./errors.js";
import type { Hub, HubRequest } from "./hub.js";

/** What became of an event. */
export interface SSEReceipt {
  /** The exact `id:` line; null for an ephemeral event and for one to nobody. */
  id: string | null;
  /** Connections it was for. */
  clients: number;
  /** How well it is kept. */
  durability: "memory" | "disk" | "ephemeral" | (string & {});
}

/** Events that go together or not at all. */
interface Parcel {
  /** Each as JSON text. */
  events: string[];
  bytes: number;
  /** Never together with others: it has a key of its own, or its refusal would be theirs. */
  alone: boolean;
  key: string | undefined;
  signal: AbortSignal | undefined;
  /** When it was handed over: the deadline counts from then. */
  since: number;
  resolve(receipts: SSEReceipt[]): void;
  reject(error: unknown): void;
}

/** Most events of one request; the hub's limit. */
export const BATCH_MAX = 1_000;
/** Most bytes of one request; the hub's limit, less brackets. */
export const BODY_MAX = (1 << 20) - 2;

/** Sends parcels in the order in which they come. */
export class Outbox {
  readonly #hub: Hub;
  readonly #maxQueue: number;
  readonly #onRetry: (error: unknown) => void;
  #queue: Parcel[] = [];
  #queued = 0;
  /** What waits or is under way. */
  readonly #unsettled = new Set<Parcel>();
  #round: Promise<void> = Promise.resolve();
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(hub: Hub, maxQueue: number, onRetry: (error: unknown) => void) {
    this.#hub = hub;
    this.#maxQueue = maxQueue;
    this.#onRetry = onRetry;
  }

  /** Takes part in the next request. Rejects with the hub's refusal, or with the signal's reason. */
  send(
    events: string[],
    options: { alone?: boolean; key?: string | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<SSEReceipt[]> {
    const { alone = false, key, signal } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const encoder = new TextEncoder();
      const bytes = events.reduce((sum, event) => sum + encoder.encode(event).length + 1, 0);
      if (this.#closed) throw new ClosedError("the manager was destroyed");
      if (events.length > BATCH_MAX) throw invalid("#", `${events.length} events are more than ${BATCH_MAX}`);
      if (bytes > BODY_MAX) throw invalid("#", `${bytes} bytes of events are more than ${BODY_MAX}`);
      if (this.#queued + events.length > this.#maxQueue) {
        throw new QueueFullError(
          `${this.#queued} events wait to be sent already: the hub is too slow, or cannot be reached`,
        );
      }
      const done = () => {
        this.#queued -= events.length;
        this.#unsettled.delete(parcel);
        signal?.removeEventListener("abort", abort);
      };
      const parcel: Parcel = {
        events,
        bytes,
        alone,
        key,
        signal,
        since: Date.now(),
        resolve(receipts) {
          done();
          resolve(receipts);
        },
        reject(error) {
          done();
          reject(error);
        },
      };
      const abort = () => {
        const at = this.#queue.indexOf(parcel);
        // Under way, the request hears the signal itself.
        if (at < 0) return;
        this.#queue.splice(at, 1);
        parcel.reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort);
      this.#queue.push(parcel);
      this.#unsettled.add(parcel);
      this.#queued += events.length;
      // A moment later, so that what is sent in one go goes together.
      this.#running ??= Promise.resolve().then(() => this.#run());
    });
  }

  /** Waits until everything handed over before this call was answered. Never rejects. */
  async flush(): Promise<void> {
    const before = [...this.#unsettled];
    while (before.some((parcel) => this.#unsettled.has(parcel))) await this.#round;
  }

  /** Takes nothing more. What waits is sent. */
  close(): Promise<void> {
    this.#closed = true;
    return this.flush();
  }

  async #run(): Promise<void> {
    while (this.#queue.length) await (this.#round = this.#deliver(this.#next()));
    this.#running = undefined;
  }

  #next(): Parcel[] {
    let count = 0;
    let bytes = 0;
    let end = 0;
    for (const parcel of this.#queue) {
      count += parcel.events.length;
      bytes += parcel.bytes;
      if (end && (parcel.alone || count > BATCH_MAX || bytes > BODY_MAX)) break;
      end++;
      if (parcel.alone) break;
    }
    return this.#queue.splice(0, end);
  }

  async #deliver(parcels: Parcel[]): Promise<void> {
    try {
      const receipts = await this.#post(parcels);
      let at = 0;
      for (const parcel of parcels) parcel.resolve(receipts.slice(at, (at += parcel.events.length)));
    } catch (error) {
      if (parcels.length > 1 && error instanceof InvalidError) {
        // All or nothing: nothing was published. What is not allowed must not take others with it, and is found by halves.
        const half = parcels.length >> 1;
        await this.#deliver(parcels.slice(0, half));
        await this.#deliver(parcels.slice(half));
      } else for (const parcel of parcels) parcel.reject(error);
    }
  }

  async #post(parcels: Parcel[]): Promise<SSEReceipt[]> {
    const events = parcels.flatMap((parcel) => parcel.events);
    const [first] = parcels;
    const request: HubRequest = {
      method: "POST",
      path: "/publish",
      headers: {
        "content-type": "application/json",
        // The same in every attempt, so that nothing is published twice.
        "idempotency-key": first?.key ?? crypto.randomUUID(),
      },
      body: events.length === 1 ? events[0] : `[${events.join(",")}]`,
      signal: first?.alone ? first.signal : undefined,
      onRetry: this.#onRetry,
    };
    const answer = await this.#hub.request(request, Math.max(...parcels.map(({ since }) => since)));
    const receiptsOf = (value: SSEReceipt | SSEReceipt[]) => [value].flat();
    const fits = (value: SSEReceipt | SSEReceipt[]) =>
      receiptsOf(value).length === events.length &&
      receiptsOf(value).every(({ clients }) => typeof clients === "number");
    return receiptsOf(this.#hub.parse(answer, fits));
  }
}
