// Owns: what the helpers send: their arguments, checked, as an event and a target. The same payloads as everywhere else, see
// `fixtures/helpers.json`.

import type { ChangeType, NotificationLevel, Severity, UserActivity } from "../types.js";
import { invalid } from "./errors.js";
import type { PublishedEvent, SSETarget } from "./event.js";

type Record_ = Record<string, unknown>;
type Check = (value: unknown) => string | undefined;

const text: Check = (value) => (typeof value === "string" ? undefined : `must be a string, not ${kind(value)}`);
const number: Check = (value) => (Number.isFinite(value) ? undefined : `must be a finite number, not ${kind(value)}`);
const percent: Check = (value) =>
  number(value) ?? ((value as number) >= 0 && (value as number) <= 100 ? undefined : "must be from 0 to 100");
const measure: Check = (value) => (typeof value === "string" ? undefined : number(value));
const anything: Check = (value) =>
  value === undefined || typeof value === "function" || typeof value === "symbol" ? "is no JSON" : undefined;
const record: Check = (value) => (kind(value) === "an object" ? undefined : `must be an object, not ${kind(value)}`);
const word =
  (...words: string[]): Check =>
  (value) =>
    words.includes(value as string) ? undefined : `must be ${words.map((each) => `\`${each}\``).join(", ")}`;
/** Names of users: that they fit is the hub's to say, but an empty one would be nobody. */
const user: Check = (value) =>
  text(value) ??
  (value === "" ? "is empty" : byteLength(value as string) > NAME_MAX ? `has more than ${NAME_MAX} bytes` : undefined);

const NAME_MAX = 255;
const byteLength = (value: string) => new TextEncoder().encode(value).length;

function kind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? "a number" : String(value);
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Throws an `InvalidError` that points at the argument. */
function need(name: string, value: unknown, check: Check): void {
  const fault = value === undefined ? "is missing" : check(value);
  if (fault) throw invalid(`#/${name}`, fault);
}

function may(name: string, value: unknown, check: Check): void {
  if (value !== undefined) need(name, value, check);
}

/** Null is not everybody: only an argument that is left out is. */
function toUser(userId: string | undefined): { to?: SSETarget } {
  may("userId", userId, user);
  return userId === undefined ? {} : { to: { userId } };
}

function toUsers(name: string, userIds: string[] | undefined): { to?: SSETarget } {
  if (userIds === undefined) return {};
  if (!Array.isArray(userIds)) throw invalid(`#/${name}`, `must be an array, not ${kind(userIds)}`);
  for (const [index, userId] of userIds.entries()) {
    if (userId === undefined) throw invalid(`#/${name}/${index}`, "is undefined");
    need(`${name}/${index}`, userId, user);
  }
  return { to: { userIds } };
}

/** The event, its data closed by the time. Members that are undefined are left out. */
function outgoing(event: string, data: Record_, target: { to?: SSETarget }): PublishedEvent {
  return { event, data: { ...data, timestamp: Date.now() }, ...target };
}

export function systemNotification(message: string, level: NotificationLevel = "info"): PublishedEvent {
  need("message", message, text);
  need("level", level, word("info", "warning", "error"));
  return outgoing("system", { message, level }, {});
}

export function realtimeUpdate(type: string, data: unknown, targetUsers?: string[]): PublishedEvent {
  need("type", type, text);
  need("data", data, anything);
  return outgoing("update", { type, data }, toUsers("targetUsers", targetUsers));
}

export function progressUpdate(
  operationId: string,
  progress: number,
  message?: string,
  userId?: string,
): PublishedEvent {
  need("operationId", operationId, text);
  need("progress", progress, percent);
  may("message", message, text);
  return outgoing("progress", { operationId, progress, message }, toUser(userId));
}

export function successNotification(message: string, data?: unknown, userId?: string): PublishedEvent {
  need("message", message, text);
  may("data", data, anything);
  return outgoing("success", { message, data }, toUser(userId));
}

export function errorNotification(error: string, context?: Record_, userId?: string): PublishedEvent {
  need("error", error, text);
  may("context", context, record);
  return outgoing("error", { error, context }, toUser(userId));
}

export function notifyJobCompletion(
  jobId: string,
  userId: string,
  result: "success" | "error",
  details?: Record_,
): PublishedEvent {
  need("jobId", jobId, text);
  need("userId", userId, user);
  need("result", result, word("success", "error"));
  may("details", details, record);
  const job = { jobId, result, details };
  const data =
    result === "success"
      ? { message: `Job ${jobId} completed successfully`, data: job }
      : { error: `Job ${jobId} failed`, context: job };
  return outgoing(result, data, toUser(userId));
}

export function updateOperationProgress(
  operationId: string,
  userId: string,
  progress: number,
  message?: string,
  metadata?: Record_,
): PublishedEvent {
  need("operationId", operationId, text);
  need("userId", userId, user);
  need("progress", progress, percent);
  may("message", message, text);
  may("metadata", metadata, record);
  return outgoing("progress", { operationId, progress, message, metadata }, toUser(userId));
}

export function announceSystemUpdate(
  title: string,
  message: string,
  severity: Severity = "info",
  targetUsers?: string[],
): PublishedEvent {
  need("title", title, text);
  need("message", message, text);
  need("severity", severity, word("info", "warning", "critical"));
  const level = severity === "critical" ? "error" : severity;
  return outgoing("system", { title, message, severity, level }, toUsers("targetUsers", targetUsers));
}

export function notifyDataChange(
  entityType: string,
  entityId: string,
  changeType: ChangeType,
  data: unknown,
  affectedUsers?: string[],
): PublishedEvent {
  need("entityType", entityType, text);
  need("entityId", entityId, text);
  need("changeType", changeType, word("created", "updated", "deleted"));
  need("data", data, anything);
  return outgoing(
    "update",
    { type: "data_change", data: { entityType, entityId, changeType, data } },
    toUsers("affectedUsers", affectedUsers),
  );
}

export function notifyNewMessage(
  conversationId: string,
  senderId: string,
  recipientIds: string[],
  messagePreview: string,
  metadata?: Record_,
): PublishedEvent {
  need("conversationId", conversationId, text);
  need("senderId", senderId, text);
  if (recipientIds === undefined) throw invalid("#/recipientIds", "is missing");
  need("messagePreview", messagePreview, text);
  may("metadata", metadata, record);
  const data = { type: "new_message", conversationId, senderId, messagePreview, metadata };
  return outgoing("notification", data, toUsers("recipientIds", recipientIds));
}

export function notifyUserActivity(
  userId: string,
  activity: UserActivity,
  contextUsers?: string[],
  metadata?: Record_,
): PublishedEvent {
  need("userId", userId, text);
  need("activity", activity, word("online", "offline", "typing", "idle"));
  may("metadata", metadata, record);
  const event = outgoing(
    "update",
    { type: "user_activity", data: { userId, activity, metadata } },
    toUsers("contextUsers", contextUsers),
  );
  return activity === "typing" ? { ...event, ephemeral: true } : event;
}

export function notifyMetricsUpdate(
  metricType: string,
  value: number | string,
  change?: number,
  targetUsers?: string[],
): PublishedEvent {
  need("metricType", metricType, text);
  need("value", value, measure);
  may("change", change, number);
  return outgoing(
    "update",
    { type: "metrics", data: { metricType, value, change } },
    toUsers("targetUsers", targetUsers),
  );
}
