// Pushpin, and behind it the application it asks about each stream: pushpin/origin.mjs, whose cost is not counted.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debian, debianVersion, freePort, spawnServer } from "../lib/servers.mjs";

const LIBRARY = "/usr/lib/pushpin";
const ORIGIN = fileURLToPath(new URL("pushpin/origin.mjs", import.meta.url));

function configuration(directory, ports, { connections, tuned }) {
  const zurl = (name) => `ipc://${directory}/p-zurl-${name}`;
  return `[global]
include=${LIBRARY}/internal.conf
rundir=${directory}
ipc_prefix=p-

[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:${ports.http}
logdir=${directory}
log_level=1
client_buffer_size=8192
client_maxconn=${connections}
condure_bin=condure
zurl_bin=zurl

[proxy]
routesfile=${directory}/routes
zurl_out_specs=${zurl("in")}
zurl_out_stream_specs=${zurl("in-stream")}
zurl_in_specs=${zurl("out")}
sig_key=bench
updates_check=off

[handler]
push_in_spec=ipc://${directory}/p-push
push_in_sub_specs=ipc://${directory}/p-push-sub
command_spec=ipc://${directory}/p-command
push_in_http_addr=127.0.0.1
push_in_http_port=${ports.publish}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
stats_spec=ipc://${directory}/p-stats
message_rate=${tuned ? -1 : 2500}
message_hwm=${tuned ? -1 : 25000}
`;
}

export default {
  title: "Pushpin",
  variants: {
    default: "client_maxconn as many as there will be; message_rate 2,500 and message_hwm 25,000: what is beyond waits, then is dropped",
    tuned: "message_rate and message_hwm -1, which is none: with any, events wait as long as others come within 25 ms of each other",
  },
  install() {
    debian(["pushpin", "zurl", "condure"]);
    if (!existsSync(LIBRARY)) throw new Error(`pushpin is installed, and ${LIBRARY} is not there`);
  },
  version: () => `pushpin ${debianVersion("pushpin")}, condure ${debianVersion("condure")}, zurl ${debianVersion("zurl")}`,
  async start(context, variant) {
    const ports = { http: await freePort(), publish: await freePort(), origin: await freePort() };
    const directory = context.scratch();
    const file = join(directory, "pushpin.conf");
    writeFileSync(file, configuration(directory, ports, { ...context, tuned: variant === "tuned" }));
    writeFileSync(join(directory, "routes"), `* 127.0.0.1:${ports.origin}\n`);
    const origin = await spawnServer(context, process.execPath, [ORIGIN, `${ports.origin}`], { port: ports.origin });
    try {
      const server = await spawnServer(context, "pushpin", ["--config", file, "-m"], {
        port: ports.http,
        also: ports.publish,
        ready: `http://127.0.0.1:${ports.http}/ready`,
      });
      const publish = (channel) => [
        "--subscribe-url", `http://127.0.0.1:${ports.http}/${channel}`,
        "--publish-url", `http://127.0.0.1:${ports.publish}/publish/`,
        "--publish-body",
        `{"items":[{"channel":"${channel}","formats":{"http-stream":{"content":"event: bench\\ndata: {data}\\n\\n"}}}]}`,
      ];
      const stop = async () => {
        await server.stop();
        await origin.stop();
      };
      return { ...server, stop, all: publish("all"), one: publish("u{n}") };
    } catch (error) {
      await origin.stop();
      throw error;
    }
  },
};
