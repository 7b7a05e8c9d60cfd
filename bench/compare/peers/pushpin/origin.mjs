// What Pushpin asks about each stream: hold it open, on the channel that is its path.

import { createServer } from "node:http";

const server = createServer((request, response) => {
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "grip-hold": "stream",
    "grip-channel": request.url.slice(1),
  });
  response.end("event: connected\ndata: {}\n\n");
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
