// Owns: the one class of errors of the client.

/**
 * What went wrong:
 * - `network`: no answer, or the stream broke off or ended
 * - `timeout`: no answer within `connectTimeout`
 * - `idle`: an open stream fell silent
 * - `http`: a status other than 200
 * - `content-type`: the answer is no event stream
 * - `too-large`: one event beyond `maxEventSize`
 * - `closing`: the server said so in the stream, see `reason`
 * - `decode`: the data of one event is not JSON; the connection goes on
 * - `overflow`: a loop over `events()` fell too far behind
 */
export type SSEErrorKind =
  | "network"
  | "timeout"
  | "idle"
  | "http"
  | "content-type"
  | "too-large"
  | "closing"
  | "decode"
  | "overflow";

/** What an {@link SSEError} knows besides its message. */
export interface SSEErrorDetails {
  /** Status of the answer. */
  status?: number;
  /** The first chunk of an answer that was no stream, at most 2,048 bytes of it. */
  body?: string;
  /** True if trying again can help: the client does so by itself. */
  retryable?: boolean;
  /** Milliseconds that `Retry-After` asked for, at most an hour. */
  retryAfter?: number | undefined;
  /** Reason of a `$closing`. */
  reason?: string;
  cause?: unknown;
}

/** Why a connection failed, or an event could not be handed over. */
export class SSEError extends Error {
  override readonly name = "SSEError";
  readonly kind: SSEErrorKind;
  declare readonly status?: number;
  declare readonly body?: string;
  readonly retryable: boolean = false;
  declare readonly retryAfter?: number;
  declare readonly reason?: string;

  constructor(kind: SSEErrorKind, message: string, details?: SSEErrorDetails) {
    super(message, details);
    this.kind = kind;
    Object.assign(this, details);
  }
}
