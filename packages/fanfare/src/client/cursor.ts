// Owns: what the client reads out of an SSE `id` of Fanfare, `<version>.<epoch>.<position>`, then `~` and the publisher's
// own id. To users it is opaque; here it serves to drop duplicates and to notice holes between tabs.

/**
 * True if what has the id `id` comes no later in the log than `than`; false where that cannot be told: for ids of another
 * epoch, or of another server. Positions are numbers of up to 64 bits, in base 36 without leading zeros.
 */
export function isAtOrBefore(id: string, than: string): boolean {
  const [a, b] = [id, than].map((text) => /^(\d+\.\w+\.)(\w+)(~|$)/.exec(text));
  return !!a && !!b && a[1] === b[1] && (a[2] as string).padStart(13, "0") <= (b[2] as string).padStart(13, "0");
}
