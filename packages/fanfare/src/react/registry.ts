// Owns: which client serves which components. One client for each key, however many hold it; it closes when nobody does.

import { SSEClient } from "../client/client.js";
import type { SSEClientOptions } from "../client/options.js";

/** A client and who holds it. */
export interface Entry {
  readonly client: SSEClient;
  /** The client's own: functions in it are the newest ones of any component. */
  readonly options: SSEClientOptions;
  holds: number;
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

/** The client for `key`, made with `options` if there is none, and connected. */
export function acquire(registry: Registry, key: string, options: SSEClientOptions): Entry {
  let entry = registry.get(key);
  if (!entry) {
    const own = { ...options };
    entry = { client: new SSEClient(own), options: own, holds: 0 };
    registry.set(key, entry);
  }
  entry.holds++;
  return entry;
}

/** One holder less. Without any the client ends: after a while, or at once. */
export function release(registry: Registry, key: string, entry: Entry, atOnce: boolean): void {
  const end = () => {
    if (entry.holds || registry.get(key) !== entry) return;
    registry.delete(key);
    entry.client.disconnect();
  };
  entry.holds--;
  if (atOnce) end();
  else setTimeout(end, LINGER);
}
