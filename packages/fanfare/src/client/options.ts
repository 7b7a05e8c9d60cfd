// Owns: what an application says to a client, and what it can see of one.

import type { DataOf, ReceivedEvent } from "../types.js";
import type { SSEError } from "./error.js";
import type { SSEIdentity } from "./identity.js";

/** `idle` before the first `connect()`; `waiting` for the next attempt; `closed` until the next `connect()`. */
export type SSEStatus = "idle" | "connecting" | "open" | "waiting" | "closed";

/** One moment of a client. The same object until something changes. */
export interface SSESnapshot<E extends object = {}> {
  readonly status: SSEStatus;
  /** Why the last connection failed; null while one is open. */
  readonly error: SSEError | null;
  /** Failures in a row; 0 again once a connection was open for 10 s. */
  readonly reconnectAttempts: number;
  /** The newest event of the application. Skips what came together: a snapshot, not a queue. */
  readonly lastEvent: ReceivedEvent<DataOf<E, string>> | null;
  /** Where a new connection would go on. */
  readonly lastEventId: string;
}

/** Events are gone: fetch the state anew. */
export interface SSEGap {
  /** Why, if the server said. */
  reason?: string;
  /** What is fetched from now on is complete up to here. */
  cursor: string;
}

/** What `headers` gets to know. */
export interface SSEAttempt {
  /** Failures in a row before this attempt. */
  attempt: number;
  lastEventId: string;
  /** Why the connection before failed: with the status 401 or 403, a fresh token is needed. */
  reason?: SSEError;
}

type MaybePromise<T> = T | Promise<T>;

// By way of `RequestInit`, which Node has too: nobody needs the DOM's types.
type Headers_ = NonNullable<RequestInit["headers"]>;
type Body_ = NonNullable<RequestInit["body"]>;
type Credentials = NonNullable<RequestInit["credentials"]>;

/** Options of a client; all may be left out. Times are milliseconds. */
export interface SSEClientOptions extends SSEIdentity {
  /** Default `/api/sse`. A function is called for every attempt. */
  url?: string | URL | (() => MaybePromise<string | URL>) | undefined;
  /** A function is called for every attempt, so tokens are fresh; once more after a 401 or 403. */
  headers?: Headers_ | ((attempt: SSEAttempt) => MaybePromise<Headers_>) | undefined;
  /** Default `same-origin`; `include` sends cookies to another origin. */
  credentials?: Credentials | undefined;
  /** Default `GET`, with a body `POST`. */
  method?: string | undefined;
  /** A function is called for every attempt: needed for a stream, which can be read once. */
  body?: Body_ | (() => MaybePromise<Body_>) | undefined;
  /** Stands in for the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Default true. */
  autoReconnect?: boolean | undefined;
  /** What delays grow from: random between 0 and this, doubled by each failure, from 100 to 30,000. Default: what the server says, else 1,000. */
  reconnectInterval?: number | undefined;
  /** Failures in a row before it gives up; default `Infinity`. */
  maxReconnectAttempts?: number | undefined;
  /** For the answer to begin; default 20,000. `Infinity` is no limit, here and for `idleTimeout`. */
  connectTimeout?: number | undefined;
  /** Silence on an open stream. Default: two heartbeats of the server and 5 s; 60,000 while it has announced none. */
  idleTimeout?: number | undefined;
  /** UTF-16 units of one event; default 1,048,576. A larger one ends the connection for good. */
  maxEventSize?: number | undefined;
  /** Where the first connection begins: a cursor, `earliest`, `latest` or `last:N`. Default: from now on. */
  lastEventId?: string | undefined;
  /** Keeps the place over page loads, such as `sessionStorage`; under a key made of URL and identity. `lastEventId` wins. */
  storage?: { getItem(key: string): string | null; setItem(key: string, value: string): void } | undefined;
  /** One connection for all tabs: `acrossTabs()` of `fanfare/tabs`. */
  share?: Share | undefined;
  /** How data is read: default `json`; a function gets the text and the type. */
  decode?: "json" | "text" | ((text: string, event: string) => unknown) | undefined;
  /** A connection is open, this client's or the one it shares. */
  onOpen?: (() => void) | undefined;
  /** The connection failed; `status` tells whether there will be another. Never a server's event of the type `error`. */
  onError?: ((error: SSEError) => void) | undefined;
  /** Events are gone within the history. */
  onGap?: ((gap: SSEGap) => void) | undefined;
  /** The place means nothing to the server any more. */
  onReset?: ((gap: SSEGap) => void) | undefined;
  /** A comment of the server. */
  onComment?: ((text: string) => void) | undefined;
}

/** Takes back a registration. */
export type Unsubscribe = () => void;

/** A way for several clients to use one connection; made by `acrossTabs()` of `fanfare/tabs`. */
export interface Share {
  /** Says whose events are shared; part of what tells one shared connection from another. */
  readonly scope: string;
  /** Throws a `TypeError` for options that cannot be shared. */
  check(options: SSEClientOptions): void;
  /** Takes part; undefined where that is not possible, and each client connects for itself. */
  join(
    client: { getSnapshot(): SSESnapshot },
    key: string,
    options: SSEClientOptions,
    actions: SharedActions,
  ): Tabs | undefined;
}

/** What a shared connection does with a client. */
export interface SharedActions {
  attempt(): void;
  stop(): void;
  set(patch: Partial<SSESnapshot>): void;
  finish(error: SSEError | null): void;
  receive(id: string, event: string, text: string | undefined): void;
}

/** What a client tells those who share its connection. */
export interface Tabs {
  /** For requests, unless the options say otherwise. */
  readonly credentials: Credentials | undefined;
  /** How things are now. */
  tell(snapshot: SSESnapshot): void;
  /** A block came, behind the place `before`. */
  block(before: string, id: string, event: string, text: string | undefined): void;
  close(): void;
}

/** The snapshot of a client that was never connected. */
export const IDLE: SSESnapshot = {
  status: "idle",
  error: null,
  reconnectAttempts: 0,
  lastEvent: null,
  lastEventId: "",
};
