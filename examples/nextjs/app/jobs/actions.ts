"use server";

import { randomUUID } from "node:crypto";
import { after } from "next/server";
import { currentUser } from "@/lib/current-user";
import { processUpload } from "@/lib/process-upload";

export async function startUpload(form: FormData) {
  const job = { userId: await currentUser(), fileId: randomUUID(), name: String(form.get("name")) };
  // The browser has its answer at once, and hears of the job over the stream.
  after(() => processUpload(job));
}
