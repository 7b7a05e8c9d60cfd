// The client behind the HTTP interface of LaunchDarkly's sse-contract-tests, with every capability there is:
//   node test/contract/service.mjs [port]      (default 8000; 0 lets the system choose; it says where it listens)
//   sse-contract-tests -url http://localhost:8000
// The package must be built. See https://github.com/launchdarkly/sse-contract-tests/blob/main/docs/service_spec.md

import { createServer } from "node:http";
import { SSEClient } from "../../dist/index.mjs";

const CAPABILITIES = [
  "bom",
  "comments",
  "event-type-listeners",
  "headers",
  "last-event-id",
  "post",
  "read-timeout",
  "report",
  "restart",
  "server-directed-shutdown-request",
];

const streams = new Map();
let count = 0;

/** One client, and the callbacks that tell what it hears: numbered, and one after the other. */
function openStream({ streamUrl, callbackUrl, initialDelayMs, readTimeoutMs, lastEventId, headers, method, body }) {
  let messages = 0;
  let sending = Promise.resolve();
  const tell = (message) => {
    const url = `${callbackUrl}/${++messages}`;
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(message) };
    // A harness that has gone on to its next test listens no more.
    sending = sending.then(() => fetch(url, init).then((answer) => answer.text())).catch(() => {});
  };
  const client = new SSEClient({
    url: streamUrl,
    headers,
    method,
    body,
    lastEventId,
    reconnectInterval: initialDelayMs,
    idleTimeout: readTimeoutMs,
    // Its events are texts, and larger than usual.
    decode: "text",
    maxEventSize: 1 << 26,
    onComment: (comment) => tell({ kind: "comment", comment }),
    onError: (error) => tell({ kind: "error", error: `${error.kind}: ${error.message}` }),
  });
  const listen = (type) =>
    client.addEventListener(type, ({ event, data, cursor, id }) => {
      const lastId = id === undefined ? cursor : `${cursor}~${id}`;
      const text = typeof data === "string" ? data : JSON.stringify(data);
      tell({ kind: "event", event: { type: event, data: text, ...(lastId && { id: lastId }) } });
    });
  const types = new Set(["message"]);
  listen("message");
  client.connect();
  return {
    close: () => client.disconnect(),
    command({ command, listen: wanted }) {
      if (command === "listen" && typeof wanted?.type === "string") {
        if (!types.has(wanted.type)) listen(wanted.type);
        types.add(wanted.type);
      } else if (command === "restart") {
        client.disconnect();
        client.connect();
      } else return false;
      return true;
    },
  };
}

async function answer(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  const { method, url } = request;
  const stream = streams.get(url);
  const json = () => {
    try {
      return Object(JSON.parse(text));
    } catch {
      return {};
    }
  };
  if (url === "/" && method === "GET") return [200, { capabilities: CAPABILITIES }];
  if (url === "/" && method === "DELETE") {
    setImmediate(() => process.exit());
    return [204];
  }
  if (url === "/" && method === "POST") {
    const parameters = json();
    if (!parameters.streamUrl || !parameters.callbackUrl) return [400];
    const location = `/streams/${++count}`;
    streams.set(location, openStream(parameters));
    return [201, undefined, { location }];
  }
  if (!stream) return [404];
  if (method === "POST") return [stream.command(json()) ? 204 : 400];
  if (method !== "DELETE") return [405];
  stream.close();
  streams.delete(url);
  return [204];
}

const server = createServer(async (request, response) => {
  const [status, body, headers] = await answer(request).catch((error) => [400, { error: `${error}` }]);
  response.writeHead(status, { ...(body && { "content-type": "application/json" }), ...headers });
  response.end(body && JSON.stringify(body));
});
server.listen(Number(process.argv[2] ?? 8000), () =>
  console.log(`listening on http://localhost:${server.address().port}`),
);
