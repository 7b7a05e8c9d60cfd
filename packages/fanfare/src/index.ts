/**
 * The client of Fanfare, for browsers, workers and Node: Server-Sent Events that reconnect, resume, and tell of gaps.
 *
 * @module
 */

export { SSEClient } from "./client/client.js";
export type * from "./client/error.js";
export { SSEError } from "./client/error.js";
export type { SSEIdentity } from "./client/identity.js";
export type { SSEAttempt, SSEClientOptions, SSEGap, SSESnapshot, SSEStatus, Unsubscribe } from "./client/options.js";
export type { SSEHookOptions, SSEHookResult } from "./react/types.js";
export type { SSEManagerOptions } from "./server/manager.js";
export type * from "./types.js";
