// Runs the shell blocks of a page, from top to bottom, in one session of bash, as a reader would: variables stay, and a
// command that goes on by itself (a server, a stream) goes on in a terminal of its own.
//
// Printed is port 4000 and run is a free one: wherever `:4000` stands in a block it is replaced, and put back in what comes
// out. Directories that a page names are replaced by temporary ones in the same way. Loopback only.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { codeBlocks, ROOT } from "./markdown.mjs";

/** The built server. */
export function binary() {
  const file = path.resolve(process.env.FANFARE_BIN ?? path.join(ROOT, "target/debug/fanfare"));
  assert.ok(existsSync(file), `${file} does not exist: build it (cargo build -p fanfare-server) or set FANFARE_BIN`);
  return file;
}

const DEADLINE = 15_000;

/** Commands that do not end by themselves: a server; a stream. */
const SERVER = /^(FANFARE_\w+=\S+ )*fanfare( serve)?( --(?!help|version)|$)/;
const STREAM = /^(curl -N |fanfare subscribe(?!.*--count))/;

/** The blocks of a page that are for a shell or show what one says: `sh` and `text`. */
export function shellBlocks(file) {
  return codeBlocks(file).filter(({ language }) => language === "sh" || language === "text");
}

/** Repeats `probe` until it answers something true, and returns that. */
export async function until(what, probe, deadline = DEADLINE) {
  const end = performance.now() + deadline;
  for (;;) {
    const answer = await probe();
    if (answer) return answer;
    if (performance.now() > end)
      assert.fail(`not within ${deadline} ms: ${typeof what === "function" ? what() : what}`);
    await sleep(20);
  }
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What a page prints, as a pattern: `…` stands for anything. */
function pattern(text) {
  const parts = text
    .trim()
    .split("…")
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(parts.join("[^]*?"));
}

/**
 * Runs them. Each block must end with 0; where a block of `text` follows, it must be found in what the block before it
 * said, or what a stream that goes on says by then. `instead` has whole blocks: what is printed, and what is run.
 */
export async function runBlocks(blocks, { instead = new Map() } = {}) {
  const home = mkdtempSync(path.join(os.tmpdir(), "fanfare-docs-"));
  const port = await freePort();
  const places = [
    ["0.0.0.0:4000", `127.0.0.1:${port}`],
    [":4000", `:${port}`],
  ];
  const placed = (text) => places.reduce((text, [printed, run]) => text.replaceAll(printed, run), text);
  const printed = (text) => places.slice(1).reduce((text, [printed, run]) => text.replaceAll(run, printed), text);

  mkdirSync(path.join(home, "bin"));
  symlinkSync(binary(), path.join(home, "bin/fanfare"));
  // In a terminal curl shows no meter beside what it prints.
  writeFileSync(path.join(home, ".curlrc"), "no-progress-meter\n");
  const clean = Object.entries(process.env).filter(([name]) => !/^(FANFARE_|.*_proxy$)/i.test(name));
  const shell = spawn("bash", ["--norc", "--noprofile"], {
    cwd: home,
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      ...Object.fromEntries(clean),
      HOME: home,
      TMPDIR: home,
      PATH: `${home}/bin:${process.env.PATH}`,
      FANFARE_LISTEN: `127.0.0.1:${port}`,
      FANFARE_URL: `http://127.0.0.1:${port}`,
      FANFARE_DRAIN: "100ms",
    },
  });
  const said = [];
  let code;
  const complaints = [];
  createInterface({ input: shell.stdout }).on("line", (line) => said.push(line));
  shell.stderr.setEncoding("utf8").on("data", (text) => complaints.push(text));
  shell.once("exit", (status) => (code = status ?? "a signal"));
  const heard = (file) => (existsSync(file) ? printed(readFileSync(file, "utf8")) : "");
  const answer = (mark, explain) =>
    until(explain, () => {
      const line = said.find((line) => line.startsWith(`@${mark} `));
      assert.ok(line || code === undefined, `${explain()}\nended with ${code}\n${complaints.join("")}`);
      return line;
    });

  const running = [];
  const alive = async () => (await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined))?.ok;
  /** Puts a command into the background, in a process group of its own; a `wait` of the page is not for it. */
  const background = async (mark, text, name) => {
    const file = path.join(home, `${mark}.out`);
    shell.stdin.write(`{\n${placed(text)}\n} >${file} 2>&1 </dev/null &\nprintf '@%s %s\\n' ${mark} $!\ndisown\n`);
    const pid = Number((await answer(mark, () => name)).split(" ")[1]);
    running.push({ file, pid });
    return { file, pid };
  };
  const stop = async (job) => {
    running.splice(running.indexOf(job), 1);
    process.kill(-job.pid, "SIGTERM");
    await until("the server before this one ends", async () => !(await alive()));
  };
  let server;
  const serve = async (mark, text, name) => {
    if (server) await stop(server);
    server = await background(mark, text, name);
    await until(() => `${name}\nis ready; it said:\n${heard(server.file)}`, alive);
  };

  try {
    shell.stdin.write("set -euo pipefail -m\n");
    // A page that says nothing of a server takes it that one runs.
    await serve("server", "fanfare", "the server");
    let last = server;
    for (const [index, block] of blocks.entries()) {
      const { language, name } = block;
      const text = instead.get(block.text) ?? block.text;
      if (language === "text") {
        const wanted = pattern(text);
        const heardNow = () =>
          [...new Set([last, ...running.filter((job) => job !== server)])].map(({ file }) => heard(file));
        await until(
          () => `${name}\nis said; said was:\n${heardNow().join("\n---\n")}`,
          () => heardNow().some((text) => wanted.test(text)),
        );
      } else if (SERVER.test(text)) {
        await serve(index, text, name);
        last = server;
      } else if (STREAM.test(text)) {
        last = await background(index, text, name);
        await until(`${name}\nhears something`, () => heard(last.file) !== "");
      } else {
        last = { file: path.join(home, `${index}.out`) };
        const { file } = last;
        shell.stdin.write(`{\n${placed(text)}\n} >${file} 2>&1 </dev/null\nprintf '@%s done\\n' ${index}\n`);
        await answer(index, () => `${name}\nsaid:\n${heard(file)}`);
      }
    }
  } finally {
    for (const { pid } of running) {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    shell.kill("SIGKILL");
    rmSync(home, { recursive: true, force: true });
  }
}
