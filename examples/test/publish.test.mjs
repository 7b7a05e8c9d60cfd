// Publishing from other languages, and from a job queue: each example runs against a hub of its own, and a real stream shows
// what it published. Between them stands a proxy that fails as networks do.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startServer, until } from "../../tests/browser/support.mjs";

const TOKEN = "a-token-for-the-examples";
const authorization = `Bearer ${TOKEN}`;
const DEADLINE = 60_000;

/** What each of them publishes, as the stream of user123 with the topic `import` shows it. */
const PUBLISHED = [
  ["announcement", { message: "New feature released!" }],
  ["notification", { title: "Welcome!" }],
  ["progress", { operationId: "upload_789", progress: 75, message: "Processing..." }],
  ["row", { number: 1 }],
  ["row", { number: 2 }],
  ["row", { number: 3 }],
];

const FOLDER = fileURLToPath(new URL("../publish/", import.meta.url));

/** `twice`: a program that takes the example, and publishes one event two times under one key. */
const LANGUAGES = [
  {
    file: "publish.py",
    command: "python3",
    needs: ["-c", "import urllib.request"],
    packages: "python3",
    twice: [
      "-c",
      `import sys; sys.path.insert(0, ${JSON.stringify(FOLDER)}); from publish import publish
for _ in range(2): print(publish("order_paid", 17, to={"topic": "paid"}, key="order-17-paid"))`,
    ],
  },
  {
    file: "publish.php",
    command: "php",
    needs: ["-r", "exit(extension_loaded('curl') ? 0 : 1);"],
    packages: "php-cli php-curl",
    twice: [
      "-r",
      `require ${JSON.stringify(`${FOLDER}publish.php`)};
for ($i = 0; $i < 2; $i++) echo json_encode($fanfare->publish('order_paid', 17, ['topic' => 'paid'], key: 'order-17-paid')), "\n";`,
    ],
  },
  {
    file: "publish.sh",
    command: "sh",
    needs: ["-c", "curl --version && awk 1 /dev/null"],
    packages: "curl",
    twice: [
      "-c",
      `. ${JSON.stringify(`${FOLDER}publish.sh`)}
for i in 1 2; do echo '{"event":"order_paid","data":17,"to":{"topic":"paid"}}' | post /publish application/json order-17-paid; done`,
    ],
  },
];

for (const { file, command, needs, packages, twice } of LANGUAGES) {
  describe(file, () => {
    test(`the machine has ${packages}`, () => installed(command, needs, packages));

    test("publishes four ways, and each event comes to whom it is for", async (t) => {
      const hub = await startServer(t, "--token", TOKEN);
      const [member, stranger] = await Promise.all([
        subscribe(t, hub, "userId=user123&topic=import"),
        subscribe(t, hub, "userId=somebody-else"),
      ]);
      const { code, stdout, stderr } = await run(command, file, hub.origin);
      assert.equal(code, 0, stderr);
      const lines = stdout.trim().split("\n");
      assert.equal(lines.length, 4, stdout);
      assert.match(lines[0], /["']clients["']: ?2\b/);
      for (const line of lines.slice(1)) assert.match(line, /["']clients["']: ?1\b/);

      await until("the last row", () => member.heard.length >= PUBLISHED.length);
      assert.deepEqual(withoutTimes(member.heard), PUBLISHED);
      assert.deepEqual(stranger.heard, PUBLISHED.slice(0, 1));
    });

    test("repeats what got no answer or 503, under its key, and nothing is published twice", async (t) => {
      const hub = await startServer(t, "--token", TOKEN);
      const member = await subscribe(t, hub, "userId=user123&topic=import");
      // The first publish is done and its answer lost; the second is refused by something on the way.
      const proxy = await startFailing(t, hub, ["lost", "passed", "503", "passed", "cut", "passed"]);
      const { code, stdout, stderr } = await run(command, file, proxy.origin);
      assert.equal(code, 0, stderr);
      assert.equal(stdout.trim().split("\n").length, 4, stdout);
      const keys = proxy.requests.map(({ key }) => key);
      assert.equal(keys.length, 7);
      for (const [first, again] of [[0, 1], [2, 3], [4, 5]]) {
        assert.ok(keys[first]);
        assert.equal(keys[first], keys[again]);
        assert.equal(proxy.requests[first].body, proxy.requests[again].body);
      }
      assert.equal(new Set(keys).size, 4, "each publish has a key of its own");

      await hub.request("POST", "/publish", { event: "end", data: null }, { authorization });
      await until("the end", () => member.heard.some(([event]) => event === "end"));
      assert.deepEqual(withoutTimes(member.heard).slice(0, -1), PUBLISHED);
    });

    test("publishes once what is called twice under one key", async (t) => {
      const hub = await startServer(t, "--token", TOKEN);
      const { code, stdout, stderr } = await execute(command, twice, { ...environment(hub.origin), PYTHONDONTWRITEBYTECODE: "1" });
      assert.equal(code, 0, stderr);
      const [first, again] = stdout.trim().split("\n").slice(-2);
      assert.match(first, /clients/);
      assert.equal(first, again);
      const { events } = await hub.request("GET", "/events?topic=paid&lastEventId=earliest", undefined, { authorization });
      assert.equal(events.filter(({ event }) => event === "order_paid").length, 1);
    });

    test("gives up after its deadline, each attempt later than the one before", async (t) => {
      const proxy = await startFailing(t, undefined, []);
      const started = performance.now();
      const { code, stderr } = await run(command, file, proxy.origin, { FANFARE_DEADLINE: "4" });
      assert.ok(performance.now() - started < 15_000);
      assert.equal(code, 1);
      assert.match(stderr, /answered 503: .*not now/);
      const times = proxy.requests.map(({ time }) => time);
      assert.ok(times.length >= 3, `${times.length} attempts`);
      assert.equal(new Set(proxy.requests.map(({ key }) => key)).size, 1);
      for (const [index, time] of times.slice(1).entries()) assert.ok(time - times[index] >= 90, `${times}`);
    });

    test("does not repeat what cannot pass, and shows what the hub says of it", async (t) => {
      const hub = await startServer(t, "--token", "another-token-than-theirs");
      const proxy = await startFailing(t, hub, Array(20).fill("passed"));
      const { code, stdout, stderr } = await run(command, file, proxy.origin);
      assert.equal(code, 1);
      assert.equal(stdout, "");
      assert.match(stderr, /answered 401: .*the bearer token is not the server's/);
      assert.equal(proxy.requests.length, 1);
    });
  });
}

describe("job-queue", () => {
  test("tells progress, tries again what failed, and tells what failed for good", async (t) => {
    const hub = await startServer(t, "--token", TOKEN);
    const user = await subscribe(t, hub, "userId=user123");
    const stranger = await subscribe(t, hub, "userId=somebody-else");
    const worker = await startWorker(t, hub);

    const good = await worker.add({ userId: "user123", name: "photo.jpg" });
    const flaky = await worker.add({ userId: "user123", name: "flaky.jpg" });
    const broken = await worker.add({ userId: "user123", name: "broken.jpg" });
    const ended = () => user.heard.filter(([event]) => event !== "progress");
    await until("all three ended", () => ended().length === 3);

    const story = (id) =>
      user.heard.filter(([, data]) => [data.operationId, data.data?.jobId, data.context?.jobId].includes(id));
    const progress = (id) => story(id).filter(([event]) => event === "progress").map(([, data]) => data.progress);
    const whole = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
    const half = [0, 10, 20, 30, 40];
    assert.deepEqual(progress(good), whole);
    assert.deepEqual(progress(flaky), [...half, 0, ...whole]);
    assert.deepEqual(progress(broken), [...half, 0, ...half, 0, ...half]);
    const again = story(broken).filter(([, { message }]) => message?.startsWith("Trying again"));
    assert.deepEqual(
      again.map(([, { message, metadata }]) => [message, metadata]),
      [1, 2].map((attempt) => ["Trying again: Error: the file is broken", { attempt }]),
    );

    const success = (jobId, name) => ["success", { data: { jobId, result: "success", details: { fileUrl: `/uploads/${name}` } } }];
    const last = (id) => withoutTimes(story(id)).at(-1).map((part) => (typeof part === "object" ? omit(part, "message") : part));
    assert.deepEqual(last(good), success(good, "photo.jpg"));
    assert.deepEqual(last(flaky), success(flaky, "flaky.jpg"));
    const [event, { context }] = last(broken);
    assert.equal(event, "error");
    assert.deepEqual(context, { jobId: broken, result: "error", details: { reason: "Error: the file is broken" } });
    assert.deepEqual(stranger.heard, []);
  });

  test("finishes what it took when it is told to end", async (t) => {
    const hub = await startServer(t, "--token", TOKEN);
    const user = await subscribe(t, hub, "userId=user123");
    const worker = await startWorker(t, hub);
    // More than run at a time.
    const ids = [];
    for (const name of ["a.jpg", "b.jpg", "c.jpg"]) ids.push(await worker.add({ userId: "user123", name }));
    const ended = once(worker.process, "exit");
    worker.process.kill("SIGTERM");
    assert.deepEqual(await ended, [0, null], worker.said());
    await until("all are done", () => user.heard.filter(([event]) => event === "success").length === 3);
    assert.deepEqual(user.heard.flatMap(([event, { data }]) => (event === "success" ? data.jobId : [])).sort(), ids.sort());
  });

  test("refuses what is no job", async (t) => {
    const worker = await startWorker(t, await startServer(t, "--token", TOKEN));
    for (const body of ["", "{", "null", '{"userId":"user123"}', `{"userId":"user123","name":"${"x".repeat(20_000)}"}`]) {
      const answer = await fetch(worker.url, { method: "POST", body });
      assert.equal(answer.status, 422);
    }
    assert.equal((await fetch(worker.url)).status, 404);
  });
});

/** What an example needs is asked for by name: a check that was left out would pass unseen. */
async function installed(command, needs, packages) {
  const { code } = await execute(command, needs);
  assert.equal(code, 0, `${command} or what it needs is missing: apt-get install ${packages}`);
}

const environment = (url) => ({ FANFARE_URL: url, FANFARE_TOKEN: TOKEN });

const run = (command, file, url, env = {}) => execute(command, [`${FOLDER}${file}`], { ...environment(url), ...env });

/** Runs a program to its end. */
async function execute(command, args, env = {}) {
  try {
    return { code: 0, ...(await promisify(execFile)(command, args, { env: { ...process.env, ...env }, timeout: DEADLINE })) };
  } catch (error) {
    return { code: error.code ?? error.signal, stdout: error.stdout, stderr: error.stderr };
  }
}

/** The worker of the example, compiled; it ends with the test. */
async function startWorker(t, hub) {
  const directory = fileURLToPath(new URL("../job-queue", import.meta.url));
  const built = await execute("npm", ["run", "--silent", "build", "--prefix", directory]);
  assert.equal(built.code, 0, built.stdout + built.stderr);
  const child = spawn(process.execPath, ["dist/main.js"], {
    cwd: directory,
    env: { ...process.env, FANFARE_URL: hub.origin, FANFARE_TOKEN: TOKEN, PORT: "0" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
  const [, url] = await until("the worker listens", () => {
    assert.equal(child.exitCode, null, said);
    return said.match(/(http:\S+)/);
  });
  const add = async (job) => {
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(job) });
    assert.equal(answer.status, 202);
    return (await answer.json()).fileId;
  };
  return { process: child, url, add, said: () => said };
}

/** A stream, and the events that it brought: `[type, data]`. It is connected when this returns, and ends with the test. */
async function subscribe(t, hub, query) {
  const abort = new AbortController();
  t.after(() => abort.abort());
  const answer = await fetch(`${hub.origin}/api/sse?${query}`, { signal: abort.signal });
  assert.equal(answer.status, 200);
  const heard = [];
  let connected = false;
  const read = async () => {
    let text = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const frames = (text + part).split("\n\n");
      text = frames.pop();
      for (const frame of frames) {
        const field = (name) => frame.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
        const event = field("event");
        if (event === "connected") connected = true;
        else if (event !== "ping") heard.push([event, JSON.parse(field("data"))]);
      }
    }
  };
  read().catch((error) => {
    if (error.name !== "AbortError") heard.push(["the stream failed", `${error}`]);
  });
  await until("the stream begins", () => connected);
  return { heard };
}

/**
 * A proxy before the hub, and what it was asked: `{key, body, time}`. It does as `plan` says, request by request: `passed`;
 * `lost` is passed on, and the connection ends without the answer; `cut` with half of the answer; `503` is not passed on.
 * Behind the plan everything is passed on; without a hub everything is 503.
 */
async function startFailing(t, hub, plan) {
  const requests = [];
  const proxy = http.createServer(async (request, answer) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    const what = hub ? (plan[requests.length] ?? "passed") : "503";
    requests.push({ key: request.headers["idempotency-key"], body, time: performance.now() });
    if (what === "503") {
      answer.writeHead(503, { "content-type": "application/problem+json" }).end('{"status":503,"detail":"not now"}');
      return;
    }
    const { method, url, headers } = request;
    const passed = http.request(`${hub.origin}${url}`, { method, headers: { ...headers, connection: "close" } });
    passed.end(body);
    const [response] = await once(passed, "response");
    let text = "";
    for await (const part of response.setEncoding("utf8")) text += part;
    if (what === "lost") return request.socket.destroy();
    answer.writeHead(response.statusCode, { ...response.headers, connection: "close" });
    if (what === "passed") return answer.end(text);
    answer.write(text.slice(0, text.length / 2), () => request.socket.end());
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  t.after(() => {
    proxy.close();
    proxy.closeAllConnections();
  });
  return { origin: `http://127.0.0.1:${proxy.address().port}`, requests };
}

/** The helpers' payloads have a time, which is now; it is checked and left out. */
const withoutTimes = (events) =>
  events.map(([event, data]) => {
    if (data?.timestamp === undefined) return [event, data];
    assert.ok(Math.abs(Date.now() - data.timestamp) < DEADLINE);
    return [event, omit(data, "timestamp")];
  });

function omit(object, name) {
  const { [name]: _, ...rest } = object;
  return rest;
}
