// The real hub, and servers that stand in for a failing one.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const BINARY =
  process.env["FANFARE_BIN"] ?? fileURLToPath(new URL("../../../../target/debug/fanfare", import.meta.url));

/** A hub of its own for the test, which ends with it; its address. */
export async function startHub(...args: string[]): Promise<string> {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} does not exist: build it (cargo build) or set FANFARE_BIN`);
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FANFARE_")));
  const child: ChildProcess = spawn(BINARY, ["--listen", "127.0.0.1:0", ...args], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  for await (const line of createInterface({ input: child.stderr as NodeJS.ReadableStream })) {
    const { address } = line.startsWith("{") ? JSON.parse(line) : {};
    if (address) {
      child.stderr?.resume();
      return `http://${address}`;
    }
  }
  throw new Error("the hub did not start");
}

/** One request to a stand-in. */
export interface Recorded {
  method: string | undefined;
  url: string | undefined;
  headers: IncomingMessage["headers"];
  body: string;
}

/** A server that answers as the test says, and keeps what it was asked. */
export async function standIn(answer: (response: ServerResponse, request: Recorded, count: number) => void) {
  const requests: Recorded[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      const recorded = { method: request.method, url: request.url, headers: request.headers, body };
      requests.push(recorded);
      answer(response, recorded, requests.length);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

/** Receipts for what a request publishes. */
export function receipts({ body }: Recorded, clients = 1): string {
  const sent = JSON.parse(body);
  const receipt = { id: "1.e.1", clients, durability: "memory" };
  return JSON.stringify(Array.isArray(sent) ? sent.map(() => receipt) : receipt);
}
