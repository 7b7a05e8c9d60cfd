// Owns: one component's share in a client: its listeners, what it sees, whether it wants to be connected at all.

import { IDLE, type SSEClientOptions, type SSEGap, type SSESnapshot, type Unsubscribe } from "../client/options.js";
import type { ReceivedEvent } from "../types.js";
import { acquire, type Entry, type Registry, release } from "./registry.js";

/** Callbacks of a component. */
export interface HoldCallbacks {
  onGap?: ((gap: SSEGap) => void) | undefined;
  onReset?: ((gap: SSEGap) => void) | undefined;
}

type Handler = (event: ReceivedEvent<never>) => void;

/** A component's hold on a client. Lives as long as the component, over reconnects and changes of identity. */
export class Hold {
  /** What the component said in its last render. */
  callbacks: HoldCallbacks = {};
  options: SSEClientOptions = {};
  /** True once the component looked at an event: only then events render it again. */
  #watchesEvents = false;
  #key = "";
  #enabled: boolean | undefined;
  #wanted = false;
  /** While mounted. */
  #registry: Registry | undefined;
  #notify = () => {};
  #entry: Entry | undefined;
  #undo: Unsubscribe[] = [];
  /** What is seen without a client. */
  #own: SSESnapshot = IDLE;
  #seen: SSESnapshot = IDLE;
  readonly #listeners = new Set<{ type: string; handler: Handler; undo?: Unsubscribe | undefined }>();

  /** Holds the client for `key` until the answer is called. */
  mount(registry: Registry, key: string, enabled: boolean, notify: () => void): Unsubscribe {
    if (key !== this.#key) this.#own = IDLE;
    this.#key = key;
    // `connect()` and `disconnect()` win until the option changes.
    if (enabled !== this.#enabled) this.#enabled = this.#wanted = enabled;
    this.#registry = registry;
    this.#notify = notify;
    if (this.#wanted) this.#take();
    return () => {
      this.#let(false);
      this.#registry = undefined;
    };
  }

  snapshot(key: string): SSESnapshot {
    const now = key !== this.#key ? IDLE : (this.#entry?.client.getSnapshot() ?? this.#own);
    const seen = this.#seen;
    if (
      this.#watchesEvents ||
      now.status !== seen.status ||
      now.error !== seen.error ||
      now.reconnectAttempts !== seen.reconnectAttempts
    ) {
      this.#seen = now;
    }
    return this.#seen;
  }

  /** Marks that events are looked at. The first look may be after the render, and sees what is now. */
  look(rendered: SSESnapshot): SSESnapshot {
    const first = !this.#watchesEvents;
    this.#watchesEvents = true;
    return (first && rendered !== IDLE && this.#entry?.client.getSnapshot()) || rendered;
  }

  connect = (): void => {
    this.#wanted = true;
    if (this.#entry) this.#entry.client.connect();
    else this.#take();
  };

  disconnect = (): void => {
    this.#wanted = false;
    this.#let(true);
    this.#own = { ...this.#own, status: "closed", error: null, reconnectAttempts: 0 };
    this.#notify();
  };

  addEventListener = (type: string, handler: Handler): Unsubscribe => {
    const listener = { type, handler, undo: this.#entry?.client.addEventListener(type, handler as never) };
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      listener.undo?.();
    };
  };

  /** What changed between renders reaches the client without a new connection. */
  update(): void {
    if (this.#entry) Object.assign(this.#entry.options, this.options);
  }

  #take(): void {
    if (!this.#registry || this.#entry) return;
    const place = this.#own.lastEventId;
    this.#entry = acquire(this.#registry, this.#key, { ...this.options, ...(place && { lastEventId: place }) });
    const { client } = this.#entry;
    this.#undo = [
      client.subscribe(this.#notify),
      client.onEvent(({ event, data, cursor }) => {
        if (event !== "connected" && event[0] !== "$") return;
        const { resume = event.slice(1), reason } = Object(data);
        const { onGap, onReset } = this.callbacks;
        (resume === "gap" ? onGap : resume === "reset" ? onReset : undefined)?.({ reason, cursor });
      }),
    ];
    for (const listener of this.#listeners)
      listener.undo = client.addEventListener(listener.type, listener.handler as never);
    // Others kept it open meanwhile: what came has passed this component by.
    const passed = place && place !== client.lastEventId;
    client.connect();
    this.#notify();
    if (passed) this.callbacks.onGap?.({ reason: "released", cursor: client.lastEventId });
  }

  #let(atOnce: boolean): void {
    if (!this.#entry || !this.#registry) return;
    this.#own = this.#entry.client.getSnapshot();
    for (const undo of [...this.#undo, ...[...this.#listeners].map(({ undo }) => undo)]) undo?.();
    release(this.#registry, this.#key, this.#entry, atOnce);
    this.#entry = undefined;
  }
}
