// Installs, starts and stops servers. One at a time runs, on the cores of the servers, and writes what it says to a log.

import { execFileSync, spawn } from "node:child_process";
import { createWriteStream, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a server may take to listen, and to end when it is asked to. */
const START = 15_000;
const STOP = 10_000;
const LOOK = 50;

/** Whether a stream can be had: a port may listen before what is behind it works. */
async function streams(url) {
  const controller = new AbortController();
  try {
    const { status } = await fetch(url, { signal: AbortSignal.any([controller.signal, AbortSignal.timeout(1_000)]) });
    return status === 200;
  } catch {
    return false;
  } finally {
    controller.abort();
  }
}

const alive = new Set();

/** The process and all that it started, which may be in groups of their own. */
function family(pid) {
  const children = readdirSync("/proc").filter((name) => {
    try {
      // Behind the name of the program, which may have anything in it: state, parent.
      return /^\d+$/.test(name) && Number(readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1).split(" ")[1]) === pid;
    } catch {
      return false;
    }
  });
  return [pid, ...children.flatMap((child) => family(Number(child)))];
}

function kill(child) {
  if (!child.pid || child.exitCode !== null || child.signalCode !== null) return;
  for (const pid of family(child.pid)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
}

/** Runs a command to its end; returns what it printed. An error has what it complained about. */
export function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, { encoding: "utf8", maxBuffer: 64 << 20, stdio: ["ignore", "pipe", "pipe"], ...options });
  } catch (error) {
    if (error.code === "ENOENT") throw new Error(`${command} is not installed`);
    const said = `${error.stderr ?? ""}`.trim().split("\n").slice(-3).join(" / ");
    throw new Error(`${[command, ...args].join(" ")} failed: ${said || error.message}`);
  }
}

/** The same while servers go on: what they say has to be read. */
export const runBeside = (command, args, timeout) =>
  new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    alive.add(child);
    let [out, complaints, late] = ["", "", false];
    const timer = setTimeout(() => {
      late = true;
      kill(child);
    }, timeout);
    child.stdout.on("data", (chunk) => (out += chunk));
    child.stderr.on("data", (chunk) => (complaints += chunk));
    child.on("error", reject).on("close", (code) => {
      clearTimeout(timer);
      alive.delete(child);
      if (code === 0) return resolve(out);
      const said = late ? `it took longer than ${timeout / 1000} s` : complaints.trim().split("\n").slice(-3).join(" / ");
      reject(new Error(said || `${command} ended with code ${code}`));
    });
  });

export const firstLine = (command, args) => run(command, args).split("\n", 1)[0].trim();

const isInstalled = (name) => {
  try {
    return run("dpkg-query", ["-W", "-f", "${db:Status-Status}", name]) === "installed";
  } catch {
    return false;
  }
};

export const debianVersion = (name) => run("dpkg-query", ["-W", "-f", "${Version}", name]);

/** Installs Debian packages that are missing, none of which shall run as a service of this machine. */
export function debian(names) {
  const missing = names.filter((name) => !isInstalled(name));
  if (!missing.length) return;
  if (!existsSync("/usr/bin/apt-get")) throw new Error(`${missing.join(", ")} missing, and this is not Debian: install by hand`);
  const sudo = process.getuid() === 0 ? [] : ["sudo"];
  const root = (...command) => {
    const [first, ...rest] = [...sudo, ...command];
    return run(first, rest, { env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  };
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) root("sh", "-c", `printf '#!/bin/sh\\nexit 101\\n' >${policy} && chmod 755 ${policy}`);
  try {
    root("apt-get", "update", "-qq");
    root("apt-get", "install", "-y", "-qq", "--no-install-recommends", ...missing);
  } finally {
    if (ours) root("rm", policy);
  }
}

/** A port nobody listens at. */
export const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject).listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const answers = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });

// Whatever ends this program ends the servers too.
process.on("exit", () => alive.forEach(kill));
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));

/**
 * Starts a server and waits until it listens: at `port` (and at `also`), or where its output says it (`address`); and until
 * there is a stream at `ready`, if that is given.
 * Returns its process id, the address, and how to stop it.
 */
export async function spawnServer(context, command, args, { port, also, ready, address }) {
  const pinned = context.pin ? ["taskset", "-c", context.cores.server, command, ...args] : [command, ...args];
  // Standard input stays open: the floor ends with it.
  const child = spawn(pinned[0], pinned.slice(1), { stdio: ["pipe", "pipe", "pipe"], detached: true });
  const log = createWriteStream(context.log, { flags: "a" });
  let said = "";
  let failure;
  const listen = (chunk) => {
    // What the first lines say matters here; all of it is in the log.
    if (said.length < 65_536) said += chunk;
    log.write(chunk);
  };
  child.stdout.on("data", listen);
  child.stderr.on("data", listen);
  child.on("error", (error) => (failure = error.message));
  child.on("exit", (code, signal) => {
    alive.delete(child);
    failure ??= `it ended with ${signal ?? `code ${code}`}`;
  });
  alive.add(child);

  const stop = async () => {
    if (failure === undefined) child.kill("SIGTERM");
    for (const end = Date.now() + STOP; failure === undefined && Date.now() < end; ) await sleep(LOOK);
    kill(child);
    log.end();
  };

  for (const end = Date.now() + START; Date.now() < end; await sleep(LOOK)) {
    if (failure !== undefined) break;
    const found = address && said.match(address);
    const listens = address ? found : (await answers(port)) && (!also || (await answers(also))) && (!ready || (await streams(ready)));
    if (listens) return { pid: child.pid, address: found?.[1], stop };
  }
  const reason = failure ?? `it did not listen within ${START / 1000} s`;
  await stop();
  const last = said.trim().split("\n").slice(-3).join(" / ");
  throw new Error(`${command} did not start: ${reason}${last ? `: ${last}` : ""} (all of it: ${context.log})`);
}

export const readJson = (file) => JSON.parse(readFileSync(file, "utf8"));
export const writeJson = (file, value) => writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
export const remove = (path) => rmSync(path, { recursive: true, force: true });
