// The feature description that Fanfare began with, `fixtures/sse-feature.md`: every TypeScript, TSX and JavaScript snippet in it
// compiles and runs as it stands. Only the import path is another, and names that the snippets leave to the reader's own
// application come from a prelude.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { after, before, test } from "node:test";
import { SSEClient } from "fanfare";
import { rolldown } from "rolldown";
import ts from "typescript";
import { launch, openPage, startServer, until } from "./support.mjs";

const document = readFileSync(new URL("../../fixtures/sse-feature.md", import.meta.url), "utf8");
const snippets = [...document.matchAll(/^```(typescript|tsx|javascript)\n([\s\S]*?)^```/gm)].map(([, language, code]) => ({ language, code }));
const out = new URL(".seed/", import.meta.url);

/** The one snippet that has this text. */
const taken = new Set();
function snippet(text) {
  const found = snippets.filter(({ code }) => code.includes(text));
  assert.equal(found.length, 1, `one snippet has ${JSON.stringify(text)}`);
  taken.add(found[0]);
  return found[0].code;
}

/** The snippet as a module: `before` it what the application has, `after` it what the test takes out. */
function write(name, code, { path = "fanfare/server", before = "", after = "" } = {}) {
  const text = `${before}\n${code.replaceAll('"@/features/sse"', JSON.stringify(path))}\n${after}\nexport {};\n`;
  const file = fileURLToPath(new URL(name, out));
  writeFileSync(file, text);
  files.push(file);
  return file;
}
const files = [];

const basic = "// Broadcast to all connected clients";
const integration = "// Job completion";
const hook = "function MyComponent()";
const manual = "new EventSource(";
const manager = "const manager = new SSEManager(";
const functions = "// Basic notifications";
const helpers = "// Job/Task notifications";
const interfaces = "interface SSEHookOptions";
const custom = 'event: "custom_event"';
const initialize = "initializeSSE({";
const webhook = "export async function POST";
const trpc = "export const userRouter";
const jobs = "async function processUpload";

const EQUAL = `
import * as sse from "fanfare/server";
import type { SSEEvent } from "fanfare/server";
/** What the document's function takes, ours takes; what it gives, ours promises. */
type Like<F extends (...args: any) => any> = (...args: Parameters<F>) => Promise<Awaited<ReturnType<F>>>;
`;
/** Lines such as `broadcast(event: SSEEvent): number` as declarations, each compared with the function of that name. */
function compared(code) {
  const signatures = code.split("\n").filter((line) => /^\w+\(/.test(line));
  return {
    count: signatures.length,
    names: signatures.map((line) => line.match(/^\w+/)[0]),
    code: signatures
      .map((line) => `declare function ${line};\nsse.${line.match(/^\w+/)[0]} satisfies Like<typeof ${line.match(/^\w+/)[0]}>;`)
      .join("\n"),
  };
}
const signatures = { functions: compared(snippet(functions)), helpers: compared(snippet(helpers)) };

const modules = {};
before(() => {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  modules.basic = write("basic.ts", snippet(basic));
  modules.integration = write("integration.ts", snippet(integration), { before: 'const postData = { title: "New" };' });
  modules.hook = write("hook.tsx", snippet(hook), {
    path: "fanfare/react",
    before: 'import { useEffect } from "react";',
    after: "export { MyComponent };",
  });
  modules.manager = write("manager.ts", snippet(manager), {
    before: 'import { SSEManager } from "fanfare/server";',
    after: "export { manager };",
  });
  modules.custom = write("custom.ts", snippet(custom), { before: 'import { broadcast } from "fanfare/server";' });
  modules.initialize = write("initialize.ts", snippet(initialize));
  modules.webhook = write("webhook.ts", snippet(webhook), { before: "type NextRequest = Request;" });
  modules.trpc = write("trpc.ts", snippet(trpc), {
    before: `
      import { initTRPC } from "@trpc/server";
      import { z } from "zod";
      const t = initTRPC.context<{ user: { id: string } }>().create();
      const router = t.router;
      const privateProcedure = t.procedure;
      const updateProfileSchema = z.object({ name: z.string() });
      const updateUserProfile = async (id: string, input: { name: string }) => ({ id, ...input });
    `,
  });
  modules.jobs = write("jobs.ts", snippet(jobs), {
    before: "interface UploadJob { userId: string; fileId: string }\nconst processChunk = async (_: number) => {};",
    after: "export { processUpload };",
  });
  write("functions.ts", signatures.functions.code, { before: EQUAL });
  write("helpers.ts", signatures.helpers.code, { before: EQUAL });
  write("interfaces.ts", snippet(interfaces), {
    before: 'import type { SSEEvent } from "fanfare";\nimport type * as ours from "fanfare";',
    after: `
      export const options = (theirs: SSEHookOptions): ours.SSEHookOptions => theirs;
      export const result = (mine: ours.SSEHookResult): SSEHookResult => mine;
    `,
  });
  snippet(manual);
});
after(() => rmSync(out, { recursive: true, force: true }));

test("no snippet is left out", () => {
  assert.deepEqual(snippets.filter((each) => !taken.has(each)).map(({ code }) => code), []);
  assert.equal(snippets.length, 13);
  assert.equal(signatures.functions.count + signatures.helpers.count, 15);
});

test("every snippet compiles, strictly", () => {
  const program = ts.createProgram(files, {
    strict: true,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    jsx: ts.JsxEmit.ReactJSX,
    lib: ["lib.es2022.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
    types: [],
    skipLibCheck: true,
  });
  const host = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => process.cwd(), getNewLine: () => "\n" };
  assert.equal(ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), host), "");
});

/** Runs a module of a back end, as JavaScript. */
async function run(file) {
  const { outputText } = ts.transpileModule(readFileSync(file, "utf8"), {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const script = file.replace(/ts$/, "mjs");
  writeFileSync(script, outputText);
  return import(pathToFileURL(script));
}

/** A hub, and what a user of it hears. */
async function hear(t, userId) {
  const server = await startServer(t);
  // Whatever ran before had another hub.
  process.env.FANFARE_URL = server.origin;
  delete globalThis[Symbol.for("fanfare.manager")];
  const client = new SSEClient({ url: `${server.origin}/api/sse`, userId });
  t.after(() => client.disconnect());
  const heard = [];
  client.onEvent(({ event, data }) => {
    if (event === "connected" || event === "ping") return;
    const { timestamp, ...rest } = data;
    heard.push([event, rest]);
  });
  client.connect();
  await until("the subscriber is there", async () => (await server.clients()).length === 1);
  return { heard, server, all: (count) => until(`${count} events`, () => heard.length >= count && heard) };
}

test("basic notifications", async (t) => {
  const { all } = await hear(t, "user123");
  await run(modules.basic);
  assert.deepEqual(await all(3), [
    ["announcement", { message: "New feature released!" }],
    ["notification", { title: "Welcome!", message: "Thanks for joining!" }],
    ["system", { message: "Maintenance scheduled for 2 AM", level: "warning" }],
  ]);
});

test("integration utilities", async (t) => {
  const { all } = await hear(t, "user_456");
  await run(modules.integration);
  const [job, progress, change] = await all(3);
  assert.deepEqual(job[1].data, { jobId: "job_123", result: "success", details: { result: "File processed successfully" } });
  assert.deepEqual(progress, ["progress", { operationId: "upload_789", progress: 75, message: "Processing..." }]);
  assert.deepEqual(change[1].data, { entityType: "post", entityId: "post_123", changeType: "updated", data: { title: "New" } });
});

test("the manager, with its eight methods", async (t) => {
  const { server, all } = await hear(t, "ada");
  const warnings = t.mock.method(console, "warn", () => {});
  const { manager } = await run(modules.manager);
  const event = { event: "a", data: {} };
  const [{ clientId }] = await server.clients();
  assert.deepEqual(
    await Promise.all([
      manager.broadcast(event),
      manager.sendToClient(clientId, event),
      manager.sendToClients({ userId: "ada" }, event),
      manager.sendToUser("ada", event),
    ]),
    [1, true, 1, 1],
  );
  await all(4);
  const response = await manager.createConnection({ userId: "bob" });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  assert.deepEqual((await manager.getStats()).clientsByUser, { ada: 1, bob: 1 });
  assert.equal(await manager.disconnectClient(clientId), true);
  await manager.destroy();
  await until("nobody", async () => (await server.clients()).length === 0);
  // Its 1,000 clients are the hub's to set.
  assert.match(String(warnings.mock.calls[0]?.arguments[0]), /maxClients is \d+ on the hub, not 1000/);
});

test("custom events, and initializeSSE", async (t) => {
  const { all } = await hear(t, "ada");
  t.mock.method(console, "warn", () => {});
  await run(modules.initialize);
  await run(modules.custom);
  assert.deepEqual(await all(1), [["custom_event", {}]]);
});

test("the webhook", async (t) => {
  const { all } = await hear(t, "ada");
  const { POST } = await run(modules.webhook);
  const send = (body) => POST(new Request("http://app.test/api/webhook", { method: "POST", body: JSON.stringify(body) }));
  const answer = await send({ eventType: "user.profile.updated", userId: "ada", data: { changes: ["name"] } });
  assert.equal(await answer.text(), "OK");
  await send({ eventType: "content.published", data: { id: 7, subscriberIds: ["ada"] } });
  assert.deepEqual(await all(2), [
    ["profile_updated", { message: "Profile updated", changes: ["name"] }],
    ["update", { type: "content", data: { id: 7, subscriberIds: ["ada"] } }],
  ]);
});

test("the tRPC router", async (t) => {
  const { all } = await hear(t, "ada");
  const { userRouter } = await run(modules.trpc);
  assert.deepEqual(await userRouter.createCaller({ user: { id: "ada" } }).updateProfile({ name: "Ada" }), { id: "ada", name: "Ada" });
  assert.deepEqual(await all(1), [["profile_updated", { message: "Profile updated successfully" }]]);
});

test("the job queue", async (t) => {
  const { all } = await hear(t, "ada");
  const { processUpload } = await run(modules.jobs);
  await processUpload({ userId: "ada", fileId: "file" });
  const heard = await all(12);
  assert.deepEqual(heard.slice(0, 11).map(([, { progress, message }]) => [progress, message]), Array.from({ length: 11 }, (_, i) => [i * 10, `Processing... ${i * 10}%`]));
  assert.deepEqual(heard[11][1].data, { jobId: "file", result: "success", details: { fileUrl: "/uploads/processed-file.jpg" } });
});

test("the component, in a browser, under StrictMode: one connection, and every notification", async (t) => {
  const server = await startServer(t);
  const browser = await launch();
  t.after(() => browser.close());
  const entry = write("page.tsx", 'import { StrictMode } from "react";\nimport { createRoot } from "react-dom/client";\nimport { MyComponent } from "./hook.js";\n', {
    after: 'createRoot(document.body.appendChild(document.createElement("main"))).render(<StrictMode><MyComponent /></StrictMode>);',
  });
  const bundle = await rolldown({
    input: entry,
    platform: "browser",
    resolve: { extensionAlias: { ".js": [".tsx", ".js"] } },
    transform: { define: { "process.env.NODE_ENV": '"development"' }, jsx: "react-jsx" },
  });
  const { output } = await bundle.generate({ format: "iife" });
  const page = await openPage(t, browser, server.origin);
  const logged = [];
  page.on("console", async (message) => {
    if (message.type() === "log") logged.push(await Promise.all(message.args().map((arg) => arg.jsonValue())));
  });
  await page.addScriptTag({ content: output[0].code });
  const text = () => page.locator("main").innerText();
  await until("it says Connected", async () => (await text()).includes("Connection: Connected"));
  const clients = await server.clients();
  assert.equal(clients.length, 1);
  assert.deepEqual([clients[0].userId, clients[0].metadata], ["user123", { page: "dashboard" }]);
  for (let n = 0; n < 3; n++) await server.publish({ event: "notification", data: { n }, to: { userId: "user123" } });
  await until("three notifications", () => logged.length === 3);
  assert.deepEqual(logged.map(([, data]) => data), [{ n: 0 }, { n: 1 }, { n: 2 }]);
  await until("the latest", async () => (await text()).includes('Latest: {"n":2}'));
});

test("the bare EventSource", async (t) => {
  const server = await startServer(t);
  const browser = await launch();
  t.after(() => browser.close());
  const page = await openPage(t, browser, server.origin);
  const logged = [];
  // What the page says at its end, when the stream breaks off, can be read no more.
  page.on("console", async (message) => logged.push([message.type(), await message.args()[1]?.jsonValue().catch(() => null)]));
  await page.addScriptTag({ content: snippet(manual) });
  await until("it is there", async () => (await server.clients()).length === 1);
  await server.publish({ event: "notification", data: { title: "Welcome!" }, to: { userId: "user123" } });
  await until("the notification", () => logged.some(([type, data]) => type === "log" && data?.title === "Welcome!"));
});
