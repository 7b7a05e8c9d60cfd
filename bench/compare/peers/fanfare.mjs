// Fanfare as it is: the server's defaults, history included.

import { firstLine, freePort, spawnServer } from "../lib/servers.mjs";
import { EVENT } from "../scenarios.mjs";

export default {
  title: "Fanfare",
  variants: {
    default: "nothing is set: history in memory, one shard",
    gzip: "as default; streams are asked for with `sse.compression=gzip`",
  },
  version: (context) => `${firstLine(context.fanfare, ["--version"]).replace(/^fanfare /, "")}, ${context.commit}`,
  async start(context) {
    const port = await freePort();
    const server = await spawnServer(context, context.fanfare, ["--quiet", "--listen", `127.0.0.1:${port}`], { port });
    // Streams are those of users, and the bodies its own: what `fanfare bench` does without being told. With `--compressed`
    // it asks for streams in gzip.
    const url = ["--url", `http://127.0.0.1:${port}`];
    return { ...server, all: url, one: url, json: [...url, "--publish-body", `{"event":"bench","data":${EVENT}}`] };
  },
};
