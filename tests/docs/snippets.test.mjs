// Every block of code in the documentation is run, compiled or parsed. One that nothing here knows what to do with fails.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { bookPages, codeBlocks, ROOT } from "./markdown.mjs";
import { runBlocks, shellBlocks } from "./shell.mjs";

const pages = ["README.md", ...bookPages()];

/** Shell blocks that are not run, by how they begin. */
const NOT_RUN = new Map([
  ["cargo install", "builds the server once more, for minutes"],
  ["cargo build --locked --release", "builds the server once more, for minutes, and makes a service of it on the machine"],
  ["npm install", "fetches from a registry"],
  ["cd ~/fanfare\nnpm install", "fetches from a registry"],
  ["cargo add", "fetches from a registry"],
  ["cargo run --release -p fanfare-bench", "takes minutes; what it says is in the repository"],
  ["bench/compare/run", "takes an hour; what it says is in the repository"],
]);
/** Printed, and run in its place. */
const INSTEAD = new Map([["cargo run --release", "fanfare"]]);
/** Pages whose `text` shows samples, of which some come from elsewhere: it is not compared with what a command says. */
const SAMPLES = [
  "docs/benchmarks.md",
  "docs/comparison.md",
  "docs/log-format.md",
  "docs/error-handling.md",
  "docs/performance.md",
  "docs/security.md",
  "docs/browser-support.md",
  "docs/troubleshooting.md",
  "docs/reference/events.md",
  "docs/reference/http.md",
  // What is said there is compared with the program by a test of its own, in Rust.
  "docs/reference/command-line.md",
];
/** Languages whose blocks are tested elsewhere, or not. */
const ELSEWHERE = new Map([
  ["caddyfile", "proxies.test.mjs"],
  ["haproxy", "proxies.test.mjs"],
  ["nginx", "proxies.test.mjs"],
  ["ini", "settings of systemd and sysctl, for the reader's machine"],
  ["toml", "dependencies, for the reader's Cargo.toml"],
  ["http", "bytes on the wire, as fixtures/ has them"],
]);
const TESTED = ["js", "json", "rust", "sh", "text", "ts", "tsx"];

const blocks = pages.flatMap(codeBlocks);
const of = (...languages) => blocks.filter(({ language }) => languages.includes(language));
const reason = ({ text }) => [...NOT_RUN].find(([start]) => text.startsWith(start))?.[1];

test("every block is in a language that is tested", () => {
  const known = ({ language, file }) =>
    TESTED.includes(language) || ELSEWHERE.has(language) || (!language && SAMPLES.includes(file));
  const unknown = blocks.filter((block) => !known(block));
  assert.deepEqual(
    unknown.map(({ language, name }) => `${language || "no language"}: ${name}`),
    [],
  );
});

test("nothing is excused that is not there", () => {
  const shell = of("sh");
  assert.deepEqual(
    [...NOT_RUN.keys()].filter((start) => !shell.some(({ text }) => text.startsWith(start))),
    [],
  );
  assert.deepEqual(
    [...ELSEWHERE.keys()].filter((language) => !of(language).length),
    [],
  );
  assert.deepEqual(
    [...INSTEAD.keys()].filter((printed) => !shell.some(({ text }) => text === printed)),
    [],
  );
  assert.deepEqual(
    SAMPLES.filter((page) => !blocks.some(({ file, language }) => file === page && (language === "text" || !language))),
    [],
  );
});

for (const page of pages) {
  const shell = shellBlocks(page).filter(({ language }) => language === "sh" || !SAMPLES.includes(page));
  if (!shell.length) continue;
  test(`the shell blocks of ${page} do what they say`, async (t) => {
    for (const block of shell.filter(reason)) t.diagnostic(`not run: ${block.name} (${reason(block)})`);
    await runBlocks(
      shell.filter((block) => !reason(block)),
      { instead: INSTEAD },
    );
  });
}

test("every JSON block parses", () => {
  for (const { text, name } of of("json")) assert.doesNotThrow(() => JSON.parse(text), name);
});

test("every Rust block is a doctest", () => {
  const source = path.join(ROOT, "crates/fanfare/src");
  const files = readdirSync(source, { recursive: true }).filter((file) => file.endsWith(".rs"));
  const doctests = files.map((file) => readFileSync(path.join(source, file), "utf8")).join("");
  const missing = of("rust").filter(({ file }) => !doctests.includes(`include_str!("../../../${file}")`));
  assert.deepEqual([...new Set(missing.map(({ file }) => file))], []);
});

test("every TypeScript and JavaScript block compiles against the package", () => {
  const folder = path.join(ROOT, "tests/docs/snippets");
  const files = new Map();
  for (const { language, text, file } of of("js", "ts", "tsx")) {
    const name = `${file.replaceAll(/\W/g, "-")}-${files.size}.${language}`;
    files.set(path.join(folder, name), `${text}\nexport {};\n`);
  }
  assert.ok(files.size > 0);
  const options = {
    strict: true,
    allowJs: true,
    checkJs: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    jsx: ts.JsxEmit.ReactJSX,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
    types: [],
    skipLibCheck: true,
  };
  // The blocks are where a file of this folder would be, and on no disk.
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, version, ...rest) =>
    files.has(name) ? ts.createSourceFile(name, files.get(name), version) : getSourceFile(name, version, ...rest);
  const program = ts.createProgram([...files.keys(), path.join(ROOT, "tests/docs/your-code.d.ts")], options, host);
  // JavaScript has nowhere to write a parameter's type.
  const untyped = ({ code, file }) => file?.fileName.endsWith(".js") && code >= 7005 && code <= 7053;
  const problems = ts.getPreEmitDiagnostics(program).filter((problem) => !untyped(problem));
  assert.equal(ts.formatDiagnostics(problems, host), "");
});
