// A stand-in for `fetch` whose answers a test gives by hand, for tests in which time is moved by hand too.

import { vi } from "vitest";
import { SSEClient, type SSEClientOptions } from "../../src/index.js";

/** One request, waiting for its answer. */
export class Exchange {
  readonly url: string;
  readonly init: RequestInit;
  readonly headers: Headers;
  readonly #answer: (response: Response) => void;
  readonly #fail: (error: unknown) => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(url: string, init: RequestInit, answer: (response: Response) => void, fail: (error: unknown) => void) {
    this.url = url;
    this.init = init;
    this.headers = new Headers(init.headers);
    this.#answer = answer;
    this.#fail = fail;
  }

  get aborted(): boolean {
    return this.init.signal?.aborted ?? false;
  }

  /** Answers with an open stream. */
  async open(headers: Record<string, string> = {}): Promise<this> {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      cancel: () => {
        this.#controller = undefined;
      },
    });
    this.#answer(new Response(body, { headers: { "content-type": "text/event-stream", ...headers } }));
    await settle();
    return this;
  }

  async write(text: string): Promise<this> {
    this.#controller?.enqueue(new TextEncoder().encode(text));
    await settle();
    return this;
  }

  /** Opens it as Fanfare does. */
  async greet(id: string, resume = "live", more: Record<string, unknown> = {}): Promise<this> {
    await this.open();
    const data = { clientId: "c", heartbeatInterval: 30_000, resume, ...more };
    return this.write(`id: ${id}\nevent: connected\nretry: 4000\ndata: ${JSON.stringify(data)}\n\n`);
  }

  async end(): Promise<void> {
    this.#controller?.close();
    await settle();
  }

  async breakOff(): Promise<void> {
    this.#controller?.error(new TypeError("terminated"));
    await settle();
  }

  async refuse(status: number, body = "", headers: Record<string, string> = {}): Promise<void> {
    this.#answer(new Response([204, 205, 304].includes(status) ? null : body, { status, headers }));
    await settle();
  }

  async fail(): Promise<void> {
    this.#fail(new TypeError("fetch failed"));
    await settle();
  }
}

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await vi.advanceTimersByTimeAsync(0);
    for (let j = 0; j < 20; j++) await Promise.resolve();
  }
}

/** A client and the requests it makes. `random` is what chance says. */
export function setUp(options: SSEClientOptions = {}, random = 1) {
  const exchanges: Exchange[] = [];
  vi.spyOn(Math, "random").mockReturnValue(random);
  const fetch = ((url: string, init: RequestInit) =>
    new Promise<Response>((answer, fail) => {
      exchanges.push(new Exchange(url, init, answer, fail));
      init.signal?.addEventListener("abort", () => fail(init.signal?.reason));
    })) as typeof globalThis.fetch;
  const errors: string[] = [];
  const client = new SSEClient({
    url: "http://hub.test/api/sse",
    fetch,
    onError: (error) => errors.push(error.kind),
    ...options,
  });
  const events: [string, unknown][] = [];
  client.onEvent(({ event, data }) => events.push([event, data]));
  return {
    client,
    exchanges,
    errors,
    events,
    /** The newest request. */
    last: () => exchanges.at(-1) as Exchange,
    async connect() {
      client.connect();
      await settle();
      return exchanges.at(-1) as Exchange;
    },
  };
}
