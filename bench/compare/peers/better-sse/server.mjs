// The peer `better-sse`: one channel for everybody, and the session of each user by name.
//
//   node server.mjs PORT [tuned]

import { createServer } from "node:http";
import { createChannel, createEventBuffer, createSession } from "better-sse";

const [port, variant] = process.argv.slice(2);
const tuned = variant === "tuned";
const everybody = createChannel();
const users = new Map();

/** As the library does it, or encoded once for all sessions. */
const broadcast = tuned
  ? (data) => {
      const buffer = createEventBuffer().push(data, "bench");
      for (const session of everybody.activeSessions) session.batch(buffer);
    }
  : (data) => everybody.broadcast(data, "bench");

async function subscribe(request, response, name) {
  const session = await createSession(request, response);
  if (!name) return everybody.register(session);
  users.set(name, session);
  session.once("disconnected", () => users.delete(name));
}

async function publish(request, response, name) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const data = Buffer.concat(parts).toString();
  if (name) users.get(name)?.push(data, "bench");
  else broadcast(data);
  response.writeHead(204).end();
}

const server = createServer((request, response) => {
  const [, action, name] = request.url.split("/");
  const handle = { events: subscribe, publish }[action];
  if (!handle) return response.writeHead(404).end();
  handle(request, response, name).catch((error) => response.destroy(error));
});
server.listen({ port: Number(port), host: "127.0.0.1", backlog: tuned ? 4096 : undefined });
