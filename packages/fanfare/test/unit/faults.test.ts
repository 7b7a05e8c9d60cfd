// A server of sockets that fails in every way there is, and the client as it is, with its own clock.

import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { afterEach, expect, test, vi } from "vitest";
import { SSEClient, type SSEClientOptions } from "../../src/index.js";

type Script = (response: ServerResponse, request: IncomingMessage) => void;

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const HEAD = { "content-type": "text/event-stream" };
const event = (n: number) => `id: 1.e.${n.toString(36)}\nevent: n\ndata: ${n}\n\n`;
const hello = (resume = "live", id = "1.e.0") =>
  `id: ${id}\nevent: connected\nretry: 20\ndata: {"clientId":"c","heartbeatInterval":30000,"resume":"${resume}"}\n\n`;

/** A client of a server that plays one script for each request, the last one over and over. */
async function play(scripts: Script[], options: SSEClientOptions = {}) {
  const requests: IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    requests.push(request);
    (scripts[Math.min(requests.length, scripts.length) - 1] as Script)(response, request);
  });
  server.on("connection", (socket) => sockets.add(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/sse`;
  const errors: string[] = [];
  const numbers: number[] = [];
  const client = new SSEClient({ url, reconnectInterval: 20, onError: ({ kind }) => errors.push(kind), ...options });
  client.addEventListener("n", ({ data }) => numbers.push(data as number));
  cleanups.push(() => {
    client.disconnect();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  client.connect();
  return { client, requests, errors, numbers, url };
}

const stay: Script = (response, request) => {
  const last = request.headers["last-event-id"] as string | undefined;
  const from = last ? Number.parseInt(last.split(".")[2] as string, 36) : 0;
  response.writeHead(200, HEAD).write(hello(last ? "resumed" : "live", last) + event(from + 1));
};
const until = (check: () => void) => vi.waitFor(check, { timeout: 8_000, interval: 5 });

test("a cut in the middle of an event: half of it is nothing, and it comes whole behind the reconnect", async () => {
  const { numbers, requests, errors } = await play([
    (response) => {
      response
        .writeHead(200, HEAD)
        .write(`${hello()}${event(1)}id: 1.e.2\nevent: n\ndata: 2`, () => response.destroy());
    },
    stay,
  ]);
  await until(() => expect(numbers).toEqual([1, 2]));
  expect(requests[1]?.headers["last-event-id"]).toBe("1.e.1");
  expect(errors).toEqual(["network"]);
});

test("a proxy's 502 and 503, with Retry-After, pass", async () => {
  const began = Date.now();
  const { numbers, client, errors } = await play([
    (response) => response.writeHead(502).end("<h1>Bad Gateway</h1>"),
    (response) => response.writeHead(503, { "retry-after": "1" }).end(),
    stay,
  ]);
  await until(() => expect(numbers).toEqual([1]));
  expect(Date.now() - began).toBeGreaterThanOrEqual(1_000);
  expect(errors).toEqual(["http", "http"]);
  expect(client.getSnapshot()).toMatchObject({ status: "open", error: null, reconnectAttempts: 2 });
});

test("a server that takes the request and says nothing", async () => {
  const { numbers, errors } = await play([() => {}, stay], { connectTimeout: 200 });
  await until(() => expect(numbers).toEqual([1]));
  expect(errors).toEqual(["timeout"]);
});

test("a connection that dies in silence", async () => {
  const { numbers, requests, errors } = await play(
    [(response) => response.writeHead(200, HEAD).write(hello() + event(1)), stay],
    {
      idleTimeout: 300,
    },
  );
  await until(() => expect(numbers).toEqual([1, 2]));
  expect(requests[1]?.headers["last-event-id"]).toBe("1.e.1");
  expect(errors[0]).toBe("idle");
});

test("slow bytes, one at a time, are no silence", async () => {
  const text = hello() + event(1) + event(2);
  const { numbers, errors } = await play(
    [
      (response) => {
        response.writeHead(200, HEAD);
        response.flushHeaders();
        let at = 0;
        const timer = setInterval(() => (at < text.length ? response.write(text[at++]) : clearInterval(timer)), 4);
        cleanups.push(() => clearInterval(timer));
      },
    ],
    { idleTimeout: 400 },
  );
  await until(() => expect(numbers).toEqual([1, 2]));
  expect(errors).toEqual([]);
});

test("a login page with 200 is the end, and says so", async () => {
  const { client } = await play([(response) => response.writeHead(200, { "content-type": "text/html" }).end("<form>")]);
  await until(() => expect(client.status).toBe("closed"));
  expect(client.getSnapshot().error).toMatchObject({ kind: "content-type", status: 200, body: "<form>" });
});

test.each([
  ["never ends", (response: ServerResponse) => response.write("x".repeat(5_000))],
  ["never begins", (response: ServerResponse) => response.flushHeaders()],
])("a refusal whose body %s is the end all the same", async (_, write) => {
  const { client, requests } = await play([(response) => void write(response.writeHead(404))]);
  await until(() => expect(client.status).toBe("closed"));
  expect(client.getSnapshot().error).toMatchObject({ kind: "http", status: 404 });
  expect(requests).toHaveLength(1);
});

test("a loop gets all of a backlog, however fast it comes", async () => {
  const backlog: Script = (response) => {
    response.writeHead(200, HEAD).write(hello());
    for (let n = 1; n <= 20_000; n++) response.write(event(n));
  };
  const { client } = await play([backlog]);
  const seen: unknown[] = [];
  for await (const { data } of client.events("n")) if (seen.push(data) === 20_000) break;
  expect(seen.at(-1)).toBe(20_000);
});

test("redirects are followed, and each connection begins at the first address", async () => {
  const { numbers, requests } = await play([
    (response) => response.writeHead(307, { location: "/elsewhere" }).end(),
    (response) => response.writeHead(200, HEAD).end(hello() + event(1)),
    (response) => response.writeHead(308, { location: "/elsewhere" }).end(),
    stay,
  ]);
  await until(() => expect(numbers).toEqual([1, 2]));
  expect(requests.map(({ url }) => url)).toEqual(["/api/sse", "/elsewhere", "/api/sse", "/elsewhere"]);
  expect(requests[3]?.headers["last-event-id"]).toBe("1.e.1");
});

test("nobody listens there: it goes on trying", async () => {
  const { client, errors } = await play([stay], { url: "http://127.0.0.1:9/api/sse", maxReconnectAttempts: 2 });
  await until(() => expect(client.status).toBe("closed"));
  expect(errors).toEqual(["network", "network", "network"]);
});

test("204 is the server's stop", async () => {
  const { client, requests } = await play([(response) => response.writeHead(204).end()]);
  await until(() => expect(client.status).toBe("closed"));
  expect(client.getSnapshot().error).toMatchObject({ kind: "http", status: 204 });
  expect(requests).toHaveLength(1);
});

test("a POST sends its body in every attempt, and disconnect() ends the request", async () => {
  const bodies: string[] = [];
  let closed = false;
  const { client, requests } = await play(
    [
      (response, request) => {
        let body = "";
        request.on("data", (chunk) => (body += chunk));
        request.on("end", () => {
          bodies.push(body);
          response.writeHead(200, HEAD).write(hello());
          if (bodies.length === 1) response.end();
          response.on("close", () => (closed = bodies.length === 2));
        });
      },
    ],
    { body: () => JSON.stringify({ n: bodies.length }), headers: { "content-type": "application/json" } },
  );
  await until(() => expect(client.status === "open" && bodies).toEqual(['{"n":0}', '{"n":1}']));
  expect(requests.map(({ method }) => method)).toEqual(["POST", "POST"]);
  client.disconnect();
  await until(() => expect(closed).toBe(true));
});
