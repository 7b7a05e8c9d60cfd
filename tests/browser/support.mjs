// What all browser tests share: the built server, a real browser, a TCP proxy that fails on purpose.
// Loopback only, no fixed ports. Nothing waits for luck: every wait is for a condition, and has a deadline.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const BINARY = process.env.FANFARE_BIN ?? fileURLToPath(new URL("../../target/debug/fanfare", import.meta.url));
export const BROWSER = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";

/** Longer than the longest planned wait of a browser (6 s until it reconnects), on a busy machine. */
export const DEADLINE = 15_000;

const children = new Set();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Repeats `probe` until it answers something true, and returns that. */
export async function until(what, probe, deadline = DEADLINE) {
  const end = performance.now() + deadline;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (performance.now() > end) assert.fail(`not within ${deadline} ms: ${what}`);
    await sleep(20);
  }
}

/** A server of its own for the test `t`, which ends with it. */
export async function startServer(t, ...args) {
  assert.ok(existsSync(BINARY), `${BINARY} does not exist: build it (cargo build) or set FANFARE_BIN`);
  const server = new Server(args);
  t.after(() => server.kill());
  await server.start();
  return server;
}

class Server {
  #args;
  #child;
  port = 0;

  constructor(args) {
    this.#args = args;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Again on the port it had, if it had one. */
  async start() {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FANFARE_")));
    const child = spawn(BINARY, ["--listen", `127.0.0.1:${this.port}`, ...this.#args], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child = child;
    children.add(child);
    child.once("exit", () => children.delete(child));
    const said = [];
    const address = await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}:\n${said.join("\n")}`)));
      createInterface({ input: child.stderr }).on("line", (line) => {
        said.push(line);
        if (line.startsWith("{")) {
          const { address } = JSON.parse(line);
          if (address) resolve(address);
        }
      });
    });
    this.port = Number(address.split(":").at(-1));
  }

  /** Sends the signal and waits for the end; the answer is the exit code, null after a killing signal. */
  async stop(signal) {
    const ended = once(this.#child, "exit");
    this.#child.kill(signal);
    const [code] = await ended;
    return code;
  }

  async kill() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.stop("SIGKILL");
  }

  /** A request from outside the browser; JSON answers are parsed. */
  async request(method, path, body, headers = {}) {
    const answer = await fetch(`${this.origin}/api/sse${path}`, {
      method,
      headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
      body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  }

  publish(body) {
    return this.request("POST", "/publish", body);
  }

  async clients() {
    return (await this.request("GET", "/clients")).clients;
  }
}

/** A browser with a new profile; every test takes a context of its own from it. */
export function launch(options) {
  return chromium.launch({
    ...options,
    executablePath: BROWSER,
    args: [
      "--no-sandbox", // the tests may run as root
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
}

/** An empty page of the origin, in a context that ends with the test. */
export async function openPage(t, browser, origin, path = "/healthz") {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  await page.goto(origin + path);
  return page;
}

const CONTROL_TYPES = ["connected", "ping", "$gap", "$reset", "$closing"];

/**
 * An `EventSource` in the page under the name `name`, and the record of all it hears:
 * `{type, data, id, state}`, where `data` is missing from what the browser itself tells.
 */
export async function subscribe(page, { name = "main", url = "/api/sse", types = [], init } = {}) {
  await page.evaluate(
    ({ name, url, types, init }) => {
      const source = new EventSource(url, init);
      const log = [];
      for (const type of types) {
        source.addEventListener(type, (event) => {
          const told = { type, state: source.readyState };
          if ("data" in event) Object.assign(told, { data: event.data, id: event.lastEventId });
          log.push(told);
        });
      }
      window.streams ??= {};
      window.streams[name] = { source, log };
    },
    { name, url, init, types: [...new Set(["open", "error", ...CONTROL_TYPES, ...types])] },
  );
  return {
    log: () => page.evaluate((name) => window.streams[name].log, name),
    readyState: () => page.evaluate((name) => window.streams[name].source.readyState, name),
    close: () => page.evaluate((name) => window.streams[name].source.close(), name),
    /** The first entry from index `from` on for which `test` holds, as soon as there is one. */
    async heard(test, from = 0) {
      const what = typeof test === "string" ? test : test.toString();
      const fits = typeof test === "string" ? ({ type }) => type === test : test;
      let log = [];
      try {
        return await until(what, async () => {
          log = await this.log();
          return log.slice(from).find(fits);
        });
      } catch (error) {
        error.message += `\nheard instead: ${JSON.stringify(log.slice(-20)).slice(0, 2_000)}`;
        throw error;
      }
    },
  };
}

/** An HTTP server with an empty page, for an origin that is not the hub's. */
export async function otherOrigin(t) {
  const server = http.createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html>"));
  await listen(t, server);
  return `http://127.0.0.1:${server.address().port}`;
}

/**
 * A TCP proxy before `server`. `serve(client, upstream)` carries the answers;
 * requests go through as they are.
 */
export async function startProxy(t, server, serve) {
  const sockets = new Set();
  const proxy = net.createServer((client) => {
    const upstream = net.connect(server.port, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {}); // failing is what it is for
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    serve(client, upstream);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  await listen(t, proxy);
  return `http://127.0.0.1:${proxy.address().port}`;
}

/**
 * A proxy that, while `cutting`, cuts every connection after its own number of bytes, by FIN or by RST, as long as there is
 * something to lose: the second inside its head, the third inside `connected`, the others anywhere behind. `cuts` tells of
 * each whether it was orderly.
 */
export async function startCuttingProxy(t, server, random) {
  const between = (low, high) => low + Math.floor(random() * (high - low));
  const ranges = [[1, 3_500], [1, 170], [200, 300]];
  const proxy = { origin: "", cutting: false, cuts: [] };
  proxy.origin = await startProxy(t, server, (client, upstream) => {
    let head = "";
    let left;
    upstream.on("data", (bytes) => {
      if (!proxy.cutting) left = undefined;
      else left ??= between(...(ranges[proxy.cuts.length] ?? [600, 3_500]));
      const part = bytes.subarray(0, left);
      if (!head.includes("\r\n\r\n")) head += part.toString("latin1");
      client.write(part);
      if (left === undefined || (left -= bytes.length) > 0) return;
      // Over plain HTTP Chromium takes half a head with an orderly end for a whole one, and gives up for good
      // if the content type was in the other half. No server can help that, and none ends so.
      const orderly = head.includes("\r\n\r\n") && random() < 0.5;
      proxy.cuts.push(orderly);
      upstream.destroy();
      if (orderly) client.end();
      else client.resetAndDestroy();
    });
    upstream.on("end", () => client.end());
  });
  return proxy;
}

async function listen(t, server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections?.();
  });
}

/** Numbers that look random and are the same for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
