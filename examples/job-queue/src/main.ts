// Takes jobs over HTTP, answers at once, and tells each job's user over the stream how it goes.

import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { getSSEManager, notifyJobCompletion, updateOperationProgress } from "fanfare/server";
import { processUpload, type UploadJob } from "./process-upload.js";
import { Queue } from "./queue.js";

/** Bytes of a request. */
const BODY_MAX = 16 * 1024;

const queue = new Queue<UploadJob>({
  run: processUpload,
  onRetry: ({ fileId, userId }, error, attempt) =>
    updateOperationProgress(fileId, userId, 0, `Trying again: ${error}`, { attempt }),
  onFailed: ({ fileId, userId }, error) => notifyJobCompletion(fileId, userId, "error", { reason: String(error) }),
  attempts: 3,
  backoff: 500,
  concurrency: 2,
  maxWaiting: 1_000,
});

const server = createServer(async (request, response) => {
  const answer = (status: number, body: unknown) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  if (request.method !== "POST" || request.url !== "/uploads") return answer(404, { error: "POST /uploads takes jobs" });
  // The user comes from the body, so this must be open to your own services only.
  const { userId, name } = Object(await read(request).catch(() => null));
  if (typeof userId !== "string" || typeof name !== "string") return answer(422, { error: "userId and name are required, as JSON of 16 KiB at most" });

  const fileId = randomUUID();
  if (!queue.add({ userId, fileId, name })) return answer(503, { error: "there is too much to do: try again later" });
  answer(202, { fileId });
});

server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => {
  console.log(`Jobs at http://127.0.0.1:${(server.address() as AddressInfo).port}/uploads`);
});

/** The request's JSON. */
async function read(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const part of request.setEncoding("utf8")) {
    text += part;
    if (text.length > BODY_MAX) throw new Error("the body is too large");
  }
  return JSON.parse(text);
}

// Jobs that were taken are finished, and what they tell is sent, before the process ends.
process.once("SIGTERM", async () => {
  server.close();
  await queue.close();
  await getSSEManager().destroy();
});
