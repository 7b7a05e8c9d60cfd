// Owns: what the hooks take and give. Without React's own types, so that everybody can name them.

import type { SSEError } from "../client/error.js";
import type { SSEClientOptions, SSEStatus, Unsubscribe } from "../client/options.js";
import type { DataOf, EventName, ReceivedEvent } from "../types.js";

/** Options of `useSSE`: those of the client, and whether to connect at all. */
export interface SSEHookOptions extends Omit<SSEClientOptions, "onOpen" | "onError" | "onComment"> {
  /** False: no connection until it is true, or `connect()` is called. Default true. */
  enabled?: boolean | undefined;
}

/** What `useSSE` gives. `connect`, `disconnect` and `addEventListener` are the same functions in every render. */
export interface SSEHookResult<E extends object = {}> {
  /** A stream is open. */
  isConnected: boolean;
  /** It connects, or waits to try again. */
  isConnecting: boolean;
  /** The newest event of the application; of several that came together the last one. For every one: `addEventListener`. */
  lastEvent: ReceivedEvent<DataOf<E, string>> | null;
  /** Why the last connection failed, in words; null while one is open. */
  error: string | null;
  /** Failures in a row. */
  reconnectAttempts: number;
  /** Connects, or takes up a hold that `disconnect` gave up. */
  connect: () => void;
  /** Gives up this component's hold. The connection ends with its last holder. */
  disconnect: () => void;
  /** Calls `handler` for every event of the type, in order; `connected`, `ping` and the other events of the server included. */
  addEventListener: <K extends EventName<E>>(
    eventType: K,
    handler: (event: ReceivedEvent<DataOf<E, K>, K>) => void,
  ) => Unsubscribe;
  status: SSEStatus;
  /** Where a new connection would go on. */
  lastEventId: string;
  /** The error itself, with kind, status and body. */
  errorDetail: SSEError | null;
}
