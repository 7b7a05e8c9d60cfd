// Owns: one attempt, from the request to the end of its stream. Knows nothing of retries, states or listeners.

import { retryAfter } from "./backoff.js";
import { SSEError } from "./error.js";
import { createParser, type ParserHandlers } from "./parser.js";

/** What one request is made of. */
export interface StreamRequest {
  url: string;
  headers?: HeadersInit | undefined;
  method?: string | undefined;
  body?: BodyInit | undefined;
  credentials?: RequestCredentials | undefined;
  fetch?: typeof fetch | undefined;
  lastEventId: string;
  maxEventSize?: number | undefined;
  signal: AbortSignal;
}

/** What happens on the way; nothing once the signal was given. */
export interface StreamHandlers extends ParserHandlers {
  /** The server answered with an event stream. */
  onOpen(): void;
  /** Bytes came, comments included. */
  onAlive(): void;
}

/** UTF-16 units of one event. */
const MAX_EVENT_SIZE = 1 << 20;
/** Bytes of a refusal that are kept. */
const BODY_KEPT = 2_048;
/** Statuses that may be another next time. */
const RETRYABLE = /408|425|429|5../;

/** Reads the stream to its end, and throws: an end is a failure too. */
export async function readStream(request: StreamRequest, handlers: StreamHandlers): Promise<never> {
  const { lastEventId, body, signal, maxEventSize = MAX_EVENT_SIZE } = request;
  const headers = new Headers(request.headers);
  headers.set("accept", "text/event-stream");
  if (lastEventId) {
    try {
      // A header takes bytes: one character for each byte of UTF-8.
      headers.set("last-event-id", String.fromCharCode(...new TextEncoder().encode(lastEventId)));
    } catch {
      // Too long, or of characters that no header can carry. Better no place than no connection.
    }
  }
  const response = await (request.fetch ?? fetch)(request.url, {
    method: request.method ?? (body ? "POST" : "GET"),
    headers,
    body,
    // For bodies that are streams.
    duplex: "half",
    credentials: request.credentials,
    cache: "no-store",
    signal,
  } as RequestInit);
  const { status } = response;
  const reader = response.body?.getReader();
  const type = response.headers.get("content-type") ?? "";
  // What does not heed the signal, as a stand-in for fetch may not, must not keep its connection.
  const cancel = () => void reader?.cancel().catch(() => {});
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  if (status !== 200 || !reader || !/^\s*text\/event-stream\s*(;|$)/i.test(type)) {
    const decoder = new TextDecoder();
    let start = "";
    try {
      while (reader && start.length < BODY_KEPT) {
        const { done, value } = await reader.read();
        if (done) break;
        start += decoder.decode(value, { stream: true });
      }
    } catch {
      // It broke off; the status is what counts.
    }
    cancel();
    const wrongType = status === 200;
    throw new SSEError(
      wrongType ? "content-type" : "http",
      wrongType ? `not an event stream: ${type}` : `status ${status}`,
      {
        status,
        body: start.slice(0, BODY_KEPT),
        retryable: RETRYABLE.test(`${status}`),
        retryAfter: retryAfter(response.headers.get("retry-after"), Date.now()),
      },
    );
  }
  signal.throwIfAborted();
  handlers.onOpen();
  const feed = createParser(handlers, lastEventId, maxEventSize, signal);
  for (;;) {
    // Not `for await`: bodies are not iterable in every browser.
    const { done, value } = await reader.read();
    if (done) throw new SSEError("network", "the stream ended", { retryable: true });
    handlers.onAlive();
    if (!feed(value)) throw new SSEError("too-large", `an event is larger than ${maxEventSize}`);
  }
}
