"use client";
/**
 * For tests of applications: a fake hub, and a provider that ties the hooks to it. Needs React; `fanfare/testing/core` is the
 * hub alone.
 *
 * @module
 */

import { createElement, type ReactNode } from "react";
import { SSEProvider } from "../react/hooks.js";
import type { Registry } from "../react/registry.js";
import type { SSEHookOptions } from "../react/types.js";
import { FAKE_URL, type FakeHub } from "./core.js";

export { FAKE_URL, type FakeConnection, FakeHub } from "./core.js";

/** Clients of a hub, apart from those of other tests. */
const registries = new WeakMap<FakeHub, Registry>();

/**
 * All hooks below it are connected to `hub`. Reconnects take a tenth of a second.
 *
 * ```tsx
 * const hub = new FakeHub();
 * render(<FakeSSEProvider hub={hub}><Inbox /></FakeSSEProvider>);
 * await waitFor(() => expect(hub.connections).toHaveLength(1));
 * await act(() => hub.emit("notification", { title: "Hi" }));
 * await act(() => hub.drop());
 * await act(() => hub.gap());
 * ```
 */
export function FakeSSEProvider({
  hub,
  children,
  ...options
}: SSEHookOptions & { hub: FakeHub; children?: ReactNode }): ReactNode {
  let registry = registries.get(hub);
  if (!registry) registries.set(hub, (registry = new Map()));
  return createElement(
    SSEProvider,
    { url: FAKE_URL, fetch: hub.fetch, reconnectInterval: 100, ...options, registry },
    children,
  );
}
