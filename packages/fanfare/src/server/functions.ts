// Owns: the functions of the seed, over one manager for the process.

import type { ChangeType, NotificationLevel, Severity, UserActivity } from "../types.js";
import type { OutgoingEvent } from "./event.js";
import * as helpers from "./helpers.js";
import { SSEManager, type SSEManagerOptions } from "./manager.js";

const GLOBAL = Symbol.for("fanfare.manager");
/** The same for ESM and CommonJS, and after a hot reload. */
const shared = globalThis as { [GLOBAL]?: SSEManager };

/**
 * Configures the manager behind the functions below, and gives it. Without this call it is made by the first use, from
 * `FANFARE_URL` and `FANFARE_TOKEN`. Called again, the new options hold; what the manager before has to send, it sends.
 */
export function initializeSSE(options: SSEManagerOptions = {}): SSEManager {
  return (shared[GLOBAL] = new SSEManager(options));
}

/** The manager behind the functions below. */
export function getSSEManager(): SSEManager {
  return shared[GLOBAL] ?? initializeSSE();
}

/** Sends an event to every connection; the number of those. */
export function broadcast(event: OutgoingEvent): Promise<number> {
  return getSSEManager().broadcast(event);
}

/** Sends an event to all connections of a user; the number of those. */
export function notifyUser(userId: string, event: OutgoingEvent): Promise<number> {
  return getSSEManager().sendToUser(userId, event);
}

/** Sends an event to all connections of several users, in one request; to nobody if the list is empty. */
export function notifyUsers(userIds: string[], event: OutgoingEvent): Promise<number> {
  return getSSEManager().count(() => ({ ...event, to: { userIds } }));
}

/** `system {message, level}` to everybody; the level is `info` unless given. */
export function systemNotification(message: string, level?: NotificationLevel): Promise<number> {
  return getSSEManager().count(() => helpers.systemNotification(message, level));
}

/** `update {type, data}` to some users, or everybody. */
export function realtimeUpdate(type: string, data: unknown, targetUsers?: string[]): Promise<number> {
  return getSSEManager().count(() => helpers.realtimeUpdate(type, data, targetUsers));
}

/** `progress {operationId, progress, message?}` to a user, or everybody; `progress` is from 0 to 100. */
export function progressUpdate(
  operationId: string,
  progress: number,
  message?: string,
  userId?: string,
): Promise<number> {
  return getSSEManager().count(() => helpers.progressUpdate(operationId, progress, message, userId));
}

/** `success {message, data?}` to a user, or everybody. */
export function successNotification(message: string, data?: unknown, userId?: string): Promise<number> {
  return getSSEManager().count(() => helpers.successNotification(message, data, userId));
}

/** `error {error, context?}` to a user, or everybody. */
export function errorNotification(error: string, context?: Record<string, unknown>, userId?: string): Promise<number> {
  return getSSEManager().count(() => helpers.errorNotification(error, context, userId));
}

/** `success` or `error` with `{jobId, result, details?}`, to the user whose job it was. */
export function notifyJobCompletion(
  jobId: string,
  userId: string,
  result: "success" | "error",
  details?: Record<string, unknown>,
): Promise<void> {
  return silent(getSSEManager().count(() => helpers.notifyJobCompletion(jobId, userId, result, details)));
}

/** `progress {operationId, progress, message?, metadata?}` to a user; `progress` is from 0 to 100. */
export function updateOperationProgress(
  operationId: string,
  userId: string,
  progress: number,
  message?: string,
  metadata?: Record<string, unknown>,
): Promise<void> {
  return silent(
    getSSEManager().count(() => helpers.updateOperationProgress(operationId, userId, progress, message, metadata)),
  );
}

/** `system {title, message, severity, level}` to some users, or everybody; `critical` has the level `error`. */
export function announceSystemUpdate(
  title: string,
  message: string,
  severity?: Severity,
  targetUsers?: string[],
): Promise<number> {
  return getSSEManager().count(() => helpers.announceSystemUpdate(title, message, severity, targetUsers));
}

/** `update {type: "data_change", data: {entityType, entityId, changeType, data}}` to some users, or everybody. */
export function notifyDataChange(
  entityType: string,
  entityId: string,
  changeType: ChangeType,
  data: unknown,
  affectedUsers?: string[],
): Promise<number> {
  return getSSEManager().count(() => helpers.notifyDataChange(entityType, entityId, changeType, data, affectedUsers));
}

/** `notification {type: "new_message", conversationId, senderId, messagePreview, metadata?}` to its recipients. */
export function notifyNewMessage(
  conversationId: string,
  senderId: string,
  recipientIds: string[],
  messagePreview: string,
  metadata?: Record<string, unknown>,
): Promise<number> {
  return getSSEManager().count(() =>
    helpers.notifyNewMessage(conversationId, senderId, recipientIds, messagePreview, metadata),
  );
}

/** `update {type: "user_activity", data: {userId, activity, metadata?}}`, about a user to others; `typing` is not kept. */
export function notifyUserActivity(
  userId: string,
  activity: UserActivity,
  contextUsers?: string[],
  metadata?: Record<string, unknown>,
): Promise<number> {
  return getSSEManager().count(() => helpers.notifyUserActivity(userId, activity, contextUsers, metadata));
}

/** `update {type: "metrics", data: {metricType, value, change?}}` to some users, or everybody. */
export function notifyMetricsUpdate(
  metricType: string,
  value: number | string,
  change?: number,
  targetUsers?: string[],
): Promise<number> {
  return getSSEManager().count(() => helpers.notifyMetricsUpdate(metricType, value, change, targetUsers));
}

/** Without the count. Derived, so it goes on being watched: see `Sending`. */
const silent = (count: Promise<number>): Promise<void> => count.then(() => {});
