// Owns: the life of a subscription over many connections: its states, when it tries again, what it hands to whom.

import type { DataOf, EventName, ReceivedEvent } from "../types.js";
import { backoff, DELAY_MAX, DELAY_MIN, INTERVAL, STABLE_AFTER, TIMER_MAX } from "./backoff.js";
import { isAtOrBefore } from "./cursor.js";
import { SSEError } from "./error.js";
import { guarded } from "./guarded.js";
import { identityQuery, withIdentity } from "./identity.js";
import {
  IDLE,
  type SSEClientOptions,
  type SSEGap,
  type SSESnapshot,
  type SSEStatus,
  type Tabs,
  type Unsubscribe,
} from "./options.js";
import { readStream } from "./stream.js";

type Listener = (event: never) => void;

/** The key under which listeners of every type are kept: no event has an empty type. */
const ANY = "";
/** Silence that is accepted before the server has announced its heartbeat. */
const IDLE_DEFAULT = 60_000;
/** Added to two heartbeats. */
const IDLE_SLACK = 5_000;
/** What waits to be read after sleep gets this time. */
const GRACE = 3_000;
/** Spread of those who come back to a network at once. */
const ONLINE_SPREAD = 500;
/** Events that may wait in a loop: more than a backlog brings in one go, before the loop has its turn. */
const HIGH_WATER_MARK = 100_000;
const CONNECT_TIMEOUT = 20_000;
/** At most one write to the storage in this time. */
const SAVE_EVERY = 500;

type Returned<T> = T extends (...args: never) => infer R ? R : T;
const call = <T>(value: T, arg?: unknown): Returned<T> =>
  (typeof value === "function" ? value(arg) : value) as Returned<T>;

/**
 * A subscription to an event stream, that reconnects, resumes where it was, and says when it could not.
 *
 * ```ts
 * const client = new SSEClient({ userId: "user123" });
 * client.addEventListener("notification", (event) => console.log(event.data));
 * client.connect();
 * ```
 *
 * Works in browsers, workers and Node. Throws on construction for options that cannot work. A method that is called in a
 * listener acts at once: after `disconnect()` there is no further event; the one at hand still reaches its other listeners.
 */
export class SSEClient<E extends object = {}> {
  readonly #options: SSEClientOptions;
  readonly #query: URLSearchParams;
  /** URL and identity: names the place in the storage, and with the scope the tabs that share. */
  readonly #key: string;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #watchers = new Set<() => void>();
  #snapshot: SSESnapshot = IDLE;
  /** From `connect()` to the end: the listeners on the page. */
  #page: AbortController | undefined;
  /** The attempt under way. Whatever comes from one that was aborted is ignored. */
  #attempting: AbortController | undefined;
  /** The one thing that is to happen next unless something else does, and when by the clock on the wall. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #next: (() => void) | undefined;
  #due = 0;
  #openedAt = Number.POSITIVE_INFINITY;
  #heardAt = 0;
  #offline = false;
  /** What the server wants delays to grow from, and the shortest wait after this connection. */
  #retry = INTERVAL;
  #floor = 0;
  #idle = IDLE_DEFAULT;
  #saving: ReturnType<typeof setTimeout> | undefined;
  /** A `connected` came: ids are Fanfare's cursors. */
  #cursors = false;
  #tabs: Tabs | undefined;

  constructor(options: SSEClientOptions = {}) {
    const { url = "/api/sse" } = options;
    this.#options = options;
    this.#query = identityQuery(options);
    this.#key = `fanfare:${typeof url === "function" ? this.#query : withIdentity(url, this.#query)}`;
    options.share?.check(options);
    for (const name in options) {
      const value = options[name as keyof SSEClientOptions];
      if (typeof value === "number" && !(value >= 0)) throw new RangeError(`${name} is ${value}`);
    }
    let stored: string | null | undefined = options.lastEventId;
    if (!stored) guarded(() => (stored = options.storage?.getItem(this.#key)));
    if (stored) this.#snapshot = { ...IDLE, lastEventId: stored };
  }

  /** Where a new connection would go on; empty before the first id. */
  get lastEventId(): string {
    return this.#snapshot.lastEventId;
  }

  get status(): SSEStatus {
    return this.#snapshot.status;
  }

  /** The present moment; the same object until something changes. */
  getSnapshot(): SSESnapshot<E> {
    return this.#snapshot as never;
  }

  /** Calls `notify` after every change of the snapshot. */
  subscribe(notify: () => void): Unsubscribe {
    // Its own, also if the same function watches twice.
    const watcher = () => notify();
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /**
   * Calls `handler` for every event of the type, in order, at once. Server events named `error`, `open` or `close` are
   * ordinary ones here. What a handler throws is reported and harms nobody.
   */
  addEventListener<K extends EventName<E>>(
    type: K,
    handler: (event: ReceivedEvent<DataOf<E, K>, K>) => void,
    options?: { signal?: AbortSignal | undefined },
  ): Unsubscribe {
    return this.#listen(type, handler as never, options?.signal);
  }

  /** Calls `handler` for every event of any type. */
  onEvent(handler: (event: ReceivedEvent) => void, options?: { signal?: AbortSignal | undefined }): Unsubscribe {
    return this.#listen(ANY, handler as never, options?.signal);
  }

  #listen(type: string, handler: Listener, signal?: AbortSignal | undefined): Unsubscribe {
    let set = this.#listeners.get(type);
    if (!set) this.#listeners.set(type, (set = new Set()));
    const entry: Listener = (event) => handler(event);
    const remove = () => {
      set.delete(entry);
      signal?.removeEventListener("abort", remove);
    };
    if (!signal?.aborted) set.add(entry);
    signal?.addEventListener("abort", remove);
    return remove;
  }

  /**
   * The events of a type, or all, as a loop: `for await (const event of client.events("progress"))`. It ends with
   * the signal, and with `disconnect()` once it has had what came before; it throws the error when the client gives up, or
   * `overflow` when more than `highWaterMark` (default 100,000) events wait; what comes in one go counts. Listening begins with the
   * loop.
   */
  async *events<K extends EventName<E>>(
    type?: K,
    {
      signal,
      highWaterMark = HIGH_WATER_MARK,
    }: { signal?: AbortSignal | undefined; highWaterMark?: number | undefined } = {},
  ): AsyncGenerator<ReceivedEvent<DataOf<E, K>, K>, void, void> {
    type Item = ReceivedEvent<DataOf<E, K>, K>;
    const queue: Item[] = [];
    let wake = () => {};
    const take = (event: Item) => {
      queue.push(event);
      wake();
    };
    const undos = [this.#listen(type ?? ANY, take, signal), this.subscribe(() => wake())];
    signal?.addEventListener("abort", () => wake(), { once: true });
    try {
      while (!signal?.aborted) {
        if (queue.length > highWaterMark) throw new SSEError("overflow", "loop overflow");
        const event = queue.shift();
        if (event) yield event;
        else if (this.status === "closed") {
          if (this.#snapshot.error) throw this.#snapshot.error;
          return;
        } else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      for (const undo of undos) undo();
    }
  }

  /** Connects, unless it is at it. After an end it begins anew, where it was. */
  connect(): void {
    if (this.#page) return;
    const { signal } = (this.#page = new AbortController());
    const leave = () => this.#leave();
    const enter = () => this.#tabs || this.#next || this.#enter();
    const handlers: Record<string, () => void> = {
      // Timers stand still in sleep and come late in hidden tabs: look at the clock.
      visibilitychange: () => Date.now() >= this.#due && this.#next?.(),
      offline: () => {
        this.#offline = true;
      },
      online: () => {
        // The network is another one now: an open connection is most likely dead.
        if (this.#offline && this.#next) this.#wait(DELAY_MIN + Math.random() * ONLINE_SPREAD);
        this.#offline = false;
      },
      // A page that goes has no errors to tell. In the back/forward cache, or frozen, it must hold neither connection nor
      // lock: a frozen one gets nothing more of a stream, not even when it goes on.
      pagehide: leave,
      freeze: leave,
      pageshow: enter,
      resume: enter,
    };
    for (const type in handlers) {
      // Captured, since some are the document's and do not bubble. Not in Node.
      globalThis.addEventListener?.(type, handlers[type] as () => void, { signal, capture: true });
    }
    this.#offline = globalThis.navigator?.onLine === false;
    this.#snapshot = { ...this.#snapshot, reconnectAttempts: 0 };
    this.#enter();
  }

  /** Ends the connection and every attempt; nothing more is handed over. */
  disconnect(): void {
    if (this.#page) this.#finish(null);
  }

  /** Connects: for itself, or as one of the tabs, once it leads them. */
  #enter(): void {
    this.#tabs = this.#options.share?.join(this as never, this.#key, this.#options, {
      attempt: () => this.#attempt(),
      stop: () => this.#stop(),
      set: (patch) => this.#set(patch),
      finish: (error) => this.#finish(error),
      receive: (id, event, text) => {
        // Also before this tab has heard a `connected`.
        this.#cursors = true;
        this.#receive(id, event, text);
      },
    });
    if (this.#tabs) this.#set({ status: "connecting" });
    else this.#attempt();
  }

  #leave(): void {
    this.#stop();
    this.#tabs?.close();
    this.#tabs = undefined;
    this.#save();
  }

  /** Ends whatever is under way, in silence. */
  #stop(): void {
    this.#attempting?.abort();
    this.#attempting = undefined;
    clearTimeout(this.#timer);
    this.#next = undefined;
  }

  #finish(error: SSEError | null): void {
    const end = { status: "closed", error } as const;
    // A verdict of the server holds for every tab, a wish of the application for this one.
    if (error) this.#tabs?.tell({ ...this.#snapshot, ...end });
    this.#page?.abort();
    this.#page = undefined;
    this.#leave();
    this.#set(end);
  }

  #schedule(ms: number, next: () => void): void {
    clearTimeout(this.#timer);
    this.#due = Date.now() + ms;
    this.#next = next;
    this.#timer = setTimeout(next, Math.min(ms, TIMER_MAX));
  }

  #set(patch: Partial<SSESnapshot>): void {
    const { error } = this.#snapshot;
    this.#snapshot = { ...this.#snapshot, ...patch };
    this.#tabs?.tell(this.#snapshot);
    this.#notify();
    if (patch.error && patch.error !== error) guarded(this.#options.onError, patch.error);
  }

  #notify(): void {
    for (const watcher of [...this.#watchers]) guarded(watcher);
  }

  async #attempt(reason?: SSEError): Promise<void> {
    this.#stop();
    const { lastEventId } = this;
    const options = this.#options;
    const { url = "/api/sse", headers, credentials = this.#tabs?.credentials } = options;
    const { signal } = (this.#attempting = new AbortController());
    this.#floor = 0;
    this.#openedAt = Number.POSITIVE_INFINITY;
    this.#schedule(options.connectTimeout ?? CONNECT_TIMEOUT, () =>
      this.#ended(new SSEError("timeout", "no answer", { retryable: true })),
    );
    this.#set({ status: "connecting" });
    if (signal.aborted) return;
    try {
      await readStream(
        {
          ...options,
          url: withIdentity(await call(url), this.#query),
          headers: await call(headers, { attempt: this.#snapshot.reconnectAttempts, lastEventId, reason }),
          body: await call(options.body),
          credentials,
          lastEventId,
          signal,
        },
        {
          onOpen: () => {
            this.#cursors = false;
            this.#heardAt = this.#openedAt = Date.now();
            this.#watch();
            this.#set({ status: "open", error: null });
            guarded(options.onOpen);
          },
          onAlive: () => {
            this.#heardAt = Date.now();
          },
          onRetry: (ms, event) => {
            // The `retry` of `$closing` is for once.
            if (event === "$closing") this.#floor = ms;
            else this.#retry = ms;
          },
          onComment: (text) => guarded(options.onComment, text),
          onBlock: (id, event, text) => this.#receive(id, event, text),
        },
      );
    } catch (cause) {
      if (signal.aborted) return;
      const error = cause instanceof SSEError ? cause : new SSEError("network", `${cause}`, { retryable: true, cause });
      // Once more with fresh headers.
      if (isRefusal(error) && typeof headers === "function" && !isRefusal(reason)) this.#attempt(error);
      else this.#ended(error);
    }
  }

  /** A connection is over: unplanned with an error, as the server planned it without. */
  #ended(error?: SSEError): void {
    const {
      autoReconnect = true,
      reconnectInterval = this.#retry,
      maxReconnectAttempts = Number.POSITIVE_INFINITY,
    } = this.#options;
    this.#settle();
    const { reconnectAttempts } = this.#snapshot;
    if (!autoReconnect || (error && (!error.retryable || reconnectAttempts >= maxReconnectAttempts)))
      return this.#finish(error ?? null);
    const delay = this.#offline ? DELAY_MAX : backoff(reconnectInterval, reconnectAttempts, Math.random());
    // Without a network an attempt proves nothing; a server on this machine may be there all the same.
    if (error && !this.#offline) this.#snapshot = { ...this.#snapshot, reconnectAttempts: reconnectAttempts + 1 };
    this.#wait(Math.max(this.#floor, delay) + (error?.retryAfter ?? 0), error);
  }

  #wait(ms: number, error?: SSEError): void {
    this.#stop();
    this.#schedule(ms, () => this.#attempt(error));
    this.#set({ status: "waiting", error: error ?? null });
  }

  /** A connection that lived long enough ends the count of failures. */
  #settle(): boolean {
    const settled = Date.now() - this.#openedAt >= STABLE_AFTER && this.#snapshot.reconnectAttempts > 0;
    if (settled) this.#snapshot = { ...this.#snapshot, reconnectAttempts: 0 };
    return settled;
  }

  /** Waits for silence. A late timer is no proof of it: what came during sleep gets a moment to be read. */
  #watch(grace = 0): void {
    const limit = this.#options.idleTimeout ?? this.#idle;
    const left = this.#heardAt + limit - Date.now();
    this.#schedule(grace || (this.#snapshot.reconnectAttempts ? Math.min(left, STABLE_AFTER) : left), () => {
      const now = Date.now();
      const attempting = this.#attempting;
      if (this.#settle()) this.#set({});
      if (attempting !== this.#attempting) return;
      // The clock may have been set back.
      this.#heardAt = Math.min(this.#heardAt, now);
      if (now - this.#heardAt < limit) this.#watch();
      else if (now - this.#due > GRACE / 2) this.#watch(GRACE);
      else this.#ended(new SSEError("idle", "nothing came", { retryable: true }));
    });
  }

  /** One block of the stream, from the server or from the leading tab. */
  #receive(id: string, event: string, text: string | undefined): void {
    const { decode = "json", onError, onGap, onReset, storage } = this.#options;
    const before = this.lastEventId;
    const seen = isAtOrBefore(id, before);
    const control = event === "connected" || event === "ping" || event[0] === "$";
    let data: unknown = text;
    this.#tabs?.block(before, id, event, text);
    let failure: unknown;
    try {
      if (text !== undefined)
        data = control || decode === "json" ? JSON.parse(text) : decode === "text" ? text : decode(text, event);
    } catch (cause) {
      // Other servers may use these names for what is no JSON.
      failure = control ? undefined : cause;
    }
    const { resume, heartbeatInterval, reason, reconnect }: Record<string, unknown> = control ? Object(data) : {};
    const verdict = control && (resume ?? event.slice(1));
    if (resume) {
      this.#cursors = true;
      this.#idle = (heartbeatInterval as number) > 0 ? 2 * (heartbeatInterval as number) + IDLE_SLACK : IDLE_DEFAULT;
      if (this.#attempting) this.#watch();
    }
    if (id !== before && (!seen || verdict === "reset")) {
      this.#snapshot = { ...this.#snapshot, lastEventId: id };
      if (storage) this.#saving ??= setTimeout(() => this.#save(), SAVE_EVERY);
    }
    // Without data; or had it.
    if (text === undefined || (!control && seen && this.#cursors && !id.includes("~~"))) return;
    if (failure)
      return guarded(onError ?? console.error, new SSEError("decode", `bad data: ${failure}`, { cause: failure }));
    guarded(verdict === "gap" ? onGap : verdict === "reset" ? onReset : undefined, { reason, cursor: id } as SSEGap);
    if (!this.#page) return;
    const attempting = this.#attempting;
    this.#deliver(id, event, data, control);
    if (event === "$closing" && reason && attempting && !attempting.signal.aborted) {
      const error = new SSEError("closing", `closing: ${reason}`, {
        reason: reason as string,
        retryable: !!reconnect,
      });
      if (reconnect) this.#ended(reason === "capacity" ? error : undefined);
      else this.#finish(error);
    }
  }

  /** After the handlers ran: what is stored was handled. */
  #save(): void {
    if (this.#saving) guarded(() => this.#options.storage?.setItem(this.#key, this.lastEventId));
    clearTimeout(this.#saving);
    this.#saving = undefined;
  }

  #deliver(id: string, type: string, data: unknown, control: boolean): void {
    const [cursor = "", ephemeral, own] = id.split(/~(~?)(.*)/s);
    const event: ReceivedEvent = {
      event: type,
      data,
      cursor,
      ...(ephemeral && { ephemeral: true }),
      ...(own && { id: own }),
    };
    if (!control) this.#snapshot = { ...this.#snapshot, lastEvent: event };
    for (const key of [type, ANY]) {
      const entries = this.#listeners.get(key) ?? new Set();
      for (const entry of [...entries]) if (entries.has(entry)) guarded(entry, event as never);
    }
    this.#notify();
  }
}

/** The server wants to know better who asks. */
const isRefusal = (error?: SSEError): boolean => /40[13]/.test(`${error?.status}`);
