/**
 * A hub for tests, in the memory of the process: what a client or the SDK asks through its `fetch`, it answers as Fanfare
 * would, byte for byte, so the real client is under test.
 *
 * @module
 */

import type { PublishedEvent, SSEReceipt } from "../server/index.js";

/** A connection to a fake hub. */
export interface FakeConnection {
  readonly clientId: string;
  readonly userId: string | undefined;
  readonly sessionId: string | undefined;
  readonly topics: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  /** The request, with all its headers. */
  readonly request: Request;
}

interface Open extends FakeConnection {
  /** Writes, and waits until it was read and handled. */
  write(text: string): Promise<void>;
  /** Ends it; with an error as a broken network would. */
  end(error?: Error): void;
}

interface Kept {
  position: number;
  published: PublishedEvent;
}

/** Base URL at which a fake hub answers; any other does as well. */
export const FAKE_URL = "http://fanfare.test/api/sse";
const HEARTBEAT = 30_000;
const RETRY = 100;

/** A hub in memory. Hand its `fetch` to a client, a provider, or a manager of the SDK. */
export class FakeHub {
  #epoch = 1;
  #position = 0;
  #clients = 0;
  /** Connections below this position are told of a gap. */
  #droppedTo = 0;
  #log: Kept[] = [];
  #open = new Set<Open>();
  #refusal: { status: number; body: string; headers: Record<string, string> } | undefined;
  /** All events that were published, newest last. */
  readonly published: PublishedEvent[] = [];

  /** The connections there are. */
  get connections(): readonly FakeConnection[] {
    return [...this.#open];
  }

  /** The present place, as `GET …/cursor` tells it. */
  get cursor(): string {
    return `1.${this.#epoch.toString(36)}.${this.#position.toString(36)}`;
  }

  /** Publishes; waits until every connection it is for has handled it, and gives their number. */
  async emit(event: string | PublishedEvent, data?: unknown, to?: PublishedEvent["to"]): Promise<number> {
    const published = typeof event === "string" ? { event, data: data ?? null, ...(to && { to }) } : event;
    const [, handled] = this.#publish(published);
    return (await Promise.all(handled)).length;
  }

  /** Breaks every connection, as a network does. They come back, and resume. */
  drop(): void {
    for (const connection of [...this.#open]) connection.end(new TypeError("the connection was dropped"));
  }

  /** Forgets the history: open connections get `$gap`, and who comes back is told of a gap. */
  async gap(reason = "retention"): Promise<void> {
    this.#log = [];
    this.#droppedTo = ++this.#position;
    await this.#tellAll(`id: ${this.cursor}\nevent: $gap\ndata: {"reason":"${reason}"}\n\n`);
  }

  /** Starts anew, without history, as after the loss of everything: who comes back is told of a reset. */
  restart(): void {
    this.#log = [];
    this.#epoch++;
    this.#position = this.#droppedTo = 0;
    this.drop();
  }

  /** Ends every connection as a hub does on purpose; `reconnect` false is for good. */
  async close(reason = "shutdown", reconnect = true): Promise<void> {
    await this.#tellAll(`event: $closing\nretry: ${RETRY}\ndata: ${JSON.stringify({ reason, reconnect })}\n\n`);
    for (const connection of [...this.#open]) connection.end();
  }

  /** Sends a heartbeat. */
  async ping(): Promise<void> {
    await this.#tellAll(this.#ping());
  }

  /** Answers every request so, until it is called without arguments. */
  refuse(status?: number, body = "", headers: Record<string, string> = {}): void {
    this.#refusal = status === undefined ? undefined : { status, body, headers };
  }

  /** To be used in the place of the global one. */
  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input instanceof Request ? input : new URL(input, FAKE_URL), init);
    request.signal.throwIfAborted();
    if (this.#refusal) return new Response(this.#refusal.body, this.#refusal);
    const { pathname, searchParams } = new URL(request.url);
    const path = /\/(publish|cursor|stats|(?:clients|users)\/[^/]+)$/.exec(pathname)?.[1] ?? "";
    if (path === "cursor") return Response.json({ id: this.cursor });
    if (path === "stats") return Response.json(this.#stats());
    if (path === "publish") {
      const body = await request.json();
      const list = [body].flat() as PublishedEvent[];
      const pointer = list.map(faultOf).find((fault) => fault !== undefined);
      if (pointer) return problem(pointer);
      const receipts = list.map((event) => this.#publish(event)[0]);
      return Response.json(Array.isArray(body) ? receipts : receipts[0]);
    }
    const [kind, name = ""] = path.split("/").map(decodeURIComponent);
    if (kind) {
      const ended = [...this.#open].filter(
        (connection) => (kind === "users" ? connection.userId : connection.clientId) === name,
      );
      for (const connection of ended) {
        connection.write(`event: $closing\ndata: {"reason":"disconnected","reconnect":false}\n\n`);
        connection.end();
      }
      if (kind === "users") return Response.json({ disconnected: ended.length });
      return new Response(null, { status: ended.length ? 204 : 404 });
    }
    return this.#connect(request, searchParams);
  };

  #connect(request: Request, query: URLSearchParams): Response {
    const { userId, sessionId, lastEventId, topic: _, ...metadata } = Object.fromEntries(query);
    const place = request.headers.get("last-event-id") ?? lastEventId;
    const [version, epoch, position = ""] = place?.replace(/~.*/, "").split(".") ?? [];
    const from =
      place === "earliest" ? 0 : place && place !== "latest" ? Number.parseInt(position, 36) : this.#position;
    const known = version === "1" && epoch === this.#epoch.toString(36);
    const resume =
      !place || place === "latest"
        ? "live"
        : place === "earliest" || (known && from >= this.#droppedTo)
          ? "resumed"
          : known
            ? "gap"
            : "reset";
    const start = resume === "gap" ? this.#droppedTo : resume === "resumed" ? from : this.#position;
    /** Writers that wait until what they wrote was handled. */
    const writers: (() => void)[] = [];
    const wanted = () => {
      for (const writer of writers.splice(0)) writer();
    };
    let controller: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (it) => {
          controller = it;
        },
        // Asked for more: what was there before was handled.
        pull: () => wanted(),
        cancel: () => void this.#open.delete(connection),
      },
      { highWaterMark: 0 },
    );
    const encoder = new TextEncoder();
    const connection: Open = {
      clientId: `client-${++this.#clients}`,
      userId,
      sessionId,
      topics: query.getAll("topic"),
      metadata,
      request,
      write(text) {
        controller.enqueue(encoder.encode(text));
        return new Promise((resolve) => writers.push(resolve));
      },
      end: (error) => {
        this.#open.delete(connection);
        wanted();
        if (error) controller.error(error);
        else controller.close();
      },
    };
    request.signal.addEventListener("abort", () => this.#open.has(connection) && connection.end(request.signal.reason));
    this.#open.add(connection);
    const { clientId } = connection;
    const hello = { clientId, userId, sessionId, heartbeatInterval: HEARTBEAT, resume };
    const id = resume === "resumed" && known ? place : `1.${this.#epoch.toString(36)}.${start.toString(36)}`;
    const missed = this.#log.filter((kept) => kept.position > start && matches(kept.published.to, connection));
    const caughtUp = resume === "resumed" || resume === "gap" ? this.#ping() : "";
    connection.write(
      `id: ${id}\nevent: connected\nretry: ${RETRY}\ndata: ${JSON.stringify(hello)}\n\n${missed.map((kept) => this.#frame(kept)).join("")}${caughtUp}`,
    );
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  #publish(published: PublishedEvent): [SSEReceipt, Promise<void>[]] {
    this.published.push(published);
    const { ephemeral, id, to } = published;
    const kept = { position: ephemeral ? this.#position : ++this.#position, published };
    if (!ephemeral) this.#log.push(kept);
    const recipients = [...this.#open].filter((connection) => matches(to, connection));
    const handled = recipients.map((connection) => connection.write(this.#frame(kept)));
    const cursor = id ? `${this.cursor}~${id}` : this.cursor;
    return [
      { id: ephemeral ? null : cursor, clients: recipients.length, durability: ephemeral ? "ephemeral" : "memory" },
      handled,
    ];
  }

  #frame({ position, published: { event, data, id, retry, ephemeral } }: Kept): string {
    const cursor = `1.${this.#epoch.toString(36)}.${position.toString(36)}`;
    const own = `${ephemeral ? "~~" : id ? "~" : ""}${id ?? ""}`;
    return `id: ${cursor}${own}\nevent: ${event}\n${retry === undefined ? "" : `retry: ${retry}\n`}data: ${JSON.stringify(data)}\n\n`;
  }

  #ping(): string {
    return `id: ${this.cursor}\nevent: ping\ndata: {"timestamp":${Date.now()}}\n\n`;
  }

  async #tellAll(text: string): Promise<void> {
    await Promise.all([...this.#open].map((connection) => connection.write(text)));
  }

  #stats() {
    const clientsByUser: Record<string, number> = {};
    for (const { userId } of this.#open) if (userId) clientsByUser[userId] = (clientsByUser[userId] ?? 0) + 1;
    return {
      totalClients: this.#open.size,
      clientsByUser,
      averageConnectionDuration: 0,
      totalEventsSent: 0,
      lastEventTime: null,
      clientsByUserTruncated: false,
      settings: { pingInterval: HEARTBEAT, clientTimeout: 2 * HEARTBEAT, maxClients: 1_000, enableLogging: true },
    };
  }
}

/** Where the commonest mistakes are, those that would reach nobody; a real hub knows many more. */
function faultOf({ event, data, to }: PublishedEvent): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the hub refuses them
  if (typeof event !== "string" || !/^[^\u0000-\u001f\u007f$][^\u0000-\u001f\u007f]*$/.test(event)) return "#/event";
  if (data === undefined) return "#/data";
  if (to === undefined) return undefined;
  const [[name, value] = ["", undefined], ...others] = Object.entries(to ?? {});
  if (!name || others.length) return "#/to";
  return value === "" || value === null ? `#/to/${name}` : undefined;
}

function problem(pointer: string): Response {
  const body = {
    type: "urn:fanfare:problem:invalid",
    status: 422,
    detail: `${pointer}: is not allowed`,
    errors: [{ pointer, detail: "is not allowed" }],
  };
  return Response.json(body, { status: 422, headers: { "content-type": "application/problem+json" } });
}

/** Whether an event with that target is for the connection. */
function matches(to: PublishedEvent["to"], { clientId, userId, sessionId, topics, metadata }: FakeConnection): boolean {
  if (!to || "all" in to) return true;
  if ("userId" in to) return to.userId === userId;
  if ("userIds" in to) return !!userId && to.userIds.includes(userId);
  if ("sessionId" in to) return to.sessionId === sessionId;
  if ("clientId" in to) return to.clientId === clientId;
  if ("topic" in to) return topics.includes(to.topic);
  const { filter } = to;
  const pairs = Object.entries(filter.metadata ?? {});
  return (
    (filter.userId === undefined || filter.userId === userId) &&
    (filter.sessionId === undefined || filter.sessionId === sessionId) &&
    pairs.every(([name, value]) => metadata[name] === value)
  );
}
