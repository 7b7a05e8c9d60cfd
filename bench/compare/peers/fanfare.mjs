// Fanfare as it is: the server's defaults, history included.

import { firstLine, freePort, spawnServer } from "../lib/servers.mjs";

export default {
  title: "Fanfare",
  variants: { default: "nothing is set: history in memory, one shard" },
  version: (context) => `${firstLine(context.fanfare, ["--version"]).replace(/^fanfare /, "")}, ${context.commit}`,
  async start(context) {
    const port = await freePort();
    const server = await spawnServer(context, context.fanfare, ["--quiet", "--listen", `127.0.0.1:${port}`], { port });
    // Streams are those of users, and the bodies its own: what `fanfare bench` does without being told.
    const url = ["--url", `http://127.0.0.1:${port}`];
    return { ...server, all: url, one: url };
  },
};
