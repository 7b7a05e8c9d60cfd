// The book builds without a warning, needs nothing from elsewhere, and no link of it or of the pages beside it leads
// nowhere. Links to the repository's own files on the web are looked up in this checkout; others are listed, not fetched.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { anchors, bookPages, links, REPOSITORY, ROOT } from "./markdown.mjs";

const MDBOOK = process.env.MDBOOK ?? "mdbook";
const book = mkdtempSync(path.join(os.tmpdir(), "fanfare-book-"));
after(() => rmSync(book, { recursive: true, force: true }));

const external = new Set();
const IN_REPOSITORY = new RegExp(`^${REPOSITORY.replaceAll(".", "\\.")}/(?:blob|edit|raw|tree)/main/([^#]*)`);

/** A link out of the book or page, to be listed, or to be looked up in this checkout; what is wrong with it, if anything. */
function outside(href) {
  if (!/^[a-z][a-z+.-]*:/i.test(href)) return undefined;
  const inRepository = href.match(IN_REPOSITORY)?.[1];
  if (inRepository === undefined) external.add(href);
  else if (!existsSync(path.join(ROOT, inRepository))) return ["is not in the repository"];
  return [];
}

test("the book builds without a warning", () => {
  const { error, status, stderr } = spawnSync(MDBOOK, ["build", path.join(ROOT, "docs"), "--dest-dir", book], {
    encoding: "utf8",
  });
  assert.ifError(
    error && new Error(`${MDBOOK} does not run (cargo install mdbook --locked, or set MDBOOK): ${error.message}`),
  );
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stderr, /WARN|ERROR/);
});

test("every page of the documentation is in the book", () => {
  const found = readdirSync(path.join(ROOT, "docs"), { recursive: true }).filter(
    (name) => name.endsWith(".md") && name !== "SUMMARY.md",
  );
  assert.deepEqual(found.map((name) => path.join("docs", name)).sort(), bookPages().sort());
});

test("every link and anchor of the built book leads somewhere, and nothing is loaded from elsewhere", () => {
  const files = readdirSync(book, { recursive: true }).filter((name) => name.endsWith(".html"));
  assert.ok(files.length > 10);
  const html = new Map(files.map((name) => [name, readFileSync(path.join(book, name), "utf8")]));
  const ids = (name) => [...html.get(name).matchAll(/\s(?:id|name)="([^"]*)"/g)].map((match) => match[1]);
  const broken = [];
  for (const [name, text] of html) {
    for (const [tag, , href] of text.matchAll(/<[^>]*?\s(href|src)="([^"]*)"[^>]*>/g)) {
      const problems = outside(href.replaceAll("&amp;", "&")) ?? [];
      if (/^(https?:)?\/\//.test(href) && !tag.startsWith("<a ")) problems.push("is loaded from elsewhere");
      if (!/^[a-z][a-z+.-]*:/i.test(href)) {
        const [file, anchor] = href.split("#");
        const target = file ? path.join(path.dirname(name), decodeURIComponent(file)) : name;
        const page =
          existsSync(path.join(book, target)) && statSync(path.join(book, target)).isDirectory()
            ? path.join(target, "index.html")
            : target;
        if (!existsSync(path.join(book, page))) problems.push("is not there");
        else if (anchor && !ids(page).includes(decodeURIComponent(anchor))) problems.push("has no such anchor");
      }
      broken.push(...problems.map((problem) => `${name}: ${href} ${problem}`));
    }
  }
  assert.deepEqual(broken, []);
});

test("every link and anchor of the pages in the repository leads somewhere", (t) => {
  const beside = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "examples/README.md",
    "packages/fanfare/README.md",
  ];
  const broken = [];
  for (const page of [...beside, ...bookPages()]) {
    for (const href of links(page)) {
      const problems = outside(href) ?? [];
      if (!/^[a-z][a-z+.-]*:/i.test(href)) {
        const [file, anchor] = href.split("#");
        const target = file ? path.join(path.dirname(page), decodeURIComponent(file)) : page;
        if (!existsSync(path.join(ROOT, target))) problems.push("is not there");
        else if (anchor && !(target.endsWith(".md") && anchors(target).includes(decodeURIComponent(anchor))))
          problems.push("has no such anchor");
        else if (page.startsWith("docs/") && !target.startsWith("docs/"))
          problems.push("leads out of the book: write the repository's address");
      }
      broken.push(...problems.map((problem) => `${page}: ${href} ${problem}`));
    }
  }
  assert.deepEqual(broken, []);
  for (const href of [...external].sort()) t.diagnostic(`not fetched: ${href}`);
});
