"use client";

/**
 * React hooks for Fanfare, for React 18 and 19: one connection for all components, every event handled.
 *
 * @module
 */

export type { SSEErrorKind } from "../client/error.js";
export { SSEError } from "../client/error.js";
export type { SSEGap, SSEStatus } from "../client/options.js";
export type * from "../types.js";
export { SSEProvider, useSSE, useSSEEvent } from "./hooks.js";
export type { SSEHookOptions, SSEHookResult } from "./types.js";
