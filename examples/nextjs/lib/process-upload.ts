import { setTimeout as sleep } from "node:timers/promises";
import { notifyJobCompletion, updateOperationProgress } from "fanfare/server";

interface UploadJob {
  userId: string;
  fileId: string;
  name: string;
}

export async function processUpload({ userId, fileId, name }: UploadJob) {
  try {
    for (let i = 0; i <= 100; i += 10) {
      await updateOperationProgress(fileId, userId, i, `Processing ${name}… ${i}%`);
      await processChunk(name, i);
    }
    await notifyJobCompletion(fileId, userId, "success", { fileUrl: `/uploads/${name}` });
  } catch (error) {
    await notifyJobCompletion(fileId, userId, "error", { reason: String(error) });
  }
}

/** Stands in for the work. */
async function processChunk(name: string, progress: number) {
  await sleep(150);
  if (name.startsWith("broken") && progress === 40) throw new Error("the file is broken");
}
