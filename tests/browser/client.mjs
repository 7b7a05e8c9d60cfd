// What the tests of the client in TypeScript share: pages that have it, and the record of all it tells.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import { BROWSER, DEADLINE, launch, until } from "./support.mjs";

const CLIENT = process.env.FANFARE_CLIENT ?? new URL("../../packages/fanfare/dist/fanfare.global.js", import.meta.url);
const script = readFileSync(CLIENT, "utf8");

/** A browser with a back/forward cache, as people have it. */
export const launchWithCache = () => launch({ ignoreDefaultArgs: ["--disable-back-forward-cache"] });

/** A context in which every document has the client; ends with the test. */
export async function openContext(t, browser) {
  const context = await browser.newContext();
  t.after(() => context.close());
  return prepared(context);
}

/**
 * A context whose tabs are tabs: of one window, in which only one is seen, and the others can be frozen. Elsewhere the
 * tests' browser takes every page for the one with the focus.
 */
export async function openWindow(t) {
  const profile = mkdtempSync(join(tmpdir(), "fanfare-profile-"));
  const child = spawn(
    BROWSER,
    [
      "--headless=new",
      "--no-sandbox",
      "--remote-debugging-port=0",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      `--user-data-dir=${profile}`,
      "about:blank",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const ended = once(child, "exit");
  let browser;
  t.after(async () => {
    // An orderly end: a killed one leaves processes behind for a moment, that write into the directory.
    const devtools = await browser?.newBrowserCDPSession();
    await devtools?.send("Browser.close").catch(() => {});
    await until("the browser ended", () => child.exitCode !== null, 5_000).catch(() => child.kill("SIGKILL"));
    await ended;
    await until("the profile can be removed", () => rm(profile, { recursive: true, force: true }).then(() => true, () => false));
  });
  const address = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the browser ended with ${code}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      const found = /listening on (ws:\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
  });
  browser = await chromium.connectOverCDP(address, { noDefaults: true });
  return prepared(browser.contexts()[0]);
}

async function prepared(context) {
  // A script for each document is run as a function's body, where `var Fanfare` would stay.
  await context.addInitScript(`${script};globalThis.Fanfare = Fanfare;`);
  await context.addInitScript(recorder);
  return context;
}

/** In the page: `subscribe(name, options)` makes a client and writes down all it tells. */
function recorder() {
  globalThis.streams = {};
  globalThis.subscribe = (name, { share, storage, ...options }) => {
    // What the application keeps over page loads, to compare it with what it was to get.
    const kept = storage ? JSON.parse(sessionStorage.getItem(`kept ${name}`) ?? "[]") : [];
    const log = [];
    const note = (entry) => {
      log.push(entry);
      if (storage) sessionStorage.setItem(`kept ${name}`, JSON.stringify([...kept, ...log]));
    };
    const client = new Fanfare.SSEClient({
      // Back at once, however often: between two attempts is 100 ms, which is the least.
      reconnectInterval: 0,
      ...options,
      share: share === undefined ? undefined : Fanfare.acrossTabs(share),
      storage: storage && sessionStorage,
      onOpen: () => note({ call: "open" }),
      onError: ({ kind, message, reason }) => note({ call: "error", kind, message, reason }),
      onGap: (gap) => note({ call: "gap", ...gap }),
      onReset: (gap) => note({ call: "reset", ...gap }),
    });
    client.onEvent(({ event, ...rest }) => note({ type: event, ...rest }));
    globalThis.streams[name] = { client, log, kept };
    client.connect();
  };
  globalThis.shown = [];
  addEventListener("pageshow", ({ persisted }) => globalThis.shown.push(persisted));
}

/** Nothing but the browser's own complaint that a request failed, or that there is no icon. */
const OWN_COMPLAINT = /Failed to load resource/;

/** A page of the origin, and what it complained of. */
export async function openTab(context, origin, path = "/healthz") {
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  page.complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !OWN_COMPLAINT.test(message.text())) page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  await page.goto(origin + path);
  return page;
}

/**
 * A client in the page under the name `name`, and the record of all it tells: `{type, data, cursor, id}` for events,
 * `{call, ...}` for callbacks. `share` is the scope of `acrossTabs`, `storage: true` the page's `sessionStorage`.
 */
export async function subscribe(page, options = {}, name = "main") {
  await page.evaluate(([name, options]) => globalThis.subscribe(name, options), [name, options]);
  return new Stream(page, name);
}

export class Stream {
  constructor(page, name = "main") {
    this.page = page;
    this.name = name;
  }

  log() {
    return this.page.evaluate((name) => globalThis.streams[name].log, this.name);
  }

  /** The log of earlier documents too. */
  kept() {
    return this.page.evaluate((name) => [...globalThis.streams[name].kept, ...globalThis.streams[name].log], this.name);
  }

  /** What the client says of itself. */
  state() {
    return this.page.evaluate((name) => {
      const { status, error, reconnectAttempts, lastEventId } = globalThis.streams[name].client.getSnapshot();
      return { status, error: error && error.kind, reconnectAttempts, lastEventId };
    }, this.name);
  }

  disconnect() {
    return this.page.evaluate((name) => globalThis.streams[name].client.disconnect(), this.name);
  }

  is(status) {
    return this.until(`it is ${status}`, async () => (await this.state()).status === status);
  }

  /** Open, and greeted: what is published now arrives. */
  connected(times = 1) {
    return this.until(`connected for the ${times}. time`, async () => verdicts(await this.log()).length >= times && (await this.state()).status === "open");
  }

  /** The first entry from index `from` on for which `test` holds, as soon as there is one. */
  heard(test, from = 0) {
    const fits = typeof test === "string" ? ({ type }) => type === test : test;
    return this.until(String(test), async () => (await this.log()).slice(from).find(fits));
  }

  /** The data of the events of the type, once the last is `last`. */
  async all(type, last) {
    await this.heard((entry) => entry.type === type && same(entry.data, last));
    return values(await this.log(), type);
  }

  async until(what, probe, deadline) {
    try {
      return await until(what, probe, deadline);
    } catch (error) {
      const log = await this.log().catch(String);
      error.message += `\n${this.name}: ${JSON.stringify(await this.state().catch(String))}\nheard: ${JSON.stringify(log.slice(-20)).slice(0, 3_000)}`;
      throw error;
    }
  }
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** The data of the events of a type. */
export const values = (log, type) => log.filter((entry) => entry.type === type).map(({ data }) => data);
/** What the server said of the place at each connection. */
export const verdicts = (log) => values(log, "connected").map(({ resume }) => resume);
/** What was said to a callback. */
export const calls = (log, name) => log.filter(({ call }) => call === name);
export const count = (low, high) => Array.from({ length: high - low }, (_, n) => low + n);

/** Without a hole, in order, each once, up to `last`; and from `first` on, or from wherever it began. */
export function assertEach(numbers, last, first = numbers[0]) {
  assert.deepEqual(numbers, count(first, last + 1));
}

/**
 * Publishes `n` 0, 1, 2 and so on until `stop()`, which answers the last number. Each is repeated with the same
 * idempotency key until the server has said that it has it.
 */
export function publishing(t, server, event = (n) => ({ event: "n", data: n })) {
  let running = true;
  let abandoned = false;
  // A test that failed asks for no end.
  t.after(() => {
    running = false;
    abandoned = true;
  });
  let n = 0;
  const done = (async () => {
    for (; running; n++) {
      for (let accepted = false; !accepted && !abandoned; ) {
        try {
          await server.request("POST", "/publish", event(n), { "idempotency-key": `number ${n}` });
          accepted = true;
        } catch (error) {
          // It has no idea of a pace; without a server there is nothing to do but to wait.
          if (error instanceof assert.AssertionError && !/ (429|503) /.test(error.message)) throw error;
        }
        await sleep(3);
      }
    }
  })();
  // Not before it is asked for.
  done.catch(() => {});
  return {
    get published() {
      return n;
    },
    /** Until so many more were published. */
    async more(number) {
      const goal = n + number;
      await Promise.race([until(`${number} more published`, () => n >= goal), done.then(() => assert.fail("it ended"))]);
    },
    async stop() {
      running = false;
      await done;
      return n - 1;
    },
  };
}

/** A directory that ends with the test. */
export function directory(t) {
  const path = mkdtempSync(join(tmpdir(), "fanfare-data-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Waits until the server has exactly so many connections. */
export const connections = (server, number, deadline) =>
  until(`${number} connections`, async () => (await server.clients()).length === number, deadline);
