// A queue in memory: jobs wait their turn, a few run at a time, one that fails is tried again. Yours may be BullMQ, SQS or a
// table of your database; what tells the user stays the same.

import { setTimeout as sleep } from "node:timers/promises";

export interface QueueOptions<Job> {
  run: (job: Job, attempt: number) => Promise<void>;
  /** Told of an attempt that failed and is followed by another. */
  onRetry: (job: Job, error: unknown, attempt: number) => void;
  /** Told of a job that failed for good. */
  onFailed: (job: Job, error: unknown) => void;
  /** Attempts for each job. */
  attempts: number;
  /** Milliseconds before the second attempt, doubled before each further one. */
  backoff: number;
  /** Jobs that run at a time. */
  concurrency: number;
  /** Jobs that may wait. */
  maxWaiting: number;
}

export class Queue<Job> {
  readonly #options: QueueOptions<Job>;
  readonly #waiting: Job[] = [];
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  constructor(options: QueueOptions<Job>) {
    this.#options = options;
  }

  /** False if the queue is full or closed. */
  add(job: Job): boolean {
    if (this.#closed || this.#waiting.length >= this.#options.maxWaiting) return false;
    this.#waiting.push(job);
    this.#next();
    return true;
  }

  /** Takes no more jobs, and waits for those it has. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #next(): void {
    while (this.#running.size < this.#options.concurrency) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      const running = this.#run(job).finally(() => {
        this.#running.delete(running);
        this.#next();
      });
      this.#running.add(running);
    }
  }

  async #run(job: Job): Promise<void> {
    const { run, onRetry, onFailed, attempts, backoff } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await run(job, attempt);
      } catch (error) {
        if (attempt === attempts) return onFailed(job, error);
        onRetry(job, error, attempt);
        await sleep(backoff * 2 ** (attempt - 1));
      }
    }
  }
}
