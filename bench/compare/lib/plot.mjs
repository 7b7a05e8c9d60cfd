// A plot of bars as SVG, without a library. Lengths are linear, and begin at 0.

const WIDTH = 785;
const NAMES = 275;
const VALUES = 110;
const ROW = 26;
const TOP = 40;
const FILL = { own: "#2563eb", peer: "#94a3b8", yardstick: "#e2e8f0" };

const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

/** `values` are `{ name, value, text, kind }`. Its own background: it is read on light pages and on dark ones. */
export function bars(title, values) {
  const most = Math.max(...values.map(({ value }) => value), Number.MIN_VALUE);
  const height = TOP + values.length * ROW + 14;
  const rows = values.map(({ name, value, text, kind }, index) => {
    const y = TOP + index * ROW;
    const length = Math.max(1, (value / most) * (WIDTH - NAMES - VALUES)).toFixed(1);
    const weight = kind === "own" ? ' font-weight="bold"' : "";
    return `  <text x="${NAMES - 8}" y="${y + 15}" text-anchor="end"${weight}>${escape(name)}</text>
  <rect x="${NAMES}" y="${y + 2}" width="${length}" height="18" rx="2" fill="${FILL[kind]}"/>
  <text x="${(NAMES + Number(length) + 6).toFixed(1)}" y="${y + 15}"${weight}>${escape(text)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escape(title)}" font-family="system-ui, sans-serif" font-size="13" fill="#0f172a">
  <rect width="${WIDTH}" height="${height}" rx="6" fill="#ffffff"/>
  <text x="14" y="24" font-size="14" font-weight="bold">${escape(title)}</text>
${rows.join("\n")}
</svg>
`;
}
