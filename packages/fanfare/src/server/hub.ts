// Owns: requests to the hub: where it is, who asks, retries until a deadline.

import { backoff, retryAfter, TIMER_MAX } from "../client/backoff.js";
import { errorOf, FanfareError, isTransient, UnavailableError } from "./errors.js";

/** Where the hub is, and how long to try. */
export interface HubOptions {
  /** Default `FANFARE_URL`, else `http://127.0.0.1:4000`. Without a path, the API is at `/api/sse`; else at that path. */
  url?: string | undefined;
  /** Default `FANFARE_TOKEN`; none without. */
  token?: string | undefined;
  /** Stands in for the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Milliseconds for one attempt; default 10,000. */
  timeout?: number | undefined;
  /** Milliseconds from the call in which to try again; default 30,000. Each send gets one attempt at least. */
  deadline?: number | undefined;
}

/** One request. */
export interface HubRequest {
  method?: "GET" | "POST" | "DELETE";
  path: string;
  headers?: Record<string, string>;
  body?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Told of each attempt that failed and is followed by another. */
  onRetry?: ((error: unknown) => void) | undefined;
}

const TIMEOUT = 10_000;
const DEADLINE = 30_000;
/** What delays between attempts grow from, in milliseconds. */
const RETRY_BASE = 200;

const environment = (): Record<string, string | undefined> => globalThis.process?.env ?? {};

/** A hub, by its address. */
export class Hub {
  readonly url: string;
  readonly #token: string | undefined;
  readonly #fetch: typeof fetch;
  readonly #timeout: number;
  readonly #deadline: number;

  constructor(options: HubOptions) {
    const url = options.url || environment()["FANFARE_URL"] || "http://127.0.0.1:4000";
    let base: URL;
    try {
      base = new URL(url);
    } catch {
      throw new TypeError(
        `${JSON.stringify(url)} is not a URL; write http://host:port in FANFARE_URL or the option url`,
      );
    }
    if (base.protocol !== "http:" && base.protocol !== "https:")
      throw new TypeError(`${url}: the hub speaks http and https`);
    this.url = base.origin + (base.pathname === "/" ? "/api/sse" : base.pathname.replace(/\/+$/, ""));
    this.#token = options.token || environment()["FANFARE_TOKEN"];
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
    this.#timeout = positive("timeout", options.timeout ?? TIMEOUT);
    this.#deadline = positive("deadline", options.deadline ?? DEADLINE);
  }

  /** A stream, or 204. Rejects if its head is none, or does not come in time. */
  async open(request: HubRequest): Promise<Response> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new DOMException("no answer in time", "TimeoutError")), this.#timeout);
    try {
      const signal = AbortSignal.any([late.signal, ...(request.signal ? [request.signal] : [])]);
      const response = await this.#attemptOnce({ ...request, signal });
      const type = response.headers.get("content-type") ?? "no content type";
      if (response.status === 204 || (response.status === 200 && /^text\/event-stream\b/i.test(type))) return response;
      const text = await response.text();
      if (!response.ok) throw errorOf(response.status, text);
      throw new UnavailableError(`${this.url} answered ${response.status} with ${type}, no event stream`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The value of an answer, if it is one that `fits`; else it is told that this is no hub. */
  parse<T>({ text }: { text: string }, fits: (value: T) => boolean): T {
    try {
      const value = JSON.parse(text) as T;
      if (fits(value)) return value;
    } catch {
      // No JSON, or not even an object.
    }
    throw new FanfareError(`${this.url} is no hub: it answered ${text.slice(0, 200)}`);
  }

  /** One attempt, whatever its answer. */
  #attemptOnce({ method = "GET", path, headers, body, signal }: HubRequest): Promise<Response> {
    const init: RequestInit = {
      method,
      // A redirect would make a GET of a POST, and would take the token elsewhere.
      redirect: "error",
      headers: { ...(this.#token && { authorization: `Bearer ${this.#token}` }), ...headers },
      cache: "no-store",
    };
    if (body !== undefined) init.body = body;
    if (signal) init.signal = signal;
    return this.#fetch(this.url + path, init);
  }

  /** The text of the answer. What fails in a way that may pass is tried again, until the deadline, which counts from `since`. */
  async request(request: HubRequest, since = Date.now()): Promise<{ status: number; text: string }> {
    const end = since + this.#deadline;
    for (let attempt = 0; ; attempt++) {
      const { status, text, error, wait } = await this.#attempt(request);
      if (!error) return { status, text };
      const delay = wait + backoff(RETRY_BASE, attempt, Math.random());
      if ((status && !isTransient(status)) || Date.now() + delay >= end) throw error;
      request.onRetry?.(error);
      await sleep(delay, request.signal);
    }
  }

  /** One attempt: an answer, or an error with the wait that was asked for. The status is 0 where there was no answer. */
  async #attempt(request: HubRequest): Promise<{ status: number; text: string; error?: Error; wait: number }> {
    try {
      const timeout = AbortSignal.timeout(this.#timeout);
      const signal = request.signal ? AbortSignal.any([timeout, request.signal]) : timeout;
      const response = await this.#attemptOnce({ ...request, signal });
      const { status, ok, headers } = response;
      const text = await response.text();
      const wait = retryAfter(headers.get("retry-after"), Date.now()) ?? 0;
      return ok ? { status, text, wait } : { status, text, error: errorOf(status, text), wait };
    } catch (cause) {
      request.signal?.throwIfAborted();
      const error = new UnavailableError(`the hub at ${this.url} could not be reached: ${reason(cause)}`, { cause });
      return { status: 0, text: "", error, wait: 0 };
    }
  }
}

/** What `fetch` hides in the cause of its error. */
function reason(error: unknown): string {
  const { message, cause } = Object(error);
  return String(cause?.code ?? cause?.message ?? message ?? error);
}

function positive(name: string, value: number): number {
  if (value > 0) return Math.min(value, TIMER_MAX);
  throw new RangeError(`${name} must be a number of milliseconds above 0, not ${value}`);
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
