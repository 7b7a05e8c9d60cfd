// The yardstick: `fanfare bench`'s own server, one bare write for each delivery. It is started here and not by `--floor`,
// so that it takes its turn among the servers instead of running before each of them.

import { spawnServer } from "../lib/servers.mjs";

export default {
  title: "the floor, a bare `write`",
  variants: { default: "a thread that accepts, one for each publisher" },
  version: () => "as in the Fanfare measured",
  async start(context) {
    const server = await spawnServer(context, context.fanfare, ["bench", "--role", "floor"], { address: /^(127\.0\.0\.1:\d+)$/m });
    const base = `http://${server.address}`;
    return {
      ...server,
      all: ["--subscribe-url", `${base}/{n}`, "--publish-url", `${base}/publish`, "--publish-body", "* {data}"],
      one: ["--subscribe-url", `${base}/{n}`, "--publish-url", `${base}/publish`, "--publish-body", "{n} {data}"],
    };
  },
};
