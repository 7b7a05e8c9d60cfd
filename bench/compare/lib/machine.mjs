// What is said about the machine and the sources, beside the figures.

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { firstLine } from "./servers.mjs";

export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** The version of a crate in Cargo.lock. */
export function lockedVersion(crate) {
  const found = readFileSync(`${ROOT}Cargo.lock`, "utf8").match(new RegExp(`^name = "${crate}"\\nversion = "(.+)"$`, "m"));
  if (!found) throw new Error(`Cargo.lock has no ${crate}`);
  return found[1];
}

/** The commit, and whether something was changed since. */
export function commit() {
  try {
    const changed = firstLine("git", ["-C", ROOT, "status", "--porcelain", "--untracked-files=no"]);
    return `commit ${firstLine("git", ["-C", ROOT, "rev-parse", "--short=12", "HEAD"])}${changed ? " and changes" : ""}`;
  } catch {
    return "no commit";
  }
}

/** Servers on the first core, the bench on up to three others. With one core, everything shares it. */
export function cores() {
  const count = availableParallelism();
  if (count < 2) return { server: "0", bench: "0" };
  return { server: "0", bench: count === 2 ? "1" : `1-${Math.min(count - 1, 3)}` };
}
