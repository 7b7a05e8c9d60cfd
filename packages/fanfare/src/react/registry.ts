// Owns: which client serves which components. One client for each key, however many hold it; it closes when nobody does.

import { SSEClient } from "../client/client.js";
import { guarded } from "../client/guarded.js";
import type { SSEClientOptions, SSEGap } from "../client/options.js";

/** Who holds a client, and what it said last. */
export interface Holder {
  options: SSEClientOptions;
}

/** A client and who holds it. */
export interface Entry {
  readonly client: SSEClient;
  readonly holders: Set<Holder>;
  /** What changed between renders reaches the client without a new connection: the newest of any holder counts. */
  update(options: SSEClientOptions): void;
  /** One holder less. Without any the client ends: after a while, or at once. */
  release(holder: Holder, atOnce: boolean): void;
}

/** Clients by key. */
export type Registry = Map<string, Entry>;

/** A client nobody holds lives on for so long, in milliseconds: StrictMode, route changes and Suspense come back at once. */
const LINGER = 100;
const GLOBAL = Symbol.for("fanfare.registry");

/** The registry of this page: the same for ESM and CommonJS, and after a hot reload. */
export function pageRegistry(): Registry {
  const page = globalThis as { [GLOBAL]?: Registry };
  return (page[GLOBAL] ??= new Map());
}

/** The client for `key`, made with `options` if there is none. */
export function acquire(registry: Registry, key: string, options: SSEClientOptions, holder: Holder): Entry {
  const entry = registry.get(key) ?? create(registry, key, options);
  entry.holders.add(holder);
  return entry;
}

function create(registry: Registry, key: string, options: SSEClientOptions): Entry {
  const holders = new Set<Holder>();
  const tell = (name: "onGap" | "onReset") => (gap: SSEGap) => {
    for (const holder of holders) guarded(holder.options[name], gap);
  };
  const callbacks = { onGap: tell("onGap"), onReset: tell("onReset") };
  const own: SSEClientOptions = {};
  const update = (newest: SSEClientOptions) => {
    // What is left out now is gone.
    for (const name of Object.keys(own)) delete own[name as keyof SSEClientOptions];
    Object.assign(own, newest, callbacks);
  };
  update(options);
  const client = new SSEClient(own);
  const end = () => {
    if (holders.size || registry.get(key) !== entry) return;
    registry.delete(key);
    client.disconnect();
  };
  const entry: Entry = {
    client,
    holders,
    update,
    release(holder, atOnce) {
      holders.delete(holder);
      if (atOnce) end();
      else setTimeout(end, LINGER);
    },
  };
  registry.set(key, entry);
  return entry;
}
