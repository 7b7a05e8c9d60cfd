// Owns: how long to wait before the next attempt. Pure: time and chance are handed in.

/** What delays grow from where neither the server nor the application said; milliseconds. */
export const INTERVAL = 1_000;
/** No delay is shorter, so that nothing turns into a hot loop; milliseconds. */
export const DELAY_MIN = 100;
/** No delay of ours is longer; milliseconds. A server may ask for more. */
export const DELAY_MAX = 30_000;
/** A connection that lived so long proved usable, and ends the count of failures; milliseconds. */
export const STABLE_AFTER = 10_000;
/** The longest time a timer takes: beyond it, it fires at once. Milliseconds. */
export const TIMER_MAX = 2_147_483_647;
/** The most that `Retry-After` gets; milliseconds. */
const RETRY_AFTER_MAX = 3_600_000;

/** Full jitter: anything up to `base` doubled by each failure. Also the first one: a deploy drops all at once. */
export function backoff(base: number, failures: number, random: number): number {
  // Bounded, so that doubling nothing stays nothing: 0 · ∞ is not a number, and no wait.
  return Math.max(DELAY_MIN, random * Math.min(DELAY_MAX, base * 2 ** Math.min(failures, 30)));
}

/** `Retry-After` in milliseconds: seconds or a date, RFC 9110 §10.2.3. */
export function retryAfter(header: string | null, now: number): number | undefined {
  // Without a header it is not a number either.
  const ms = Number(header) * 1_000 || Date.parse(header as string) - now;
  return ms > 0 ? Math.min(ms, RETRY_AFTER_MAX) : undefined;
}
