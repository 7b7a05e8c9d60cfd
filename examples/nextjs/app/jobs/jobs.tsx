"use client";

import { type JobErrorPayload, type JobSuccessPayload, useSSE, useSSEEvent } from "fanfare/react";
import { useState } from "react";
import { Status } from "../status";
import { startUpload } from "./actions";

interface Job {
  progress: number;
  text: string;
}

/** The user and the page come from the `SSEProvider` around it. */
export function Jobs() {
  const [jobs, setJobs] = useState<Record<string, Job>>({});
  const { isConnected } = useSSE();

  const change = (id: string, job: Partial<Job>) =>
    setJobs((jobs) => ({ ...jobs, [id]: { ...(jobs[id] ?? { progress: 0, text: "" }), ...job } }));

  useSSEEvent("progress", ({ data }) => change(data.operationId, { progress: data.progress, text: data.message ?? "" }));
  useSSEEvent<JobSuccessPayload>("success", ({ data: { data } }) =>
    change(data.jobId, { text: `Done: ${data.details?.fileUrl}` }),
  );
  // An event that the server named `error`. A connection that fails is in `error` of `useSSE`.
  useSSEEvent<JobErrorPayload>("error", ({ data: { context } }) =>
    change(context.jobId, { text: `Failed: ${context.details?.reason}` }),
  );

  return (
    <>
      <header>
        <h1>Jobs</h1>
        <Status isConnected={isConnected} />
      </header>
      <form action={startUpload}>
        <button name="name" value="report.pdf">
          Process a file
        </button>
        <button name="name" value="broken.pdf">
          Process a broken file
        </button>
      </form>
      <section>
        {Object.entries(jobs).map(([id, { progress, text }]) => (
          <div className="job" key={id}>
            <progress max={100} value={progress} />
            <span>{text}</span>
          </div>
        ))}
      </section>
    </>
  );
}
