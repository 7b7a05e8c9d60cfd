// What a page of Markdown has: its blocks of code, its links, and the names of its headings.

import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { lexer, walkTokens } from "marked";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const REPOSITORY = "https://github.com/fanfare-sse/fanfare";

const read = (file) => readFileSync(path.join(ROOT, file), "utf8");

function tokens(file, types) {
  const found = [];
  walkTokens(lexer(read(file)), (token) => {
    if (types.includes(token.type)) found.push(token);
  });
  return found;
}

/** The pages that the book's summary names, as paths from the root. */
export function bookPages() {
  return links("docs/SUMMARY.md").map((href) => path.join("docs", href));
}

/** `{language, text, file, name}` for every block of code, in order; the language is the first word behind the fence. */
export function codeBlocks(file) {
  return tokens(file, ["code"]).map(({ lang = "", text }, index) => {
    const language = lang.split(/[\s,]/)[0];
    return { language, text, file, name: `${file}, block ${index + 1}: ${text.split("\n")[0]}` };
  });
}

/** Where links and images of a page lead, as written. */
export function links(file) {
  const inHtml = tokens(file, ["html"]).flatMap(({ raw }) =>
    [...raw.matchAll(/(?:href|src)="([^"]*)"/g)].map((match) => match[1]),
  );
  return [...tokens(file, ["link", "image"]).map(({ href }) => href), ...inHtml];
}

/** The anchors of a page's headings, as GitHub and mdBook name them. */
export function anchors(file) {
  const seen = new Map();
  return tokens(file, ["heading"]).map(({ text }) => {
    const words = text.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = words.replace(/[^\p{L}\p{N}_\- ]/gu, "").replaceAll(" ", "-");
    const times = seen.get(slug) ?? 0;
    seen.set(slug, times + 1);
    return times ? `${slug}-${times}` : slug;
  });
}
