// Owns: the hooks. They only tie a Hold to the life of a component.

import {
  createContext,
  createElement,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useInsertionEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { identityQuery } from "../client/identity.js";
import { IDLE } from "../client/options.js";
import type { DataOf, EventName, ReceivedEvent } from "../types.js";
import { Hold } from "./hold.js";
import { pageRegistry, type Registry } from "./registry.js";
import type { SSEHookOptions, SSEHookResult } from "./types.js";

interface Shared {
  defaults: SSEHookOptions;
  registry: Registry | undefined;
}

const Context = createContext<Shared>({ defaults: {}, registry: undefined });

/** Options for all hooks below it; a hook's own win, member by member. Nested ones add to the outer. */
export function SSEProvider({
  children,
  registry,
  ...options
}: SSEHookOptions & { children?: ReactNode /** @internal */; registry?: Registry }): ReactNode {
  const outer = useContext(Context);
  // A new object in every render, on purpose: hooks compare what matters in it.
  const value = { defaults: merge(outer.defaults, options), registry: registry ?? outer.registry };
  return createElement(Context.Provider, { value }, children);
}

/** An option that is undefined says nothing. */
function merge(defaults: SSEHookOptions, options: SSEHookOptions): SSEHookOptions {
  const merged: Record<string, unknown> = { ...defaults };
  for (const [name, value] of Object.entries(options)) merged[name] = value ?? merged[name];
  return merged;
}

/**
 * A subscription to the event stream, for as long as the component is there. Components with the same URL and identity use
 * one connection. Options may be written inline: only another identity, URL, method, body, credentials or share is
 * another connection, and a `lastEventId` that differs when the component comes. Functions are not compared: two components
 * whose `url` functions lead to different places need different identities.
 *
 * ```tsx
 * const { isConnected, lastEvent, addEventListener } = useSSE({ userId: "user123" });
 * useEffect(() => addEventListener("notification", (event) => show(event.data)), [addEventListener]);
 * ```
 */
export function useSSE<E extends object = {}>(options: SSEHookOptions = {}): SSEHookResult<E> {
  const { defaults, registry } = useContext(Context);
  const { enabled = true, ...rest } = merge(defaults, options);
  const { url = "/api/sse", method, body, credentials, share } = rest;
  // Functions are null in it: another one in each render is the same connection.
  const base = JSON.stringify([url, `${identityQuery(rest)}`, method, body, credentials, share?.scope]);
  // Where to begin counts once for each connection: a newer place in a later render must not reconnect.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  const lastEventId = useMemo(() => rest.lastEventId, [base]);
  const key = `${base} ${lastEventId}`;
  const [hold] = useState(() => new Hold());
  useInsertionEffect(() => {
    hold.update({ ...rest, lastEventId });
  });
  const snapshot = useSyncExternalStore(
    useCallback(
      (notify) => hold.mount(registry ?? pageRegistry(), key, enabled, notify),
      [hold, registry, key, enabled],
    ),
    () => hold.snapshot(key),
    serverSnapshot,
  );
  const { status, error, reconnectAttempts } = snapshot;
  return {
    status,
    isConnected: status === "open",
    isConnecting: /ing$/.test(status), // connecting or waiting
    error: error?.message ?? null,
    errorDetail: error,
    reconnectAttempts,
    connect: hold.connect,
    disconnect: hold.disconnect,
    addEventListener: hold.addEventListener as SSEHookResult<E>["addEventListener"],
    // Who never looks at events is not rendered by them.
    get lastEvent() {
      return hold.look(snapshot).lastEvent as ReceivedEvent<DataOf<E, string>> | null;
    },
    get lastEventId() {
      return hold.look(snapshot).lastEventId;
    },
  };
}

const serverSnapshot = () => IDLE;

/**
 * Calls `handler`, always the newest one, for every event of the type; events do not render the component. Options as in
 * {@link useSSE}; with the same ones, or those of a provider, it is the same connection.
 */
export function useSSEEvent<K extends EventName<{}>>(
  type: K,
  handler: (event: ReceivedEvent<DataOf<{}, K>, K>) => void,
  options?: SSEHookOptions,
): void;
/** The same with data of a type of your own: `useSSEEvent<Order>("order_paid", …)`. */
export function useSSEEvent<T>(
  type: string,
  handler: (event: ReceivedEvent<T>) => void,
  options?: SSEHookOptions,
): void;
export function useSSEEvent(
  type: string,
  handler: (event: ReceivedEvent<never>) => void,
  options: SSEHookOptions = {},
): void {
  const { addEventListener } = useSSE(options);
  const newest = useRef(handler);
  useInsertionEffect(() => {
    newest.current = handler;
  });
  useEffect(() => addEventListener(type, (event) => newest.current(event as never)), [addEventListener, type]);
}
