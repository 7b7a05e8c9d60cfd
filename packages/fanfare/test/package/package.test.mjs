// The packed tarball, as somebody installs it: what is in it, what it weighs, and whether every way of loading it works.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { rolldown } from "rolldown";
import ts from "typescript";

const root = fileURLToPath(new URL("../..", import.meta.url));
const modules = fileURLToPath(new URL("../../../../node_modules/", import.meta.url));
const ENTRIES = [
  "fanfare",
  "fanfare/react",
  "fanfare/server",
  "fanfare/tabs",
  "fanfare/testing",
  "fanfare/testing/core",
];

let folder, tarball, installed;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "fanfare-package-"));
  const [{ filename }] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--pack-destination", folder], {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }),
  );
  tarball = join(folder, filename);
  execFileSync("tar", ["-xzf", tarball, "-C", folder]);
  installed = join(folder, "consumer", "node_modules", "fanfare");
  mkdirSync(join(folder, "consumer", "node_modules", "@types"), { recursive: true });
  cpSync(join(folder, "package"), installed, { recursive: true });
  // What a user of React has besides.
  for (const name of ["react", "react-dom", "@types/react", "@types/node", "undici-types", "csstype"])
    symlinkSync(join(modules, name), join(folder, "consumer", "node_modules", name));
});
after(() => rmSync(folder, { recursive: true, force: true }));

test("has what it needs, and nothing else", () => {
  const files = execFileSync("tar", ["-tzf", tarball], { encoding: "utf8" }).trim().split("\n");
  for (const wanted of [
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "package.json",
    "dist/index.mjs",
    "dist/index.cjs",
    "dist/index.d.mts",
    "dist/index.d.cts",
    "dist/fanfare.global.js",
  ]) {
    assert.ok(files.includes(`package/${wanted}`), wanted);
  }
  const others = files.filter(
    (file) =>
      !/^package\/(dist\/|(react|server|tabs|testing|testing\/core)\/package\.json$|README\.md$|LICENSE-|package\.json$)/.test(
        file,
      ),
  );
  assert.deepEqual(others, []);
  const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  assert.equal(manifest.dependencies, undefined, "no run-time dependencies");
});

test("publint has nothing to say", async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true });
  const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  assert.deepEqual(
    messages.map((message) => formatMessage(message, manifest)),
    [],
  );
});

test("are the types wrong? No, in no module mode", () => {
  const output = execFileSync(
    process.execPath,
    [join(modules, "@arethetypeswrong/cli/dist/index.js"), tarball, "--format", "json"],
    { encoding: "utf8" },
  );
  const { problems } = JSON.parse(output);
  assert.deepEqual(problems, {});
});

describe("tsc on a consumer", () => {
  const source = `
    import { SSEClient, SSEError, type SSEEvent, type SSEFilter, type SSEHookOptions, type SSEHookResult, type SSEManagerOptions, type SSEStats } from "fanfare";
    import { acrossTabs } from "fanfare/tabs";
    import { SSEProvider, useSSE, useSSEEvent } from "fanfare/react";
    import { broadcast, initializeSSE, SSEManager } from "fanfare/server";
    import { FakeHub, FakeSSEProvider } from "fanfare/testing";
    import { FakeHub as Hub } from "fanfare/testing/core";
    interface Events { order_paid: { total: number } }
    const client = new SSEClient<Events>({ url: "http://hub.test", share: acrossTabs("x") });
    client.addEventListener("order_paid", ({ data }) => data.total.toFixed());
    client.addEventListener("connected", ({ data }) => data.clientId.length);
    export const result = (): SSEHookResult<Events> => useSSE<Events>({ userId: "u" });
    export const sent: Promise<number> = broadcast({ event: "a", data: 1 });
    export const all = [SSEError, SSEProvider, useSSEEvent, initializeSSE, SSEManager, FakeHub, FakeSSEProvider, Hub];
    export type Types = [SSEEvent, SSEFilter, SSEHookOptions, SSEManagerOptions, SSEStats];
  `;
  const { ModuleKind, ModuleResolutionKind } = ts;
  const web = ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"];
  for (const [name, file, module, moduleResolution, lib = web, types = []] of [
    [
      "a back end, without the DOM's types",
      "back-end.mts",
      ModuleKind.NodeNext,
      ModuleResolutionKind.NodeNext,
      ["lib.es2022.d.ts"],
      ["node"],
    ],
    ["bundler", "bundler.ts", ModuleKind.ESNext, ModuleResolutionKind.Bundler],
    ["node16, as a module", "esm.mts", ModuleKind.Node16, ModuleResolutionKind.Node16],
    ["node16, as CommonJS", "cjs.cts", ModuleKind.Node16, ModuleResolutionKind.Node16],
    ["nodenext, as a module", "next.mts", ModuleKind.NodeNext, ModuleResolutionKind.NodeNext],
    ["nodenext, as CommonJS", "next.cts", ModuleKind.NodeNext, ModuleResolutionKind.NodeNext],
    ["node10", "old.ts", ModuleKind.CommonJS, ModuleResolutionKind.Node10],
  ]) {
    test(name, () => {
      const path = join(folder, "consumer", file);
      writeFileSync(path, source);
      const options = {
        strict: true,
        noEmit: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        target: ts.ScriptTarget.ES2022,
        lib,
        types,
        module,
        moduleResolution,
        ignoreDeprecations: "6.0",
      };
      const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram([path], options));
      const host = { getCanonicalFileName: (each) => each, getCurrentDirectory: () => folder, getNewLine: () => "\n" };
      assert.equal(ts.formatDiagnostics(diagnostics, host), "");
    });
  }
});

test("loads in Node, as a module and as CommonJS, and needs React only where it says so", async () => {
  const require = createRequire(join(folder, "consumer", "index.js"));
  for (const entry of ENTRIES) {
    const names = execFileSync(
      process.execPath,
      ["--input-type=module", "-e", `console.log(Object.keys(await import(${JSON.stringify(entry)})).sort().join())`],
      {
        cwd: join(folder, "consumer"),
        encoding: "utf8",
      },
    ).trim();
    assert.equal(
      Object.keys(require(entry))
        .filter((name) => name !== "default")
        .sort()
        .join(),
      names,
      entry,
    );
    assert.ok(names.length > 0, entry);
  }
  for (const entry of ["dist/index.mjs", "dist/tabs.mjs", "dist/server.mjs", "dist/testing-core.mjs"]) {
    assert.doesNotMatch(await bundle(join(installed, entry)), /from\s*["']react["']/, entry);
  }
});

test("the hooks say that they are for the client", () => {
  for (const file of ["react.mjs", "react.cjs", "testing.mjs", "testing.cjs"]) {
    assert.match(readFileSync(join(installed, "dist", file), "utf8"), /^["']use client["'];/, file);
  }
});

/** All of an entry as one minified text. */
async function bundle(input) {
  const build = await rolldown({ input, external: ["react"], logLevel: "silent" });
  const { output } = await build.generate({ format: "es", minify: true });
  return output.map(({ code }) => code).join("");
}

test("weighs little: the client 4,000 bytes, the hook 1,500 besides, minified and compressed", async () => {
  const weigh = async (...entry) => gzipSync(await bundle(...entry), { level: 9 }).length;
  const client = await weigh(join(root, "dist/index.mjs"));
  const hook = (await weigh(join(root, "dist/react.mjs"))) - client;
  const tabs = await weigh(join(root, "dist/tabs.mjs"));
  console.log(`client ${client} B, hook ${hook} B, tabs ${tabs} B`);
  assert.ok(client <= 4_000, `client ${client} B`);
  assert.ok(hook <= 1_500, `hook ${hook} B`);
  assert.ok(tabs <= 1_600, `tabs ${tabs} B`);
});
