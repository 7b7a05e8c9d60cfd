// Owns: a back end's handle on a hub, under the names of the seed.

import { guarded } from "../client/guarded.js";
import { identityQuery } from "../client/identity.js";
import type { SSEFilter, SSEStats } from "../types.js";
import { ClosedError, FanfareError, invalid, UnavailableError } from "./errors.js";
import type { OutgoingEvent, PublishedEvent } from "./event.js";
import { Hub, type HubOptions, type HubRequest } from "./hub.js";
import { Outbox, type SSEReceipt } from "./outbox.js";
import { Sending } from "./sending.js";

/** Options of a manager. Times are milliseconds. */
export interface SSEManagerOptions extends HubOptions {
  /** A setting of the hub, as are the next two: statistics tell its own, and a differing value here is warned of once. */
  pingInterval?: number | undefined;
  clientTimeout?: number | undefined;
  maxClients?: number | undefined;
  /** Warnings of retries and differing settings, on the console. Default true. */
  enableLogging?: boolean | undefined;
  /** Events that may wait to be sent; default 10,000. Beyond, sends reject with `QueueFullError`. */
  maxQueue?: number | undefined;
  /** Gets what a send rejects with if nobody awaits it. Default: `console.error`. */
  onError?: ((error: unknown) => void) | undefined;
  /** Keeps a serverless function alive until what it sent was answered, such as Next.js's `after` or Vercel's `waitUntil`. */
  waitUntil?: ((promise: Promise<unknown>) => void) | undefined;
}

/** Options of `publish`. */
export interface PublishOptions {
  /** Repeating a publish under the same key gives the first answer. Default: a random one, for this call's own retries. */
  idempotencyKey?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Who a connection is for. */
export interface ConnectionOptions {
  userId?: string | undefined;
  sessionId?: string | undefined;
  metadata?: Record<string, string> | undefined;
  topics?: string[] | undefined;
  /** Pass on the request's `Last-Event-ID` header, or the stream cannot resume. */
  lastEventId?: string | null | undefined;
  /** Pass on the request's signal, so that the stream ends with it. */
  signal?: AbortSignal | undefined;
}

const MAX_QUEUE = 10_000;
/** Bytes of JSON of one event's data; the hub's limit. */
const DATA_MAX = 256 * 1024;
/** What a browser waits when the hub cannot be reached, in milliseconds; twice that at most. */
const COME_BACK = 2_000;
const SETTINGS = ["pingInterval", "clientTimeout", "maxClients"] as const;

/**
 * A handle on a Fanfare hub: sends events, in the order of the calls, and passes streams through to browsers.
 *
 * ```ts
 * const manager = new SSEManager({ url: "http://127.0.0.1:4000", token: process.env.FANFARE_TOKEN });
 * await manager.sendToUser("user123", { event: "notification", data: { title: "Welcome!" } });
 * ```
 *
 * Sends return promises that need not be awaited: a rejection that nobody looks at goes to `onError`. They are repeated
 * until the deadline, under an idempotency key, so nothing is published twice.
 */
export class SSEManager {
  readonly #options: SSEManagerOptions;
  readonly #hub: Hub;
  readonly #outbox: Outbox;
  /** The streams that this handle opened, by what ends them. */
  readonly #streams = new Set<AbortController>();
  #destroyed = false;
  #compared = false;
  readonly #warned = new Set<string>();

  constructor(options: SSEManagerOptions = {}) {
    this.#options = options;
    this.#hub = new Hub(options);
    this.#outbox = new Outbox(this.#hub, options.maxQueue ?? MAX_QUEUE, (error) =>
      this.#warn(`trying again: ${error}`),
    );
  }

  /** Address of the hub's API. */
  get url(): string {
    return this.#hub.url;
  }

  /**
   * Publishes one event, or several that are published together or not at all: at most 1,000, and 1 MiB. Rejects with
   * `InvalidError`, `ConflictError`, `UnauthorizedError`, `UnavailableError`, `QueueFullError` or `ClosedError`.
   */
  publish(event: PublishedEvent, options?: PublishOptions): Promise<SSEReceipt>;
  publish(events: PublishedEvent[], options?: PublishOptions): Promise<SSEReceipt[]>;
  publish(events: PublishedEvent | PublishedEvent[], options: PublishOptions = {}): Promise<SSEReceipt | SSEReceipt[]> {
    const list = [events].flat() as PublishedEvent[];
    const { idempotencyKey: key, signal } = options;
    const alone = key !== undefined || signal !== undefined || list.some((event) => event?.expectLastId !== undefined);
    return this.#sending(async () => {
      const encoded = list.map((event, index) => encode(event, Array.isArray(events) ? `/${index}` : ""));
      const receipts = encoded.length ? await this.#outbox.send(encoded, { alone, key, signal }) : [];
      this.#compareOnce();
      return Array.isArray(events) ? receipts : (receipts[0] as SSEReceipt);
    });
  }

  /** To every connection; the number of those. */
  broadcast(event: OutgoingEvent): Promise<number> {
    return this.count(() => event);
  }

  /** To one connection; false if it is not there. */
  sendToClient(clientId: string, event: OutgoingEvent): Promise<boolean> {
    return this.#sending(async () => (await this.#one({ ...event, to: { clientId } })).clients > 0);
  }

  /** To the connections that match all of the filter; the number of those. */
  sendToClients(filter: SSEFilter, event: OutgoingEvent): Promise<number> {
    return this.count(() => ({ ...event, to: { filter } }));
  }

  /** To all connections of a user; the number of those. */
  sendToUser(userId: string, event: OutgoingEvent): Promise<number> {
    return this.count(() => ({ ...event, to: { userId } }));
  }

  /** Ends a connection, which is told not to come back; false if it is not there. */
  disconnectClient(clientId: string): Promise<boolean> {
    return this.#sending(async () => {
      const { status } = await this.#request(
        { method: "DELETE", path: `/clients/${segment("clientId", clientId)}` },
        [404],
      );
      return status === 204;
    });
  }

  /** Ends all connections of a user; the number of those. */
  disconnectUser(userId: string): Promise<number> {
    return this.#sending(async () => {
      const path = `/users/${segment("userId", userId)}`;
      const answer = await this.#request({ method: "DELETE", path });
      return this.#hub.parse<{ disconnected: number }>(answer, (value) => typeof value.disconnected === "number")
        .disconnected;
    });
  }

  /** Statistics of the hub. A signal ends the attempts before the deadline. */
  getStats({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<SSEStats> {
    return this.#sending(async () => {
      const answer = await this.#request({ path: "/stats", signal });
      const stats = this.#hub.parse<SSEStats>(answer, (value) => typeof value.totalClients === "number");
      this.#compare(stats);
      return stats;
    });
  }

  /**
   * The present place in the history: read it, load the state, then subscribe with it as `lastEventId`, and nothing is
   * missed. A page that is not to wait for a hub that is away gives a signal, such as `AbortSignal.timeout(1_000)`; it
   * rejects with the signal's reason.
   */
  getCursor({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<string> {
    return this.#sending(async () => {
      const answer = await this.#request({ path: "/cursor", signal });
      return this.#hub.parse<{ id: string }>(answer, (value) => typeof value.id === "string").id;
    });
  }

  /**
   * A stream for a browser, to be returned by a route that takes a `Request` and gives a `Response`: the hub's own bytes as
   * they come. If the hub cannot be reached, it is a stream that tells the browser to come back soon, since `EventSource`
   * gives up for good on any status but 200. Rejects for an identity that is not allowed.
   *
   * ```ts
   * export const GET = (request: Request) =>
   *   manager.createConnection({
   *     userId: "user123",
   *     lastEventId: request.headers.get("last-event-id"),
   *     signal: request.signal,
   *   });
   * ```
   */
  createConnection(options: ConnectionOptions = {}): Promise<Response> {
    return this.#sending(async () => {
      const { lastEventId, signal } = options;
      const query = identityQuery(options);
      if (this.#destroyed) throw new ClosedError("the manager was destroyed");
      signal?.throwIfAborted();
      // Its own: a signal that is made of one that lives as long as the process would stay with it.
      const end = new AbortController();
      const leave = () => {
        forget();
        end.abort(signal?.reason);
      };
      const forget = () => {
        this.#streams.delete(end);
        signal?.removeEventListener("abort", leave);
      };
      signal?.addEventListener("abort", leave);
      this.#streams.add(end);
      try {
        const response = await this.#hub.open({
          path: query.size ? `?${query}` : "",
          headers: { accept: "text/event-stream", ...(lastEventId && { "last-event-id": lastEventId }) },
          signal: end.signal,
        });
        this.#compareOnce();
        if (response.body && response.status === 200) return streamResponse(passThrough(response.body, forget));
        forget();
        return response; // 204 is a server's stop.
      } catch (error) {
        forget();
        if (end.signal.aborted || (error instanceof FanfareError && !(error instanceof UnavailableError))) throw error;
        this.#report(error);
        const retry = Math.round(COME_BACK * (1 + Math.random()));
        return streamResponse(`event: $closing\nretry: ${retry}\ndata: {"reason":"shutdown","reconnect":true}\n\n`);
      }
    });
  }

  /** Waits until all that was sent before this call was answered; never rejects. */
  flush(): Promise<void> {
    return this.#outbox.flush();
  }

  /** Sends what waits, ends the streams this handle opened, and sends and opens nothing more. The hub goes on. */
  async destroy(): Promise<void> {
    await this.#outbox.close();
    this.#destroyed = true;
    for (const stream of this.#streams) stream.abort(new ClosedError("the manager was destroyed"));
  }

  /**
   * Publishes what `build` makes; the number of connections it was for. What it throws is a rejection.
   *
   * @internal
   */
  count(build: () => PublishedEvent): Promise<number> {
    return this.#sending(async () => (await this.#one(build())).clients);
  }

  async #one(event: PublishedEvent): Promise<SSEReceipt> {
    const [receipt] = await this.#outbox.send([encode(event, "")], { alone: event?.expectLastId !== undefined });
    this.#compareOnce();
    return receipt as SSEReceipt;
  }

  async #request(request: HubRequest, expected: number[] = []): Promise<{ status: number; text: string }> {
    try {
      return await this.#hub.request({ ...request, onRetry: (error) => this.#warn(`trying again: ${error}`) });
    } catch (error) {
      if (error instanceof FanfareError && expected.includes(error.status ?? 0))
        return { status: error.status as number, text: "" };
      throw error;
    }
  }

  #sending<T>(work: () => Promise<T>): Promise<T> {
    const sending = Sending.from(work, (error) => this.#report(error));
    try {
      // Looked at by nobody but the platform, which is not to hear of failures.
      this.#options.waitUntil?.(Promise.prototype.then.call(sending, noop, noop));
    } catch (error) {
      // It is sent all the same; such functions throw outside of a request.
      this.#warn(`waitUntil threw: ${error}`);
    }
    return sending;
  }

  #report(error: unknown): void {
    guarded(this.#options.onError ?? ((failure) => console.error("fanfare:", failure)), error);
  }

  #warn(text: string): void {
    if (this.#options.enableLogging ?? true) console.warn(`fanfare: ${text}`);
  }

  /** Asks for the hub's settings in the background, once, if there is anything to compare. */
  #compareOnce(): void {
    if (this.#compared || !SETTINGS.some((name) => this.#options[name] !== undefined)) return;
    this.#hub.request({ path: "/stats" }).then(({ text }) => this.#compare(JSON.parse(text)), noop);
    this.#compared = true;
  }

  #compare({ settings }: SSEStats): void {
    this.#compared = true;
    for (const name of SETTINGS) {
      const wanted = this.#options[name];
      if (wanted === undefined || settings?.[name] === undefined || settings[name] === wanted || this.#warned.has(name))
        continue;
      this.#warned.add(name);
      this.#warn(`${name} is ${settings[name]} on the hub, not ${wanted}: it is the hub's setting, change it there`);
    }
  }
}

const noop = () => {};

/** An event as the hub reads it. Faults that JSON would hide are found here; the hub finds the others. */
function encode(event: PublishedEvent, pointer: string): string {
  const data = json(`#${pointer}/data`, Object(event).data);
  const bytes = new TextEncoder().encode(data).length;
  if (bytes > DATA_MAX) throw invalid(`#${pointer}/data`, `has ${bytes} bytes, more than ${DATA_MAX}`);
  // Not a second time: it may be large.
  const rest = json(`#${pointer}`, { ...event, data: undefined }).slice(1, -1);
  return `{${rest && `${rest},`}"data":${data}}`;
}

function json(pointer: string, value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    throw invalid(pointer, `is no JSON: ${(cause as Error).message}`);
  }
  if (text === undefined) throw invalid(pointer, value === undefined ? "is missing" : "is no JSON");
  return text;
}

/** A name as a part of a path. */
function segment(name: string, value: string): string {
  try {
    return encodeURIComponent(value);
  } catch {
    throw invalid(`#/path/${name}`, "is no text: half of a character is missing");
  }
}

/** The same bytes, a chunk when it is asked for. However the hub's stream ends, this one ends in order: browsers come back. */
function passThrough(body: ReadableStream<Uint8Array>, onEnd: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
        if (!done) return controller.enqueue(value as Uint8Array);
        onEnd();
        controller.close();
      },
      cancel(cause) {
        onEnd();
        return reader.cancel(cause);
      },
    },
    { highWaterMark: 0 },
  );
}

/** As the hub itself answers, for whatever stands in front of this process too. */
function streamResponse(body: BodyInit | null): Response {
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    },
  });
}
