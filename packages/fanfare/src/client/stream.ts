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
/** Bytes of a refusal that are kept, of its first chunk. */
const BODY_KEPT = 2_048;
/** Milliseconds in which it has to come. */
const BODY_WAIT = 1_000;
/** Bytes of the longest id that is sent; Fanfare's have 512 at most. */
const PLACE_MAX = 4_096;
/** Statuses that may be another next time. */
const RETRYABLE = /^(408|425|429|5..)$/;

/** Reads the stream to its end, and throws: an end is a failure too. */
export async function readStream(request: StreamRequest, handlers: StreamHandlers): Promise<never> {
  const { lastEventId, body, signal, maxEventSize = MAX_EVENT_SIZE } = request;
  const headers = new Headers(request.headers);
  headers.set("accept", "text/event-stream");
  // A header takes bytes: one character for each byte of UTF-8. Too long a one would make the server refuse the request.
  const place = new TextEncoder().encode(lastEventId);
  if (lastEventId && place.length <= PLACE_MAX) headers.set("last-event-id", String.fromCharCode(...place));
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
  if (status !== 200 || !reader || !/^\s*text\/event-stream\s*(;|$)/i.test(type)) {
    // What does not come soon is not waited for: the status is what counts.
    const soon = new Promise<undefined>((resolve) => setTimeout(resolve, BODY_WAIT));
    const first = await Promise.race([reader?.read(), soon]).catch(() => undefined);
    const start = new TextDecoder().decode(first?.value?.subarray(0, BODY_KEPT));
    cancel();
    const wrongType = status === 200;
    throw new SSEError(wrongType ? "content-type" : "http", wrongType ? `content-type ${type}` : `status ${status}`, {
      status,
      body: start,
      retryable: RETRYABLE.test(`${status}`),
      retryAfter: retryAfter(response.headers.get("retry-after"), Date.now()),
    });
  }
  signal.throwIfAborted();
  handlers.onOpen();
  const feed = createParser(handlers, lastEventId, maxEventSize, signal);
  for (;;) {
    // Not `for await`: bodies are not iterable in every browser.
    const { done, value } = await reader.read();
    if (done) throw new SSEError("network", "stream ended", { retryable: true });
    handlers.onAlive();
    if (!feed(value)) throw new SSEError("too-large", `an event is larger than ${maxEventSize}`);
  }
}
