// Owns: one component's share in a client: its listeners, what it sees, whether it wants to be connected at all.

import { guarded } from "../client/guarded.js";
import { IDLE, type SSEClientOptions, type SSESnapshot, type Unsubscribe } from "../client/options.js";
import type { ReceivedEvent } from "../types.js";
import { acquire, type Entry, type Holder, type Registry } from "./registry.js";

type Handler = (event: ReceivedEvent<never>) => void;

/** A component's hold on a client. Lives as long as the component, over reconnects and changes of identity. */
export class Hold implements Holder {
  /** What the component said in its last render. */
  options: SSEClientOptions = {};
  /** True once the component looked at an event: only then events render it again. */
  #watchesEvents = false;
  /** The snapshot that was rendered before. */
  #blind: SSESnapshot | undefined;
  #key = "";
  #enabled: boolean | undefined;
  #wanted: boolean | undefined;
  /** Takes up a hold; while mounted. */
  #acquire: ((options: SSEClientOptions) => Entry) | undefined;
  #notify = () => {};
  #entry: Entry | undefined;
  #leave = () => {};
  /** What is seen without a client. */
  #own: SSESnapshot = IDLE;
  #seen: SSESnapshot = IDLE;
  readonly #listeners = new Set<{ type: string; handler: Handler }>();

  /** Holds the client for `key` until the answer is called. */
  mount(registry: Registry, key: string, enabled: boolean, notify: () => void): Unsubscribe {
    if (key !== this.#key) this.#own = IDLE;
    this.#key = key;
    // `connect()` and `disconnect()` win until the option changes.
    if (enabled !== this.#enabled) this.#wanted = this.#enabled === undefined ? (this.#wanted ?? enabled) : enabled;
    this.#enabled = enabled;
    this.#acquire = (options) => acquire(registry, key, options, this);
    this.#notify = notify;
    if (this.#wanted) this.#take();
    else if (this.#own !== IDLE) this.#close();
    return () => {
      this.#let(false);
      this.#acquire = undefined;
    };
  }

  snapshot(key: string): SSESnapshot {
    const now = key !== this.#key ? IDLE : (this.#entry?.client.getSnapshot() ?? this.#own);
    const seen = this.#seen;
    const same =
      now.status === seen.status && now.error === seen.error && now.reconnectAttempts === seen.reconnectAttempts;
    if (this.#watchesEvents || !same) this.#seen = now;
    return this.#seen;
  }

  /** Marks that events are looked at. What was rendered before that may be old: who looks at it later sees what is now. */
  look(rendered: SSESnapshot): SSESnapshot {
    if (!this.#watchesEvents) this.#blind = rendered;
    this.#watchesEvents = true;
    return (rendered === this.#blind && rendered !== IDLE && this.#entry?.client.getSnapshot()) || rendered;
  }

  connect = (): void => {
    this.#wanted = true;
    if (this.#entry) this.#entry.client.connect();
    else this.#take();
  };

  disconnect = (): void => {
    this.#wanted = false;
    this.#let(true);
    this.#close();
    this.#notify();
  };

  addEventListener = (type: string, handler: Handler): Unsubscribe => {
    const listener = { type, handler };
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  update(options: SSEClientOptions): void {
    this.options = options;
    this.#entry?.update(options);
  }

  #close(): void {
    this.#own = { ...this.#own, status: "closed", error: null, reconnectAttempts: 0 };
  }

  #take(): void {
    if (!this.#acquire || this.#entry) return;
    const place = this.#own.lastEventId;
    this.#entry = this.#acquire({ ...this.options, ...(place && { lastEventId: place }) });
    const { client } = this.#entry;
    const unwatch = client.subscribe(this.#notify);
    const unlisten = client.onEvent((event) => {
      // A copy: who comes while it runs has the next event.
      for (const { type, handler } of [...this.#listeners]) if (type === event.event) guarded(handler, event as never);
    });
    this.#leave = () => {
      unwatch();
      unlisten();
    };
    client.connect();
    this.#notify();
    // Others kept it open meanwhile: what came has passed this component by.
    const cursor = client.lastEventId;
    if (place && place !== cursor) this.options.onGap?.({ reason: "released", cursor });
  }

  #let(atOnce: boolean): void {
    if (!this.#entry) return;
    this.#own = this.#entry.client.getSnapshot();
    this.#leave();
    this.#entry.release(this, atOnce);
    this.#entry = undefined;
  }
}
