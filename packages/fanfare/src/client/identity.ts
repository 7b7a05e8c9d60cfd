// Owns: who a connection is for, as a query string. The same identity always makes the same text.

/** Who a connection is for: what the server matches targets against. */
export interface SSEIdentity {
  userId?: string | undefined;
  sessionId?: string | undefined;
  /** At most 32 pairs. Names that the server reads itself throw; empty values are left out. */
  metadata?: Record<string, string> | undefined;
  /** At most 100. */
  topics?: readonly string[] | undefined;
}

/** Query parameters that are no metadata; so are all that begin with `sse.`. */
const RESERVED = /^(userId|sessionId|topic|lastEventId|sse\..*|)$/;

/** The identity as query parameters, in an order of its own. Throws a `TypeError` for metadata under a reserved name. */
export function identityQuery({ userId, sessionId, metadata = {}, topics = [] }: SSEIdentity): URLSearchParams {
  const query = new URLSearchParams();
  const add = (name: string, value: string | undefined) => {
    // The server takes no empty values: "nobody yet" is left out.
    if (value) query.append(name, value);
  };
  add("userId", userId);
  add("sessionId", sessionId);
  for (const topic of [...new Set(topics)].sort()) add("topic", topic);
  for (const name of Object.keys(metadata).sort()) {
    if (RESERVED.test(name)) throw new TypeError(`metadata "${name}" is reserved`);
    add(name, metadata[name]);
  }
  return query;
}

/** `url` with the identity behind its own query. Relative ones are the document's; throws where there is none. */
export function withIdentity(url: string | URL, identity: URLSearchParams): string {
  const absolute = new URL(url, globalThis.document?.baseURI ?? globalThis.location);
  for (const [name, value] of identity) absolute.searchParams.append(name, value);
  return absolute.href;
}
