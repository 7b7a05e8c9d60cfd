import { setTimeout as sleep } from "node:timers/promises";
import { notifyJobCompletion, updateOperationProgress } from "fanfare/server";

export interface UploadJob {
  userId: string;
  fileId: string;
  name: string;
}

export async function processUpload({ userId, fileId, name }: UploadJob, attempt: number) {
  // What tells the user is not awaited: it is sent in this order and repeated if need be, and a hub that is away neither holds
  // up the work nor fails it. What could not be told goes to `onError` of the SDK, which prints it.
  for (let i = 0; i <= 100; i += 10) {
    updateOperationProgress(fileId, userId, i, `Processing... ${i}%`);
    await processChunk(name, i, attempt);
  }
  notifyJobCompletion(fileId, userId, "success", { fileUrl: `/uploads/${name}` });
}

/** Stands in for the work. A name with `flaky` fails at the first attempt, one with `broken` at each. */
async function processChunk(name: string, progress: number, attempt: number) {
  await sleep(50);
  if (progress !== 40) return;
  if (name.includes("broken") || (name.includes("flaky") && attempt === 1)) throw new Error("the file is broken");
}
