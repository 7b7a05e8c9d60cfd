/**
 * The back-end SDK of Fanfare: publishes to a hub over HTTP, from Node 20 and later, Deno, Bun and edge runtimes.
 *
 * @module
 */

export type * from "../types.js";
export {
  ClosedError,
  ConflictError,
  FanfareError,
  InvalidError,
  QueueFullError,
  type SSEFault,
  UnauthorizedError,
  UnavailableError,
} from "./errors.js";
export type { OutgoingEvent, PublishedEvent, SSETarget } from "./event.js";
export * from "./functions.js";
export type { HubOptions } from "./hub.js";
export {
  type ConnectionOptions,
  type PublishOptions,
  SSEManager,
  type SSEManagerOptions,
} from "./manager.js";
export type { SSEReceipt } from "./outbox.js";
