// Starts each server, puts the same loads on it, and keeps the figures in target/compare.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ROOT, commit, cores } from "./lib/machine.mjs";
import { remove, run, runBeside, writeJson } from "./lib/servers.mjs";
import { SUBSCRIBERS, isFor, scenarios } from "./scenarios.mjs";

const PEERS = ["floor", "fanfare", "axum", "nchan", "better-sse", "pushpin"];
const SETTINGS = ["default", "tuned", "gzip"];
/** Descriptors a server needs beside those of its streams. */
const RESERVE = 500;
/** Connections beside the streams, for servers that want to be told how many there will be. */
const SPARE = 200;
/** Milliseconds for one measurement. */
const TIMEOUT = 900_000;
const HERE = cores();

const HELP = `Loads the floor, Fanfare and its peers one after the other, and keeps the figures in target/compare.

Usage: bench/compare/run [OPTIONS]

  --quick                 A small load, to see that everything works. Its figures mean nothing
  --peers NAME,…          Only these: ${PEERS.join(", ")}
  --scenarios NAME,…      Only these: ${Object.keys(scenarios).join(", ")}
  --settings NAME,…       Only these: ${SETTINGS.join(", ")}
  --rounds NUMBER         How often, the median of which is reported [default: 3; with --quick 1]
  --subscribers NUMBER    How many streams [default: ${SUBSCRIBERS.full}; with --quick ${SUBSCRIBERS.quick}]
  --server-cores LIST     Cores of the server that is measured [default here: ${HERE.server}]
  --bench-cores LIST      Cores of the bench [default here: ${HERE.bench}]
  --no-install            Leave out what is not installed
  --bin DIRECTORY         Where \`fanfare\` and \`axum-sse\` are, instead of building them
  --out DIRECTORY         Where the figures go [default: target/compare]
  --help

It installs nginx with nchan and Pushpin from Debian (with sudo, if you are not root) and better-sse from npm. A peer that
cannot be installed, or does not work, is left out, and the reason is in the report.

Exit codes: 0 done; 1 a peer was left out or a measurement failed; 2 the command line is wrong, or nothing can be measured.`;

/** Slow servers are waited for. */
const PATIENCE = ["--timeout", "30s"];

class Wrong extends Error {}

function chosen(text, all, option) {
  if (text === undefined) return all;
  const names = text.split(",");
  const unknown = names.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new Wrong(`${option}: there is no ${JSON.stringify(unknown)}, only ${all.join(", ")}`);
  return all.filter((name) => names.includes(name));
}

function number(text, otherwise, option, most) {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) throw new Wrong(`${option}: from 1 to ${most}, not ${text}`);
  return value;
}

function arguments_() {
  const boolean = { type: "boolean", default: false };
  const string = { type: "string" };
  try {
    return parseArgs({
      options: {
        quick: boolean, peers: string, scenarios: string, settings: string, rounds: string, subscribers: string,
        "server-cores": string, "bench-cores": string, "no-install": boolean, bin: string, out: string, help: boolean,
      },
    }).values;
  } catch (error) {
    throw new Wrong(error.message);
  }
}

function plan() {
  const given = arguments_();
  if (given.help) {
    console.log(HELP);
    process.exit(0);
  }
  const size = given.quick ? "quick" : "full";
  const plan = {
    size,
    peers: chosen(given.peers, PEERS, "--peers"),
    scenarios: chosen(given.scenarios, Object.keys(scenarios), "--scenarios"),
    settings: chosen(given.settings, SETTINGS, "--settings"),
    rounds: number(given.rounds, given.quick ? 1 : 3, "--rounds", 100),
    subscribers: number(given.subscribers, SUBSCRIBERS[size], "--subscribers", 1_000_000),
    cores: { server: given["server-cores"] ?? HERE.server, bench: given["bench-cores"] ?? HERE.bench },
    install: !given["no-install"],
    bin: given.bin && resolve(given.bin),
    out: resolve(given.out ?? join(ROOT, "target/compare")),
  };
  for (const list of Object.values(plan.cores)) {
    if (!/^[0-9]+([-,][0-9]+)*$/.test(list)) throw new Wrong(`cores are a list such as 0 or 1-3, not ${JSON.stringify(list)}`);
  }
  return plan;
}

/** Fanfare and the peer in Rust, built here or given. */
function programs(plan) {
  if (!plan.bin) {
    step("building");
    const built = spawnSync(
      "cargo",
      ["build", "--release", "--locked", "-p", "fanfare-server", "--bin", "fanfare", "-p", "fanfare-bench", "--bin", "axum-sse"],
      { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] },
    );
    if (built.status !== 0) throw new Wrong(built.error?.message ?? "the build failed, see above");
  }
  const directory = plan.bin ?? join(resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target"), "release");
  const program = (name) => {
    const file = join(directory, name);
    if (!existsSync(file)) throw new Wrong(`${file} is not there`);
    return file;
  };
  return { fanfare: program("fanfare"), axumSse: program("axum-sse") };
}

const step = (text) => console.log(`\n== ${text}`);
const loudly = (text) => console.error(`\n${"#".repeat(100)}\n# ${text.split("\n").join("\n# ")}\n${"#".repeat(100)}`);

/** One load on a server that was started for it. Returns what `fanfare bench` said, and the command. */
async function measure(context, plan, peer, variant, name) {
  const scenario = scenarios[name];
  const server = await peer.start(context, variant);
  try {
    const load = [
      "--subscribers", `${plan.subscribers}`, "--target", scenario.target, ...(scenario.load[plan.size] ?? scenario.load.full), ...PATIENCE,
      ...(scenario.gzip ? server.json : server[scenario.target]), ...(variant === "gzip" ? ["--compressed"] : []),
    ];
    const command = [context.fanfare, "bench", ...load, "--pid", `${server.pid}`, "--allow-loss", "--json", "--quiet"];
    const pinned = context.pin ? ["taskset", "-c", plan.cores.bench, ...command] : command;
    const { server: figures, machine, warnings = [] } = JSON.parse(await runBeside(pinned[0], pinned.slice(1), TIMEOUT));
    return { load, figures, machine, warnings };
  } finally {
    await server.stop();
  }
}

async function main() {
  const asked = plan();
  const limit = Number(run("sh", ["-c", "ulimit -n"]).trim().replace("unlimited", "1000000"));
  if (asked.subscribers + RESERVE > limit) {
    throw new Wrong(
      `${asked.subscribers} streams to one server need ${asked.subscribers + RESERVE} descriptors, and a process may have ` +
        `${limit}: raise the limit (ulimit -Hn), or give a smaller --subscribers`,
    );
  }
  const pin = existsSync("/usr/bin/taskset");
  if (!pin) loudly("taskset (util-linux) is missing: servers and bench share all cores, and disturb each other.");
  else if (asked.cores.server === asked.cores.bench) loudly("Server and bench share a core, and disturb each other.");

  const scratches = [];
  const context = {
    ...programs(asked),
    out: asked.out,
    cores: asked.cores,
    pin,
    descriptors: limit,
    connections: asked.subscribers + SPARE,
    commit: commit(),
    log: join(asked.out, "log"),
    /** A directory of its own for a server's files, whose path is short: sockets are in it. */
    scratch: () => scratches[scratches.push(mkdtempSync(join(tmpdir(), "compare-"))) - 1],
  };
  process.on("exit", () => scratches.forEach(remove));
  mkdirSync(asked.out, { recursive: true });
  // Figures of another run are not to be mixed with those of this one.
  for (const file of readdirSync(asked.out)) if (/\.(json|log)$/.test(file)) remove(join(asked.out, file));

  const told = {
    begun: new Date().toISOString(),
    quick: asked.size === "quick",
    command: ["bench/compare/run", ...process.argv.slice(2)].join(" "),
    subscribers: asked.subscribers,
    rounds: asked.rounds,
    scenarios: asked.scenarios,
    cores: pin ? asked.cores : undefined,
    built: !asked.bin,
    descriptors: limit,
    peers: {},
    results: [],
    failures: [],
  };
  const save = () => writeJson(join(asked.out, "run.json"), told);
  const fail = (failure) => {
    told.failures.push(failure);
    const { peer, variant, scenario, round, reason } = failure;
    loudly(`LEFT OUT: ${[peer, variant, scenario, round && `round ${round}`].filter(Boolean).join(", ")}\n${reason}`);
  };

  step("installing");
  const peers = {};
  for (const name of asked.peers) {
    const { default: peer } = await import(`./peers/${name}.mjs`);
    told.peers[name] = { title: peer.title, variants: peer.variants };
    try {
      if (asked.install) await peer.install?.(context);
      told.peers[name].version = peer.version(context);
      peers[name] = peer;
      console.log(`${name}: ${told.peers[name].version}`);
    } catch (error) {
      fail({ peer: name, reason: error.message });
    }
  }

  // Rounds are outermost, and servers alternate: a noisy minute hits them all.
  for (let round = 1; round <= asked.rounds; round++) {
    for (const scenario of asked.scenarios) {
      step(`${scenarios[scenario].title}, round ${round} of ${asked.rounds}`);
      for (const [name, peer] of Object.entries(peers)) {
        for (const variant of asked.settings.filter((setting) => setting in peer.variants && isFor(scenario, peer, setting))) {
          context.log = join(asked.out, `${name}-${variant}.log`);
          try {
            const { load, figures, machine, warnings } = await measure(context, asked, peer, variant, scenario);
            told.machine = machine;
            const file = `${name}-${variant}-${scenario}-${round}.json`;
            writeJson(join(asked.out, file), figures);
            told.results.push({ peer: name, variant, scenario, round, file, load });
            const shown = scenarios[scenario].figures.map(({ title, of, unit, digits }) => {
              const value = of(figures);
              return `${title} ${Number.isFinite(value) ? `${value.toFixed(digits)} ${unit}` : "–"}`;
            });
            console.log(`${`${name} (${variant})`.padEnd(22)} ${shown.join(", ")}`);
            for (const warning of warnings) console.log(`${" ".repeat(22)} warning: ${warning}`);
          } catch (error) {
            fail({ peer: name, variant, scenario, round, reason: error.message });
          }
          scratches.splice(0).forEach(remove);
          save();
        }
      }
    }
  }
  told.ended = new Date().toISOString();
  save();
  if (!told.results.length) throw new Wrong("nothing was measured, see above");
  console.log(`\nThe figures are in ${asked.out}. Now: bench/compare/report${asked.out === join(ROOT, "target/compare") ? "" : ` --from ${asked.out}`}`);
  return told.failures.length ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Wrong)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
