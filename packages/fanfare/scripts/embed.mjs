// Puts the built client into the crate, whose demo page runs it: what visitors try is what they install.
// `--check` only tells whether the crate has the client as it is now.

import { readFileSync, writeFileSync } from "node:fs";

const built = readFileSync(new URL("../dist/fanfare.global.js", import.meta.url), "utf8");
const asset = new URL("../../../crates/fanfare/assets/client.js", import.meta.url);

if (/<\/script|<!--/i.test(built)) throw new Error("the built client cannot stand inside a script element");
if (!process.argv.includes("--check")) writeFileSync(asset, built);
else if (readFileSync(asset, "utf8") !== built) {
  console.error("crates/fanfare/assets/client.js is not what the package builds: run `npm run build` and commit it");
  process.exit(1);
}
