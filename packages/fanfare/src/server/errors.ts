// Owns: the classes of errors of the back-end SDK.

/** One thing that is wrong with what was sent. */
export interface SSEFault {
  /** A JSON pointer into the body or the arguments, as a URI fragment, such as `#/to/userId`. */
  pointer: string;
  detail: string;
}

/** What an error of the SDK knows besides its message. */
export interface FanfareErrorDetails {
  /** Status of the hub's answer. */
  status?: number | undefined;
  /** The stable type of the problem, such as `urn:fanfare:problem:invalid`. */
  type?: string | undefined;
  errors?: SSEFault[] | undefined;
  /** Of a conflict: the last id of the topic. */
  lastId?: string | undefined;
  cause?: unknown;
}

/** Anything that went wrong between this process and its hub. */
export class FanfareError extends Error {
  override name = "FanfareError";
  readonly status: number | undefined;
  readonly type: string | undefined;
  /** What was wrong, and where. */
  readonly errors: readonly SSEFault[];
  readonly lastId: string | undefined;

  constructor(message: string, details: FanfareErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.status = details.status;
    this.type = details.type;
    this.errors = details.errors ?? [];
    this.lastId = details.lastId;
  }
}

/** What was sent is not allowed: sending it again cannot help. */
export class InvalidError extends FanfareError {
  override name = "InvalidError";
}
/** The token is missing or not the hub's, or the hub's application says no: 401, 403. */
export class UnauthorizedError extends FanfareError {
  override name = "UnauthorizedError";
}
/** The topic's last event is not the expected one: 409, with `lastId`. */
export class ConflictError extends FanfareError {
  override name = "ConflictError";
}
/** The hub could not be reached, or said that it cannot now, until the deadline. Whether it was published is not known. */
export class UnavailableError extends FanfareError {
  override name = "UnavailableError";
}
/** This process has more to send than it may hold back. */
export class QueueFullError extends FanfareError {
  override name = "QueueFullError";
}
/** The manager was destroyed. */
export class ClosedError extends FanfareError {
  override name = "ClosedError";
}

/** A refusal of arguments, before anything was sent. */
export function invalid(pointer: string, detail: string): InvalidError {
  return new InvalidError(`${pointer}: ${detail}`, { errors: [{ pointer, detail }] });
}

/** The error for an answer of the hub that is none of 200 to 299. */
export function errorOf(status: number, body: string): FanfareError {
  let problem: Record<string, unknown> = {};
  try {
    problem = Object(JSON.parse(body));
  } catch {
    // Not the hub's own words, a proxy's perhaps.
  }
  const text = (name: string) => (typeof problem[name] === "string" ? problem[name] : undefined);
  const message = `the hub answered ${status}: ${text("detail") ?? text("title") ?? body.slice(0, 200)}`;
  const errors = Array.isArray(problem["errors"]) ? (problem["errors"] as SSEFault[]) : undefined;
  const details = { status, type: text("type"), errors, lastId: text("lastId") };
  if (status === 401 || status === 403) return new UnauthorizedError(message, details);
  if (status === 409) return new ConflictError(message, details);
  if (isTransient(status) || status >= 500) return new UnavailableError(message, details);
  return new InvalidError(message, details);
}

/** Statuses that may be another soon. A full disk is not among them: it takes somebody to make room. */
export function isTransient(status: number): boolean {
  return [408, 425, 429, 500, 502, 503, 504].includes(status);
}
