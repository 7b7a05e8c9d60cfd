// Makes a page of what `run` has measured: tables, plots, settings, commands, and what was left out.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bars } from "./lib/plot.mjs";
import { ROOT } from "./lib/machine.mjs";
import { readJson } from "./lib/servers.mjs";
import { scenarios } from "./scenarios.mjs";

const HELP = `Writes comparison.md, its plots, and the overview in benchmarks.md from the figures of \`bench/compare/run\`.

Usage: bench/compare/report [--from DIRECTORY] [--out DIRECTORY]

  --from DIRECTORY   Where the figures are [default: target/compare]
  --out DIRECTORY    Where the page goes [default: docs]`;

const REFERENCE = "fanfare";
const YARDSTICK = "floor";

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(2);
}

function options() {
  try {
    const string = { type: "string" };
    return parseArgs({ options: { from: string, out: string, help: { type: "boolean" } } }).values;
  } catch (error) {
    return fail(error.message);
  }
}

const given = options();
if (given.help) {
  console.log(HELP);
  process.exit(0);
}
const from = resolve(given.from ?? join(ROOT, "target/compare"));
const out = resolve(given.out ?? join(ROOT, "docs"));
if (!existsSync(join(from, "run.json"))) fail(`${join(from, "run.json")} is not there: bench/compare/run makes it`);
const told = readJson(join(from, "run.json"));
if (!told.ended) fail(`the run in ${from} did not come to its end: start it again`);
if (told.quick && !given.out) fail("these are the figures of --quick, which mean nothing: give --out to see how the page looks");

const named = (peer, variant) => {
  const { title, variants } = told.peers[peer];
  // What compresses is always said to, and is not one of two settings for the same.
  const settings = Object.keys(variants).filter((name) => name !== "gzip");
  return variant === "gzip" || settings.length > 1 ? `${title}, ${variant}` : title;
};
const amount = (value, { digits, unit }) => {
  const text = value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return unit === "%" || unit === "/s" || !unit ? `${text}${unit === "%" ? " %" : ""}` : `${text} ${unit}`;
};
const cell = (text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
const table = (head, rows) =>
  [head, head.map((_, index) => (index ? "--:" : "---")), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");

/** Of all rounds of one server under one load. */
function summary(figure, rounds) {
  const values = rounds.map(figure.of).filter(Number.isFinite).sort((one, other) => one - other);
  if (!values.length) return undefined;
  const middle = values.length >> 1;
  const median = values.length % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return { median, least: values[0], most: values.at(-1) };
}

/** What is not whole cannot be the best: it has done less. */
const isWhole = (server) =>
  server.lost + server.duplicates + server.misdirected + server.streamsEnded === 0 &&
  Object.keys(server.connectFailures).length + Object.keys(server.publishFailures).length === 0;

function rowsOf(scenario) {
  const rows = new Map();
  for (const { peer, variant, file } of told.results.filter((result) => result.scenario === scenario)) {
    const key = `${peer} ${variant}`;
    if (!rows.has(key)) rows.set(key, { peer, name: named(peer, variant), rounds: [] });
    rows.get(key).rounds.push(readJson(join(from, file)));
  }
  return [...rows.values()].map((row) => ({
    ...row,
    // Asked to compress, and did not, or not each time.
    isPlain: row.rounds.some((server) => server.compressed < server.connected),
    isWhole: row.rounds.every(isWhole),
    figures: scenarios[scenario].figures.map((figure) => summary(figure, row.rounds)),
  }));
}

/** Why a row is not whole: what went wrong in its rounds, and how often. */
function faults(row) {
  const counts = new Map();
  for (const server of row.rounds) {
    const told = { ...server.connectFailures, ...server.publishFailures, ...server.streamFailures };
    if (server.lost) told["events were lost"] = server.lost;
    for (const [what, count] of Object.entries(told)) counts.set(what, (counts.get(what) ?? 0) + count);
  }
  return [...counts].map(([what, count]) => `${what} (${count.toLocaleString("en-US")})`).join(", ");
}

/** The row that is best in a figure; the yardstick takes no part. */
function best(rows, index, { better }) {
  if (!better) return undefined;
  const taking = rows.filter((row) => row.peer !== YARDSTICK && row.isWhole && row.figures[index]);
  const sign = better === "less" ? 1 : -1;
  return taking.sort((one, other) => sign * (one.figures[index].median - other.figures[index].median))[0];
}

function section(name) {
  const { title, about, figures } = scenarios[name];
  const rows = rowsOf(name);
  if (!rows.length) return [`## ${title}`, "Nothing was measured; see below what was left out."];
  const own = rows.find((row) => row.peer === REFERENCE);
  const winners = figures.map((figure, index) => (figure.plain ? undefined : best(rows, index, figure)));

  const lines = rows.map((row) => {
    const shown = row.figures.map((figure, index) => {
      if (!figure) return "–";
      const { plain, ...format } = figures[index];
      const text = amount(figure.median, format);
      const spread = index || told.rounds === 1 ? "" : ` <small>(${amount(figure.least, { ...format, unit: "" })} – ${amount(figure.most, { ...format, unit: "" })})</small>`;
      return `${winners[index] === row ? `**${text}**` : text}${spread}`;
    });
    return [`${row.name}${row.isPlain ? ": **not compressed**" : ""}${row.isWhole ? "" : " †"}`, ...shown];
  });

  const parts = [`## ${title}`, `${told.subscribers.toLocaleString("en-US")} subscribers; ${about}.`];
  parts.push(table(["", ...figures.map((figure) => figure.title)], lines));
  if (rows.some((row) => !row.isWhole)) {
    parts.push("† Events were lost, or streams or publishes refused, in at least one round: it has done less than was asked for, and is not counted as best. In all rounds:");
    parts.push(rows.filter((row) => !row.isWhole).map((row) => `- ${row.name}: ${faults(row)}`).join("\n"));
  }
  const value = (row, index) => (row?.figures[index] ? amount(row.figures[index].median, figures[index]) : "no figure");
  const better = figures.flatMap((figure, index) => {
    const winner = winners[index];
    if (!winner || winner === own) return [];
    return `**${winner.name} is better than Fanfare** in ${figure.title}: ${value(winner, index)} against ${value(own, index)}.`;
  });
  // Not the best, but to be told: what it refused or lost may be little.
  const sign = ({ better }) => (better === "less" ? 1 : -1);
  better.push(
    ...figures.flatMap((figure, index) =>
      rows
        .filter((row) => figure.better && !figure.plain && !row.isWhole && row.peer !== YARDSTICK && row.figures[index] && own?.figures[index])
        .filter((row) => sign(figure) * (row.figures[index].median - own.figures[index].median) < 0)
        .map((row) => `${row.name} † has a better figure than Fanfare in ${figure.title}: ${value(row, index)} against ${value(own, index)}.`),
    ),
  );
  if (better.length) parts.push(better.map((line) => `- ${line}`).join("\n"));
  else if (winners.some(Boolean)) parts.push("Fanfare is the best of them in each figure.");

  const [figure] = figures;
  const file = `comparison-${name}.svg`;
  const values = rows.filter((row) => row.figures[0]).map((row) => ({
    name: `${row.name.replaceAll("`", "")}${row.isPlain ? ": not compressed" : ""}${row.isWhole ? "" : " †"}`,
    value: row.figures[0].median,
    text: amount(row.figures[0].median, figure),
    kind: row.peer === REFERENCE ? "own" : row.peer === YARDSTICK ? "yardstick" : "peer",
  }));
  writeFileSync(join(out, "images", file), bars(`${title}: ${figure.title} (${figure.better} is better)`, values));
  parts.push(`![${title}: ${figure.title}](images/${file})`);
  return parts;
}

/** The figures that the overview has: scenario, and which of its figures. */
const OVERVIEW = [["memory", 0], ["paced", 0], ["paced", 2], ["saturated", 0], ["one", 0], ["storm", 0]];
/** Where the overview goes in docs/benchmarks.md. */
const [BEGIN, END] = ["<!-- the comparison, made by bench/compare/report -->", "<!-- the end of the comparison -->"];

/** A row for each server, a column for each of the most important figures. */
function overview() {
  const columns = OVERVIEW.filter(([name]) => told.scenarios.includes(name)).map(([name, index]) => {
    const rows = rowsOf(name);
    const figure = scenarios[name].figures[index];
    return { title: `${scenarios[name].title}: ${figure.title}`, figure, index, rows, best: best(rows, index, figure) };
  });
  const names = [...new Set(columns.flatMap(({ rows }) => rows.map((row) => row.name)))];
  const lines = names.map((name) => [
    name,
    ...columns.map(({ figure, index, rows, best }) => {
      const row = rows.find((row) => row.name === name);
      if (!row?.figures[index]) return "–";
      const text = amount(row.figures[index].median, figure);
      return `${row === best ? `**${text}**` : text}${row.isWhole ? "" : " †"}`;
    }),
  ]);
  return [
    table(["", ...columns.map(({ title }) => title)], lines),
    "The best of each column is bold; the floor, a bare `write` for each delivery, takes no part. † Events were lost, or streams or publishes refused.",
  ].join("\n\n");
}

/** Puts the overview into the page of all benchmarks, if the page has a place for it. */
function intoBenchmarks() {
  const file = join(out, "benchmarks.md");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) return;
  writeFileSync(file, `${text.slice(0, begin + BEGIN.length)}\n\n${overview()}\n\n${text.slice(end)}`);
  console.log(`${file}, its overview`);
}

function servers() {
  const rows = Object.values(told.peers).flatMap(({ title, version, variants }) =>
    Object.entries(variants).map(([variant, settings], index) => [
      index ? "" : title,
      index ? "" : (version ?? "not installed"),
      variant,
      cell(settings),
    ]),
  );
  return table(["", "version", "settings", "what they are"], rows).replace("| --- | --: | --: | --: |", "| --- | --- | --- | --- |");
}

function leftOut() {
  if (!told.failures.length) return "Nothing.";
  const rows = told.failures.map(({ peer, variant, scenario, round, reason }) => [
    variant ? named(peer, variant) : told.peers[peer].title,
    scenario ? `${scenarios[scenario].title}, round ${round}` : "everything",
    cell(reason),
  ]);
  return table(["", "where", "why"], rows).replaceAll("--:", "---");
}

/** How each load was made, for somebody who wants one of them alone. */
function commands() {
  const seen = new Set();
  const lines = told.results.flatMap(({ peer, variant, scenario, load }) => {
    const gzip = variant === "gzip" ? ", gzip" : "";
    const key = `${peer} ${scenario}${gzip}`;
    if (seen.has(key)) return [];
    seen.add(key);
    const quoted = load.map((part) => (/^[\w:/.,-]+$/.test(part) ? part : `'${part}'`)).join(" ");
    return [`# ${scenarios[scenario].title}: ${told.peers[peer].title.replaceAll("`", "")}${gzip}`, `fanfare bench ${quoted}`];
  });
  return lines.join("\n");
}

mkdirSync(join(out, "images"), { recursive: true });
const { machine, cores } = told;
const page = [
  "# Comparison",
  "<!-- made by bench/compare/report; change that, and not this -->",
  "The same loads, on one machine, on servers that send event streams. `fanfare bench` makes the load and counts every delivery; each server is started anew for it.",
  "```sh\nbench/compare/run && bench/compare/report\n```",
  `Measured on ${told.begun.slice(0, 10)} with \`${told.command}\`: ${machine?.cpu ?? "unknown processor"}, ${machine?.cores ?? "?"} cores, ${machine?.system ?? ""}; ` +
    (cores ? `servers on core ${cores.server}, the bench on ${cores.bench}` : "**servers and bench on the same cores**") +
    `; ${told.rounds === 1 ? "one round" : `${told.rounds} rounds, of which the median is shown, and for the first figure the least and the most`}. ` +
    "The best figure is bold. The floor, a bare `write` for each delivery, is a yardstick and takes no part.",
  ...(told.quick ? ["**These are the figures of a small load, to see that everything works. They mean nothing.**"] : []),
  ...(told.built ? [] : ["**The programs were not built by this run: they may lack optimization.**"]),
  "## In short",
  overview(),
  ...told.scenarios.flatMap(section),
  "## Servers and settings",
  servers(),
  "## Left out",
  leftOut(),
  "## What these figures are not",
  [
    "- **We made Fanfare and the bench.** Settings of the others are what their documentation says and what we know; who knows better ones is asked to tell.",
    "- **They do not do the same work.** Fanfare and nchan keep a history and give each event an id; Pushpin asks an application about each stream, which runs on the same core and whose CPU and memory are not counted; axum and better-sse are libraries, and what is measured is the smallest application made with them. None encrypts, and none compresses but where it says so.",
    "- **One core for each server**, all subscribers on loopback, all awake: no network, no slow reader, no reconnects.",
    "- **Saturated** is where servers differ in kind: one that puts several events into one write sends more of them, and each is later. *Events in a read* shows it.",
    "- **Latency** has the time of the bench to read all streams in it, the same for each server, and with gzip to decode them.",
    "- **Memory** is the growth of the resident set of the server's processes, without the kernel's for sockets. Memory that processes share is counted for each of them, and what a server sets aside at its start is not in it.",
    "- **Versions** of nginx, nchan and Pushpin are Debian's, and there are later ones.",
  ].join("\n"),
  "## The commands",
  "Each is one load on a server that runs already; ports are those of this run.",
  `<details><summary>All of them</summary>\n\n\`\`\`text\n${commands()}\n\`\`\`\n\n</details>`,
];
const file = join(out, "comparison.md");
writeFileSync(file, `${page.join("\n\n")}\n`);
intoBenchmarks();
console.log(`${file} and ${told.scenarios.length} plots in ${join(out, "images")}`);
