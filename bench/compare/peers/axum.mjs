// axum's `Sse` over tokio's `broadcast`: ../axum-sse.

import { lockedVersion } from "../lib/machine.mjs";
import { freePort, spawnServer } from "../lib/servers.mjs";
import { EVENT } from "../scenarios.mjs";

export default {
  title: "axum `Sse` + tokio `broadcast`",
  variants: {
    default: "as in axum's documentation, keep-alive on; a channel of 16 events",
    tuned: "TCP_NODELAY, a channel of 4,096 events, a listen backlog of 4,096",
    gzip: "as tuned; tower-http's `CompressionLayer` at its default level, told not to leave event streams alone",
  },
  version: () => `axum ${lockedVersion("axum")}, tokio ${lockedVersion("tokio")}`,
  async start(context, variant) {
    const port = await freePort();
    const server = await spawnServer(context, context.axumSse, [`127.0.0.1:${port}`, variant], { port });
    const base = `http://127.0.0.1:${port}`;
    const body = (text) => ["--publish-header", "content-type: text/plain", "--publish-body", text];
    const all = ["--subscribe-url", `${base}/events`, "--publish-url", `${base}/publish`];
    return {
      ...server,
      all: [...all, ...body("{data}")],
      one: ["--subscribe-url", `${base}/events/u{n}`, "--publish-url", `${base}/publish/u{n}`, ...body("{data}")],
      json: [...all, ...body(EVENT)],
    };
  },
};
