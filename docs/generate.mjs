// Owns: the parts of docs/reference that come from the code and the fixtures, and the check that nothing a user can meet is
// missing there.
//
//   node docs/generate.mjs           rewrites what is between `<!-- generated: … -->` and `<!-- end -->`
//   node docs/generate.mjs --check   changes nothing, and fails where a page is stale or lacks something

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
const read = (path) => readFileSync(fileURLToPath(new URL(path, root)), "utf8");
const readJson = (path) => JSON.parse(read(path));
const complaints = [];

/** Every match's groups. None at all means that the code is written in another way now, and this file has to follow. */
function matches(path, pattern, text = read(path)) {
  const found = [...text.matchAll(pattern)].map((match) => match.slice(1));
  if (!found.length) throw new Error(`docs/generate.mjs: ${path} has nothing that fits ${pattern}; it has to follow the code`);
  return found;
}

/** The text behind `start`, up to the first line that is `end`. */
function block(path, start, end = "}") {
  const text = read(path);
  const from = text.indexOf(start);
  const to = text.indexOf(`\n${end}`, from);
  if (from < 0 || to < 0) throw new Error(`docs/generate.mjs: ${path} has no ${JSON.stringify(start)}; it has to follow the code`);
  return text.slice(from + start.length, to);
}

const code = (text) => `\`${text}\``;
const cell = (text) => text.replaceAll("|", "\\|");
const table = (head, rows) =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");

/** What is told of each of `names`; who has no entry is complained of, and so is an entry for nobody. */
function told(names, entries, what) {
  for (const name of Object.keys(entries)) if (!names.includes(name)) complaints.push(`docs/generate.mjs: there is no ${what} ${name} any more; take its entry out`);
  return names.flatMap((name) => {
    if (entries[name]) return [[name, entries[name]]];
    complaints.push(`docs/generate.mjs: say something of the ${what} ${name}`);
    return [];
  });
}

// ---- endpoints

const openapi = readJson("crates/fanfare/assets/openapi.json");
const resolve = (value) => (value.$ref ? value.$ref.split("/").slice(1).reduce((at, key) => at[key], openapi) : value);
const operations = Object.entries(openapi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    name: `${method.toUpperCase()} ${path}`,
    path,
    summary: operation.summary,
    parameters: (operation.parameters ?? []).map((parameter) => resolve(parameter).name),
  })),
);
/** As mdBook makes them. */
const anchor = (heading) => heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");

const endpoints = () =>
  table(
    ["", "", "parameters"],
    operations.map(({ name, summary, parameters }) => [`[${code(name)}](#${anchor(name)})`, summary, parameters.map(code).join(", ")]),
  );

// ---- helpers

const fixtures = readJson("fixtures/helpers.json");
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** One example of each event type that a helper sends: the case with the most in it. */
function helper(name) {
  const cases = fixtures.cases.filter((each) => each.function === name && each.event && !each.nobody);
  const parameters = fixtures.parameters[name].map((parameter) => (cases.every(({ args }) => parameter in args) ? parameter : `${parameter}?`));
  const target = fixtures.parameters[name].find((parameter) =>
    cases.some(({ args, target }) => !target.all && JSON.stringify(args[parameter]) === JSON.stringify(target.userId ?? target.userIds)),
  );
  const everybody = cases.some((each) => each.target.all);
  const to = !target ? "To everybody." : `To ${code(target)}${everybody ? "; without it, to everybody" : ""}.`;
  const richest = (type) => cases.filter(({ event }) => event === type).reduce((best, each) => (JSON.stringify(each.data).length > JSON.stringify(best.data).length ? each : best));
  const examples = [...new Set(cases.map(({ event }) => event))].map((type) => {
    const { event, data } = richest(type);
    return `Sends ${code(event)}:\n\n\`\`\`json\n${JSON.stringify({ ...data, timestamp: 1767225600000 })}\n\`\`\``;
  });
  const names = [`${code(`${name}(${parameters.join(", ")})`)}, in Rust ${code(snake(name))},`, `over HTTP ${code(`POST /api/sse/notify/${cases[0].path}`)}. ${to}`];
  return [`### ${name}`, names.join("\n"), ...examples].join("\n\n");
}
const helpers = () => Object.keys(fixtures.parameters).map(helper).join("\n\n");

// ---- limits

/** What each limit is of, what happens beyond it, and which setting changes it. */
const LIMITS = {
  typeBytes: ["type of an event", "422 `invalid` at `#/event`"],
  publisherIdBytes: ["a publisher's own `id`", "422 `invalid` at `#/id`"],
  userIdBytes: ["name of a user", "422 `invalid` at `#/query/userId`, `#/to/userId` or `#/path/userId`"],
  sessionIdBytes: ["name of a session", "422 `invalid` at `#/query/sessionId` or `#/to/sessionId`"],
  topicBytes: ["name of a topic", "422 `invalid` at `#/query/topic` or `#/to/topic`"],
  metadataNameBytes: ["name of a metadata pair", "422 `invalid` at the parameter, or at `#/to/filter/metadata`"],
  metadataValueBytes: ["value of a metadata pair", "422 `invalid` at the parameter, or below `#/to/filter/metadata`"],
  metadataPairs: ["metadata pairs of a connection, and of a filter", "422 `invalid` at `#/query/metadata` or `#/to/filter/metadata`"],
  topics: ["topics of a connection", "422 `invalid` at `#/query/topic`"],
  userIds: ["users in one `userIds`", "422 `invalid` at `#/to/userIds`; a topic has no such limit"],
  dataBytes: ["`data` of an event, as JSON without white space", "413 `too-large` at `#/data`: send a reference to the thing instead"],
  bodyBytes: ["body of a request", "413 `too-large`, without a pointer"],
  batchEvents: ["events in one publish", "413 `too-large` at `#`: send several requests"],
  urlBytes: ["path and query of a request", "414 `uri-too-long`"],
  headBytes: ["head of a request, all lines together", "431 without a body, and the connection is closed"],
  cursorBytes: ["a cursor that is looked at", "no refusal: the client is told `reset`"],
  firstByteMs: ["silence of a new connection", "it is closed without an answer"],
  headMs: ["time for the whole head of a request", "it is closed without an answer"],
  memoryLogBytes: ["history in memory", "the oldest events are dropped: `gap` for whom they were", "`--history-size`, `history_bytes`"],
  memoryLogMs: ["age of the history in memory", "as before", "`--history-age`, `history_age`"],
  diskLogBytes: ["history on disk, with `--data-dir`", "as before", "`--disk-size`, `disk_bytes`"],
  diskLogMs: ["age of the history on disk", "as before", "`--disk-age`, `disk_age`"],
  idempotencyKeys: ["idempotency keys that are remembered", "the oldest are forgotten: a repeat is published again", "`idempotency_keys`"],
  drainMs: ["time over which streams are ended at a stop", "at its end all are ended", "`--drain`"],
  streamLifetimeMs: ["life of a stream", "it ends with `$closing`, reason `lifetime`, and its client reconnects", "`--lifetime`, `lifetime`"],
};

function amount(name, value) {
  if (name.endsWith("Bytes")) return bytes(value);
  if (name.endsWith("Ms")) return value ? time(value) : "none";
  return count(value);
}
function count(value) {
  return value.toLocaleString("en");
}
function bytes(value) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) if (value >= size && value % size === 0) return `${value / size} ${unit}`;
  return `${value} B`;
}
function time(value) {
  for (const [unit, size] of [["d", 86_400_000], ["min", 60_000], ["s", 1_000]]) if (value >= size && value % size === 0) return `${value / size} ${unit}`;
  return `${value} ms`;
}

function limits() {
  const values = readJson("fixtures/limits.json");
  const rows = told(Object.keys(values), LIMITS, "limit of fixtures/limits.json");
  return table(["limit", "", "of", "beyond it", "setting"], rows.map(([name, [of, beyond, setting = ""]]) => [code(name), amount(name, values[name]), of, beyond, setting]));
}

/** Limits that are constants of the code: file, name, how the number is written, what it is of, what happens beyond it. */
const CONSTANTS = [
  ["crates/fanfare-core/src/limits.rs", "LAST_MAX", count, "N in `last:N`", "422 `invalid` at `#/query/lastEventId`"],
  ["crates/fanfare-core/src/limits.rs", "RETRY_MAX", time, "`retry` of an event", "422 `invalid` at `#/retry`"],
  ["crates/fanfare/src/http/publish.rs", "IDEMPOTENCY_KEY_MAX", bytes, "an `Idempotency-Key`", "400 `malformed` at `#/header/Idempotency-Key`"],
  ["crates/fanfare-core/src/limits.rs", "IDEMPOTENCY_AGE_MS", time, "life of an idempotency key; the age of the history, if that is shorter", "it is forgotten: a repeat is published again"],
  ["crates/fanfare-core/src/limits.rs", "IDEMPOTENCY_BYTES", bytes, "idempotency keys with their answers", "the oldest are forgotten"],
  ["crates/fanfare-core/src/limits.rs", "BATCH_BYTES", bytes, "one publish in Rust, overheads included", "`SendError::TooLarge`"],
  ["crates/fanfare/src/http/mod.rs", "BODY_TIMEOUT", (seconds) => time(seconds * 1_000), "time for the body of a request", "408 `timeout`"],
  ["crates/fanfare/src/http/reads.rs", "PAGE_DEFAULT", count, "events or connections in a page, without `limit`", "the next page has the rest"],
  ["crates/fanfare/src/http/reads.rs", "PAGE_MAX", count, "`limit`", "400 `malformed` at `#/query/limit`"],
  ["crates/fanfare/src/http/reads.rs", "PAGE_BYTES", bytes, "events in one page of history, behind the first", "the next page has the rest"],
  ["crates/fanfare/src/http/publish.rs", "FAULTS_MAX", count, "faults named in one answer, give or take one event's", "the others are named once these are mended"],
  ["crates/fanfare/src/manager.rs", "STATS_USERS_MAX", count, "users in `clientsByUser`", "`clientsByUserTruncated` is true; ask with `userId`"],
  ["crates/fanfare-core/src/limits.rs", "ATTACH_TIMEOUT_MS", time, "time between `create_connection` and its response", "it is ended, reason `unattached`"],
  ["crates/fanfare/src/serve.rs", "REQUESTS_MAX", count, "requests for streams inside the application at once", "the next wait for their turn"],
];

/** The same of the TypeScript client and SDK; the option that changes it comes last. */
const TYPESCRIPT = [
  ["packages/fanfare/src/client/stream.ts", "MAX_EVENT_SIZE", count, "UTF-16 units of one event", "the connection ends for good, `too-large`", "maxEventSize"],
  ["packages/fanfare/src/client/client.ts", "CONNECT_TIMEOUT", time, "until the answer begins", "`timeout`, and the next attempt", "connectTimeout"],
  ["packages/fanfare/src/client/backoff.ts", "INTERVAL", time, "what delays grow from, where the server has not said", "", "reconnectInterval"],
  ["packages/fanfare/src/client/backoff.ts", "DELAY_MAX", time, "a delay before the next attempt", "no longer, unless the server asks for more"],
  ["packages/fanfare/src/client/backoff.ts", "STABLE_AFTER", time, "open, and the count of failures begins anew", ""],
  ["packages/fanfare/src/server/manager.ts", "MAX_QUEUE", count, "events that wait in the SDK", "`QueueFullError`", "maxQueue"],
  ["packages/fanfare/src/server/hub.ts", "TIMEOUT", time, "one request of the SDK", "the next attempt", "timeout"],
  ["packages/fanfare/src/server/hub.ts", "DEADLINE", time, "all attempts of a send together", "`UnavailableError`", "deadline"],
];

/** `10_000`, `64 << 20`, `256 * 1024`, `Duration::from_secs(30)`. */
function value(path, name) {
  const [[text]] = matches(path, new RegExp(`const ${name}(?:: [\\w:]+)? = (?:Duration::from_secs\\()?([\\d_ *<]+)\\)?;`, "g"));
  return text.replaceAll("_", "").split(/ (?=<<|\*)/).reduce((total, part) => {
    const [, operator, number] = /^(<<|\*)? ?(\d+)$/.exec(part);
    return operator === "<<" ? total * 2 ** Number(number) : operator === "*" ? total * Number(number) : Number(number);
  }, 0);
}

const typescript = () =>
  table(["default", "of", "beyond it", "option"], TYPESCRIPT.map(([path, name, write, of, beyond, option]) => [write(value(path, name)), of, beyond, option ? code(option) : ""]));

const constants = () => table(["", "of", "beyond it"], CONSTANTS.map(([path, name, write, of, beyond]) => [write(value(path, name)), of, beyond]));

// ---- problems

/** Cause and remedy of each type. */
const PROBLEMS = {
  malformed: ["The query string, a header or the JSON cannot be read, a parameter is given twice or has no value, a `sse.…` option is not known.", "`errors` points at the place. Sent again as it is, it is refused again."],
  unauthorized: ["No token, or not the server's; in the library: the `authorize` hook said so.", "Send `Authorization: Bearer …`. `www-authenticate` says which scheme."],
  forbidden: ["The `authorize` hook said no, or the router has none and only subscribing is open.", "In the application: `router(manager).authorize(…)`, or `.allow_all()`."],
  "not-found": ["No such path, helper or connection. A connection's `clientId` dies with it.", "For a path: look at the base path. For a client: it is gone, which is what `DELETE` wanted."],
  "method-not-allowed": ["The path has no such method.", "The `allow` header says which it has."],
  conflict: ["`expectLastId` is not the id of the topic's last event; nothing was published.", "Read `lastId`, look at what came, decide again. Without `lastId`: publish once without a condition."],
  timeout: ["The body took longer than 30 s to arrive.", "Send it again, under its `Idempotency-Key`."],
  "too-large": ["Body, data or batch beyond a [limit](limits.md).", "Send less at once; send a reference to large things."],
  "uri-too-long": ["Path and query have more than 8 KiB.", "Fewer topics, less metadata."],
  "unsupported-media-type": ["`content-type` is not `application/json` (for a publish also `application/x-ndjson`), or the body is compressed.", "Name the type, send the body as it is. With `curl -d`, say `-H 'content-type: application/json'`."],
  invalid: ["The JSON is read, and something in it is not allowed: a key that is not known, a wrong type, a name that is too long or has control characters, a reserved type.", "`errors` has one entry for each fault, with a pointer."],
  "idempotency-key-reused": ["The same `Idempotency-Key` came with another path, content type or body.", "A new key for a new event; the same key only for the very same request."],
  "log-read-only": ["The disk failed. What was in flight may be kept or not.", "Look at the disk and at the server's log, start the server again, repeat under the idempotency key."],
  "disk-full": ["The disk, or the file size limit, has no room; the event is not kept and was not sent.", "Make room; the next publish is tried again by itself."],
  unavailable: ["The server closes, all places for clients are taken, or too many publishes wait for the disk.", "Wait as long as `retry-after` says, and send it again under its `Idempotency-Key`."],
};

const STATUS = {
  BAD_REQUEST: 400, UNAUTHORIZED: 401, FORBIDDEN: 403, NOT_FOUND: 404, METHOD_NOT_ALLOWED: 405, REQUEST_TIMEOUT: 408, CONFLICT: 409,
  PAYLOAD_TOO_LARGE: 413, URI_TOO_LONG: 414, UNSUPPORTED_MEDIA_TYPE: 415, UNPROCESSABLE_ENTITY: 422, TOO_MANY_REQUESTS: 429,
  SERVICE_UNAVAILABLE: 503, INSUFFICIENT_STORAGE: 507,
};

function problems() {
  const path = "crates/fanfare/src/http/problem.rs";
  const found = matches(path, /^\s+\w+ ([A-Z_]+) "([a-z-]+)" "([^"]+)";$/gm, block(path, "\nproblems! {"));
  const declared = block(path, "\nproblems! {").split("\n").filter((line) => line.trim()).length;
  if (found.length !== declared) throw new Error(`docs/generate.mjs: ${path} declares ${declared} problems, and ${found.length} were read`);
  const bySlug = new Map(found.map(([status, slug, title]) => [slug, { status: STATUS[status] ?? status, title }]));
  const rows = told([...bySlug.keys()], PROBLEMS, "problem type");
  rows.sort(([a], [b]) => bySlug.get(a).status - bySlug.get(b).status);
  return table(["status", "type", "cause", "remedy"], rows.map(([slug, [cause, remedy]]) => [`${bySlug.get(slug).status}`, code(slug), cause, remedy]));
}

// ---- pages

const PARTS = { endpoints, helpers, limits, constants, typescript, problems };
const PAGES = ["http", "events", "limits", "errors"].map((name) => `docs/reference/${name}.md`);
const used = new Set();

function regenerated(page) {
  return read(page).replace(/(<!-- generated: ([\w-]+)[^>]*-->\n)[\s\S]*?(<!-- end -->)/g, (_, start, name, end) => {
    if (!PARTS[name]) throw new Error(`${page}: there is no generated part ${JSON.stringify(name)}; there are ${Object.keys(PARTS).join(", ")}`);
    used.add(name);
    return `${start}\n${PARTS[name]()}\n\n${end}`;
  });
}

const checking = process.argv.includes("--check");
const texts = {};
for (const page of PAGES) {
  const text = (texts[page] = regenerated(page));
  if (text === read(page)) continue;
  if (checking) complaints.push(`${page} is stale: run \`node docs/generate.mjs\` and commit what it writes`);
  else writeFileSync(fileURLToPath(new URL(page, root)), text);
}
for (const part of Object.keys(PARTS)) if (!used.has(part)) complaints.push(`no page has the generated part ${part}`);

// ---- what has to be there

/** Every one of `terms` is named on the page, as code. */
function named(page, what, terms, text = texts[page]) {
  for (const term of new Set(terms)) if (!text.includes(code(term))) complaints.push(`${page} does not name the ${what} ${code(term)}`);
}
const [httpPage, eventsPage, , errorsPage] = PAGES;
const first = (found) => found.map(([name]) => name);
const enumOf = (path, name) => first(matches(path, /^    ([A-Z]\w+)(?: \{|\(.*\))?,?$/gm, block(path, `pub enum ${name} {`)));

for (const { name, parameters } of operations) {
  const section = texts[httpPage].split(/^(?=## )/m).find((section) => section.startsWith(`## ${code(name)}`));
  if (section) named(`${httpPage}, section ${name},`, "parameter", parameters, section);
  else complaints.push(`${httpPage} has no section ## ${code(name)}`);
}
const routes = first(matches("crates/fanfare/src/http/mod.rs", /\.route\(&path\("([^"]*)"\)/g)).map((path) => `/api/sse${path}`);
const plain = (path) => path.replace(/\{\w+\}/g, "{}");
for (const route of routes) if (route !== "/api/sse/openapi.json" && !operations.some(({ path }) => plain(path) === plain(route.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())))) complaints.push(`crates/fanfare/assets/openapi.json has no path ${route}, which the router serves`);
named(httpPage, "path", ["/api/sse/openapi.json", "/sse-demo", ...first(matches("crates/fanfare-server/src/serve.rs", /\.route\("([^"]+)"/g))]);
named(httpPage, "key of an event", Object.keys(openapi.components.schemas.Event.properties));
named(httpPage, "key of `to`", Object.keys(openapi.components.schemas.Target.properties));
named(httpPage, "key of a receipt", Object.keys(openapi.components.schemas.Receipt.properties));
named(errorsPage, "key of a problem", Object.keys(openapi.components.schemas.Problem.properties));

const helpersOfApi = openapi.paths["/api/sse/notify/{helper}"].post.parameters[0].schema.enum;
const helpersOfFixtures = new Set(fixtures.cases.map(({ path }) => path));
for (const path of helpersOfApi) if (!helpersOfFixtures.has(path)) complaints.push(`fixtures/helpers.json has no case of the helper ${path}`);
named(eventsPage, "event type", fixtures.cases.flatMap(({ event }) => event ?? []));
named(eventsPage, "word", matches("crates/fanfare/src/helpers.rs", / [A-Z]\w+ = "(\w+)"/g).flat());
const control = "crates/fanfare-core/src/control.rs";
named(eventsPage, "control type", first(matches(control, /control_frame\("([^"]+)"/g)));
named(eventsPage, "reason", first(matches(control, /Self::\w+ => "([a-z-]+)"/g)));
named(eventsPage, "verdict", first(matches("crates/fanfare-core/src/hub/connect.rs", /Self::\w+ => "([a-z]+)"/g)));

const error = "crates/fanfare/src/error.rs";
for (const name of ["SendError", "ConnectError", "ConfigError", "StorageError"]) named(errorsPage, "error", enumOf(error, name).map((variant) => `${name}::${variant}`));
const ofClient = "crates/fanfare/src/client/error.rs";
for (const name of ["RequestError", "SubscribeError"]) named(errorsPage, "error", enumOf(ofClient, name).map((variant) => `${name}::${variant}`));
named(errorsPage, "error", enumOf("crates/fanfare-core/src/disk/outcome.rs", "OpenError"));
named(errorsPage, "kind of SSEError", first(matches("packages/fanfare/src/client/error.ts", /^  \| "([a-z-]+)"/gm)));
named(errorsPage, "class", first(matches("packages/fanfare/src/server/errors.ts", /^export class (\w+)/gm)));

if (complaints.length) {
  console.error(complaints.map((complaint) => `- ${complaint}`).join("\n"));
  process.exit(1);
}
console.log(checking ? "docs/reference is complete and up to date" : "docs/reference is written");
