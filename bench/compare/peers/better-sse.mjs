// better-sse in Node's own http server: better-sse/server.mjs.

import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, run, spawnServer } from "../lib/servers.mjs";

const home = (context) => join(context.out, "better-sse");

export default {
  title: "Node + better-sse",
  variants: {
    default: "`channel.broadcast`, as in its documentation",
    tuned: "an event is encoded once for all sessions (`createEventBuffer`, `session.batch`), a listen backlog of 4,096",
  },
  install(context) {
    mkdirSync(home(context), { recursive: true });
    for (const file of ["package.json", "package-lock.json", "server.mjs"]) {
      copyFileSync(new URL(`better-sse/${file}`, import.meta.url), join(home(context), file));
    }
    run("npm", ["ci", "--silent", "--no-audit", "--no-fund"], { cwd: home(context) });
  },
  version(context) {
    const { version } = JSON.parse(readFileSync(join(home(context), "node_modules/better-sse/package.json"), "utf8"));
    return `better-sse ${version}, Node ${process.versions.node}`;
  },
  async start(context, variant) {
    const port = await freePort();
    const server = await spawnServer(context, process.execPath, [join(home(context), "server.mjs"), `${port}`, variant], { port });
    const base = `http://127.0.0.1:${port}`;
    const text = ["--publish-header", "content-type: text/plain", "--publish-body", "{data}"];
    return {
      ...server,
      all: ["--subscribe-url", `${base}/events`, "--publish-url", `${base}/publish`, ...text],
      one: ["--subscribe-url", `${base}/events/u{n}`, "--publish-url", `${base}/publish/u{n}`, ...text],
    };
  },
};
