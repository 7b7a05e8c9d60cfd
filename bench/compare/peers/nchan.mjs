// nginx with Debian's nchan module, and a configuration of its own: nothing of /etc/nginx is read but the module.

import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { debian, debianVersion, freePort, spawnServer } from "../lib/servers.mjs";

const MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so";

function configuration(directory, port, { connections, descriptors, tuned }) {
  return `load_module ${MODULE};
${process.getuid() === 0 ? "user root;" : ""}
daemon off;
pid ${directory}/nginx.pid;
error_log stderr warn;
worker_processes 1;
# For so many streams at all.
worker_rlimit_nofile ${descriptors};
events { worker_connections ${Math.ceil(connections * 1.1)}; ${tuned ? "multi_accept on;" : ""} }
http {
  access_log ${tuned ? "off" : `${directory}/access.log`};
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((what) => `${what}_temp_path ${directory}/${what};`).join("\n  ")}
  ${tuned ? "keepalive_requests 1000000; nchan_shared_memory_size 512M;" : ""}
  server {
    listen 127.0.0.1:${port}${tuned ? " backlog=4096" : ""};
    location ~ ^/sub/(\\w+)$ {
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
      ${tuned ? "" : "# "}nchan_message_buffer_length 10000;
    }
    location ~ ^/pub/(\\w+)$ {
      nchan_publisher;
      nchan_channel_id $1;
      ${tuned ? "" : "# "}nchan_message_buffer_length 10000;
    }
  }
}
`;
}

export default {
  title: "nginx + nchan",
  variants: {
    default: "one worker; worker_connections and worker_rlimit_nofile raised for so many streams",
    tuned: "also access_log off, multi_accept on, keepalive_requests 1,000,000, a listen backlog of 4,096, nchan_shared_memory_size 512M, nchan_message_buffer_length 10,000",
  },
  install() {
    debian(["nginx", "libnginx-mod-nchan"]);
    if (!existsSync(MODULE)) throw new Error(`libnginx-mod-nchan is installed, and ${MODULE} is not there`);
  },
  version: () => `nginx ${debianVersion("nginx")}, nchan ${debianVersion("libnginx-mod-nchan")}`,
  async start(context, variant) {
    const port = await freePort();
    const directory = context.scratch();
    const file = join(directory, "nginx.conf");
    writeFileSync(file, configuration(directory, port, { ...context, tuned: variant === "tuned" }));
    const server = await spawnServer(context, "nginx", ["-p", directory, "-c", file, "-e", "stderr"], { port });
    const base = `http://127.0.0.1:${port}`;
    const text = [
      "--publish-header", "content-type: text/plain",
      "--publish-header", "x-eventsource-event: bench",
      "--publish-body", "{data}",
    ];
    return {
      ...server,
      all: ["--subscribe-url", `${base}/sub/all`, "--publish-url", `${base}/pub/all`, ...text],
      one: ["--subscribe-url", `${base}/sub/u{n}`, "--publish-url", `${base}/pub/u{n}`, ...text],
    };
  },
};
