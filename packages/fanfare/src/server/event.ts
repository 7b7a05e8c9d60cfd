// Owns: what a back end hands over to be published.

import type { SSEEvent, SSEFilter } from "../types.js";

/** Who shall get an event. Left out: everybody. */
export type SSETarget =
  | { all: true }
  | { userId: string }
  | { userIds: string[] }
  | { sessionId: string }
  | { clientId: string }
  | { topic: string }
  | { filter: SSEFilter };

/** An event to be published. */
export interface OutgoingEvent<T = unknown> extends SSEEvent<T> {
  /** True: not kept, and lost to who is not there. */
  ephemeral?: boolean | undefined;
}

/** An event with its target, for `publish`. */
export interface PublishedEvent<T = unknown> extends OutgoingEvent<T> {
  /** Who shall get it; left out: everybody. */
  to?: SSETarget | undefined;
  /** Published only if this is the last id of the topic in `to`; `none` if it never had one. Else a `ConflictError`. */
  expectLastId?: string | undefined;
}
