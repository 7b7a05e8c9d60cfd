// Owns: the shapes of events and payloads, the same words on every side: client, hook, back end.

/** An event, as a publisher hands it over and as a listener gets it. */
export interface SSEEvent<T = unknown> {
  /** The type: 1 to 128 bytes of UTF-8 without control characters. */
  event: string;
  /** JSON data. */
  data: T;
  /** The publisher's own id: 1 to 128 visible ASCII characters, no `~`. */
  id?: string;
  /** Milliseconds a client is to wait before it reconnects. Only sent, never received. */
  retry?: number;
}

/** What a listener gets. */
export interface ReceivedEvent<T = unknown, K extends string = string> extends SSEEvent<T> {
  event: K;
  /**
   * The event's place in the history; opaque. As `lastEventId` of a later connection it goes on behind this event. The empty
   * string from a server that numbers nothing; of an ephemeral event, the place before it.
   */
  cursor: string;
  /** True if the event is not in the history. */
  ephemeral?: true;
}

/** `notification`, `success`, `error` and the others carry it when a helper of Fanfare sent them: Unix milliseconds. */
interface Stamped {
  timestamp: number;
}

/** Level of a `system` notification. */
export type NotificationLevel = "info" | "warning" | "error";
/** Severity of an announcement; `critical` has the level `error`. */
export type Severity = "info" | "warning" | "critical";

/** Data of `connected`, the first event of every stream. */
export interface ConnectedPayload {
  clientId: string;
  userId?: string;
  sessionId?: string;
  /** Milliseconds between heartbeats of the server. */
  heartbeatInterval: number;
  /** `live`: no cursor was given. `resumed`: nothing was missed. `gap`, `reset`: events are gone, fetch the state anew. */
  resume: "live" | "resumed" | "gap" | "reset";
}
/** Data of `ping`, the heartbeat. */
export interface PingPayload {
  timestamp: number;
}
/** Data of `$gap`: events of an open connection are gone. */
export interface GapPayload {
  reason: "retention" | "slow" | "damaged" | (string & {});
}
/** Data of `$closing`: the server ends this connection. */
export interface ClosingPayload {
  reason: "shutdown" | "lifetime" | "slow" | "capacity" | "token" | "revoked" | "disconnected" | (string & {});
  reconnect: boolean;
}

/** `systemNotification`. */
export interface SystemNotificationPayload extends Stamped {
  message: string;
  level: NotificationLevel;
}
/** `announceSystemUpdate`. */
export interface SystemUpdatePayload extends Stamped {
  title: string;
  message: string;
  severity: Severity;
  level: NotificationLevel;
}
/** `realtimeUpdate`. */
export interface RealtimeUpdatePayload<T = unknown> extends Stamped {
  type: string;
  data: T;
}
/** `notifyDataChange`. */
export interface DataChangePayload<T = unknown> extends Stamped {
  type: "data_change";
  data: { entityType: string; entityId: string; changeType: ChangeType; data: T };
}
/** `notifyUserActivity`. */
export interface UserActivityPayload extends Stamped {
  type: "user_activity";
  data: { userId: string; activity: UserActivity; metadata?: Record<string, unknown> };
}
/** `notifyMetricsUpdate`. */
export interface MetricsUpdatePayload extends Stamped {
  type: "metrics";
  data: { metricType: string; value: number | string; change?: number };
}
/** `progressUpdate`. */
export interface ProgressPayload extends Stamped {
  operationId: string;
  /** From 0 to 100. */
  progress: number;
  message?: string;
}
/** `updateOperationProgress`. */
export interface OperationProgressPayload extends ProgressPayload {
  metadata?: Record<string, unknown>;
}
/** `successNotification`. */
export interface SuccessPayload<T = unknown> extends Stamped {
  message: string;
  data?: T;
}
/** `errorNotification`. */
export interface ErrorPayload extends Stamped {
  error: string;
  context?: Record<string, unknown>;
}
/** `notifyJobCompletion` with the result `success`. */
export interface JobSuccessPayload extends Stamped {
  message: string;
  data: { jobId: string; result: "success"; details?: Record<string, unknown> };
}
/** `notifyJobCompletion` with the result `error`. */
export interface JobErrorPayload extends Stamped {
  error: string;
  context: { jobId: string; result: "error"; details?: Record<string, unknown> };
}
/** `notifyNewMessage`. */
export interface NewMessagePayload extends Stamped {
  type: "new_message";
  conversationId: string;
  senderId: string;
  messagePreview: string;
  metadata?: Record<string, unknown>;
}
/** What `notification` carries is the application's affair; these are the usual members. */
export interface NotificationPayload {
  type?: string;
  title?: string;
  message?: string;
  data?: unknown;
  timestamp?: number;
  [key: string]: unknown;
}

/** What happened to an entity. */
export type ChangeType = "created" | "updated" | "deleted";
/** What a user does. `typing` is ephemeral: it is not kept. */
export type UserActivity = "online" | "offline" | "typing" | "idle";

/** The types of events that Fanfare itself and its helpers send, and their data. */
export interface StandardEvents {
  connected: ConnectedPayload;
  ping: PingPayload;
  $gap: GapPayload;
  $reset: Record<string, unknown>;
  $closing: ClosingPayload;
  system: SystemNotificationPayload | SystemUpdatePayload;
  notification: NotificationPayload;
  update: RealtimeUpdatePayload;
  progress: OperationProgressPayload;
  success: SuccessPayload;
  error: ErrorPayload;
}

/** The standard events and your own: `EventsOf<{ order_paid: Order }>`. Yours win. */
export type EventsOf<E extends object> = E & Omit<StandardEvents, keyof E>;

/** Data of the type `K`; `unknown` for a type that nobody declared. */
export type DataOf<E extends object, K extends string> = K extends keyof EventsOf<E> ? EventsOf<E>[K] : unknown;

/** The types an editor proposes; any other text is one too. */
export type EventName<E extends object> = (keyof EventsOf<E> & string) | (string & {});

/** Which connections: exact matches, all of which must hold. At least one member. */
export interface SSEFilter {
  userId?: string;
  sessionId?: string;
  metadata?: Record<string, string>;
}

/** What `GET /api/sse/stats` answers. */
export interface SSEStats {
  /** Connections now. */
  totalClients: number;
  /** Connections of each user: the 1,000 users with the most. */
  clientsByUser: Record<string, number>;
  /** Mean age of the open connections in milliseconds, 0 if there are none. */
  averageConnectionDuration: number;
  /** Application events fully handed to sockets, one for each connection. */
  totalEventsSent: number;
  /** When the last event was published, Unix milliseconds; null before the first. */
  lastEventTime: number | null;
  /** True if there are more users than `clientsByUser` names. */
  clientsByUserTruncated: boolean;
  /** The server's settings. */
  settings: { pingInterval: number; clientTimeout: number; maxClients: number; enableLogging: boolean };
  /** Further statistics of the server. */
  [name: string]: unknown;
}
