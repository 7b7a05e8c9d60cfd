// The hooks in real components, over the real client and a fake hub; with React 18 and 19.

import { act, cleanup, render, renderHook, screen, waitFor } from "@testing-library/react";
import { Component, type ReactNode, StrictMode, Suspense, useEffect, useLayoutEffect, useState, version } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, describe, expect, test, vi } from "vitest";
import { SSEProvider, useSSE, useSSEEvent } from "../../src/react/index.js";
import { FakeHub, FakeSSEProvider } from "../../src/testing/index.js";

afterEach(cleanup);

/** Components below a provider of a hub of their own, under StrictMode. */
function setUp(children: ReactNode, options = {}) {
  const hub = new FakeHub();
  const requests = vi.spyOn(hub, "fetch");
  const tree = (content: ReactNode) => (
    <StrictMode>
      <FakeSSEProvider hub={hub} {...options}>
        {content}
      </FakeSSEProvider>
    </StrictMode>
  );
  const view = render(tree(children));
  return {
    hub,
    requests,
    ...view,
    rerender: (content: ReactNode) => view.rerender(tree(content)),
    connected: (count = 1) => waitFor(() => expect(hub.connections).toHaveLength(count)),
  };
}

const settled = () => act(() => new Promise((resolve) => setTimeout(resolve, 150)));

function Status(options: Parameters<typeof useSSE>[0]) {
  const { status, isConnected, isConnecting, error, reconnectAttempts } = useSSE(options);
  return <p data-testid="status">{JSON.stringify({ status, isConnected, isConnecting, error, reconnectAttempts })}</p>;
}
const status = () => JSON.parse(screen.getByTestId("status").textContent as string);

test("runs on the React it is meant for", ({ task }) => {
  expect(task.file.projectName).toBe(`react ${version.split(".")[0]}`);
});

describe("one connection", () => {
  test("two components, one request, under StrictMode too", async () => {
    const { connected, requests, hub } = setUp(
      <>
        <Status userId="ada" metadata={{ page: "x", region: "eu" }} />
        <Latest userId="ada" metadata={{ region: "eu", page: "x" }} />
      </>,
    );
    await connected();
    await settled();
    expect(requests).toHaveBeenCalledTimes(1);
    expect(hub.connections[0]).toMatchObject({ userId: "ada", metadata: { page: "x", region: "eu" } });
    expect(status()).toEqual({
      status: "open",
      isConnected: true,
      isConnecting: false,
      error: null,
      reconnectAttempts: 0,
    });
  });

  test("inline options and callbacks never reconnect; a hundred renders are one request", async () => {
    function Inline({ n }: { n: number }) {
      const { addEventListener } = useSSE({
        userId: "ada",
        metadata: { page: "x" },
        topics: ["a"],
        headers: () => ({ n: `${n}` }),
        onGap: () => n,
      });
      useEffect(() => addEventListener("a", () => n));
      return null;
    }
    const { connected, requests, rerender } = setUp(<Inline n={0} />);
    await connected();
    for (let n = 1; n < 100; n++) rerender(<Inline n={n} />);
    await settled();
    expect(requests).toHaveBeenCalledTimes(1);
  });

  test("headers are the newest ones in the next attempt", async () => {
    function Token({ token }: { token: string }) {
      useSSE({ headers: () => ({ authorization: token }) });
      return null;
    }
    const { connected, hub, rerender, requests } = setUp(<Token token="one" />);
    await connected();
    rerender(<Token token="two" />);
    await act(async () => hub.drop());
    await waitFor(() => expect(requests).toHaveBeenCalledTimes(2));
    await connected();
    expect(hub.connections[0]?.request.headers.get("authorization")).toBe("two");
  });

  test.each([
    ["user", { userId: "ada" }, { userId: "bob" }],
    ["session", { sessionId: "1" }, { sessionId: "2" }],
    ["metadata", { metadata: { page: "x" } }, { metadata: { page: "y" } }],
    ["topic", { topics: ["a"] }, { topics: ["a", "b"] }],
    ["URL", { url: "http://fanfare.test/a" }, { url: "http://fanfare.test/b" }],
  ])("another %s is another connection, and what the first one got is gone", async (_, first, second) => {
    const { connected, hub, rerender, requests } = setUp(<Latest {...first} />);
    await connected();
    await act(() => hub.emit("a", 1));
    expect(screen.getByTestId("latest").textContent).toBe("1");
    rerender(<Latest {...second} />);
    await waitFor(() => expect(requests).toHaveBeenCalledTimes(2));
    await connected();
    expect(screen.getByTestId("latest").textContent).toBe("none");
  });

  test("ends when the last component goes, not before", async () => {
    const { connected, hub, rerender } = setUp(
      <>
        <Status />
        <Latest />
      </>,
    );
    await connected();
    rerender(<Latest />);
    await settled();
    expect(hub.connections).toHaveLength(1);
    rerender(null);
    await waitFor(() => expect(hub.connections).toHaveLength(0));
  });

  test("a component that is replaced by another at once does not reconnect", async () => {
    const { connected, rerender, requests } = setUp(<Status key="one" />);
    await connected();
    rerender(<Status key="two" />);
    await settled();
    expect(requests).toHaveBeenCalledTimes(1);
  });

  test("enabled false waits; connect() and disconnect() win until it changes", async () => {
    const { result, rerender } = renderHook(({ enabled }) => useSSE({ enabled }), {
      initialProps: { enabled: false },
      wrapper: ({ children }) => <FakeSSEProvider hub={hub}>{children}</FakeSSEProvider>,
    });
    await settled();
    expect(hub.connections).toHaveLength(0);
    expect(result.current.status).toBe("idle");
    act(() => result.current.connect());
    await waitFor(() => expect(hub.connections).toHaveLength(1));
    act(() => result.current.disconnect());
    await waitFor(() => expect(hub.connections).toHaveLength(0));
    expect(result.current.status).toBe("closed");
    rerender({ enabled: true });
    await waitFor(() => expect(result.current.isConnected).toBe(true));
    rerender({ enabled: false });
    await waitFor(() => expect(hub.connections).toHaveLength(0));
  });
  const hub = new FakeHub();

  test("disconnect() gives up this component's hold only; connect() takes it up again", async () => {
    const hub = new FakeHub();
    const wrapper = ({ children }: { children: ReactNode }) => <FakeSSEProvider hub={hub}>{children}</FakeSSEProvider>;
    const one = renderHook(() => useSSE(), { wrapper });
    const two = renderHook(() => useSSE(), { wrapper });
    const heard: unknown[] = [];
    one.result.current.addEventListener("a", ({ data }) => heard.push(data));
    await waitFor(() => expect(two.result.current.isConnected && one.result.current.isConnected).toBe(true));
    act(() => one.result.current.disconnect());
    expect(one.result.current).toMatchObject({ status: "closed", isConnected: false, isConnecting: false });
    await act(() => hub.emit("a", 1));
    expect(two.result.current).toMatchObject({ isConnected: true, lastEvent: { data: 1 } });
    expect(heard).toEqual([]);
    act(() => one.result.current.connect());
    expect(one.result.current.isConnected).toBe(true);
    await act(() => hub.emit("a", 2));
    expect(heard).toEqual([2]);
    expect(hub.connections).toHaveLength(1);
  });

  test("what passed by while a hold was given up is told as a gap; without others the connection resumes", async () => {
    const hub = new FakeHub();
    const onGap = vi.fn();
    const wrapper = ({ children }: { children: ReactNode }) => <FakeSSEProvider hub={hub}>{children}</FakeSSEProvider>;
    const one = renderHook(() => useSSE({ onGap }), { wrapper });
    const two = renderHook(() => useSSE(), { wrapper });
    await waitFor(() => expect(one.result.current.isConnected).toBe(true));
    await act(() => hub.emit("a", 1));
    act(() => one.result.current.disconnect());
    await act(() => hub.emit("a", 2));
    act(() => one.result.current.connect());
    expect(onGap.mock.calls).toEqual([[{ reason: "released", cursor: hub.cursor }]]);
    act(() => one.result.current.disconnect());
    act(() => two.result.current.disconnect());
    await waitFor(() => expect(hub.connections).toHaveLength(0));
    await hub.emit("a", 3);
    const heard: unknown[] = [];
    one.result.current.addEventListener("a", ({ data }) => heard.push(data));
    act(() => one.result.current.connect());
    await waitFor(() => expect(heard).toEqual([3]));
    expect(onGap).toHaveBeenCalledTimes(1);
  });

  test("enabled that turns false is closed, whatever others do", async () => {
    const { hub, connected, rerender } = setUp(<Status enabled />);
    await connected();
    rerender(<Status enabled={false} />);
    await settled();
    expect(hub.connections).toHaveLength(0);
    expect(status()).toMatchObject({ status: "closed", isConnected: false, isConnecting: false });
    rerender(<Status enabled />);
    await waitFor(() => expect(status().isConnected).toBe(true));
  });

  test("connect() and disconnect() before the first subscription count", async () => {
    function Early({ enabled }: { enabled: boolean }) {
      const { connect, disconnect } = useSSE({ enabled });
      useLayoutEffect(() => (enabled ? disconnect() : connect()), [enabled, connect, disconnect]);
      return null;
    }
    const one = setUp(<Early enabled={false} />);
    await one.connected();
    const two = setUp(<Early enabled />);
    await settled();
    expect(two.hub.connections).toHaveLength(0);
  });

  test("an option that is gone is gone for the next attempt: no header outlives a logout", async () => {
    const { connected, hub, rerender, requests } = setUp(<Status headers={{ "x-token": "old" }} />);
    await connected();
    rerender(<Status />);
    await act(async () => hub.drop());
    await waitFor(() => expect(requests).toHaveBeenCalledTimes(2));
    await connected();
    expect(hub.connections[0]?.request.headers.has("x-token")).toBe(false);
  });

  test("functions of the result are the same in every render", async () => {
    const { result, rerender } = renderHook(() => useSSE({ metadata: { a: "b" } }), {
      wrapper: ({ children }) => <FakeSSEProvider hub={new FakeHub()}>{children}</FakeSSEProvider>,
    });
    const { connect, disconnect, addEventListener } = result.current;
    rerender();
    expect(result.current).toMatchObject({ connect, disconnect, addEventListener });
  });
});

function Latest(options: Parameters<typeof useSSE>[0]) {
  const { lastEvent, lastEventId } = useSSE(options);
  return (
    <p data-testid="latest" title={lastEventId}>
      {lastEvent ? JSON.stringify(lastEvent.data) : "none"}
    </p>
  );
}

describe("events", () => {
  test("of a burst of 101 events every handler gets 101, and the snapshot is the last one", async () => {
    const heard: unknown[] = [];
    const also: unknown[] = [];
    function All() {
      const { addEventListener } = useSSE();
      useEffect(() => addEventListener("tick", ({ data }) => heard.push(data)), [addEventListener]);
      useSSEEvent<number>("tick", ({ data }) => also.push(data));
      return <Latest />;
    }
    const { connected, hub } = setUp(<All />);
    await connected();
    await act(async () => {
      await Promise.all(Array.from({ length: 101 }, (_, n) => hub.emit("tick", n)));
    });
    const all = Array.from({ length: 101 }, (_, n) => n);
    expect(heard).toEqual(all);
    expect(also).toEqual(all);
    expect(screen.getByTestId("latest").textContent).toBe("100");
  });

  test("a child's listener is there before the connection, and gets the first event", async () => {
    const heard: string[] = [];
    function Child({ listen }: { listen: ReturnType<typeof useSSE>["addEventListener"] }) {
      useEffect(() => listen("connected", ({ data }) => heard.push(data.resume)), [listen]);
      return null;
    }
    function Parent() {
      const { addEventListener } = useSSE();
      return <Child listen={addEventListener} />;
    }
    const { connected } = setUp(<Parent />);
    await connected();
    await waitFor(() => expect(heard).toEqual(["live"]));
  });

  test("who looks at no event is not rendered by one", async () => {
    let renders = 0;
    let handled = 0;
    function Quiet() {
      const { isConnected } = useSSE();
      useSSEEvent("a", () => handled++);
      renders++;
      return isConnected;
    }
    const { connected, hub } = setUp(<Quiet />);
    await connected();
    await settled();
    const before = renders;
    for (let n = 0; n < 5; n++) await act(() => hub.emit("a", n));
    expect(handled).toBe(5);
    expect(renders).toBe(before);
  });

  test("a listener that registers itself again while it runs is called once for each event", async () => {
    let calls = 0;
    function Again() {
      const { addEventListener } = useSSE();
      useEffect(() => {
        const on = () => {
          calls++;
          off();
          off = addEventListener("a", on);
        };
        let off = addEventListener("a", on);
      }, [addEventListener]);
      return null;
    }
    const { connected, hub } = setUp(<Again />);
    await connected();
    for (let n = 1; n <= 3; n++) {
      calls = 0;
      await act(() => hub.emit("a", n));
      // Twice under StrictMode, whose first effect is never taken back here.
      expect(calls).toBe(2);
    }
  });

  test("lastEvent may be read outside of the render, again and again", async () => {
    const hub = new FakeHub();
    const { result } = renderHook(() => useSSE(), {
      wrapper: ({ children }) => <FakeSSEProvider hub={hub}>{children}</FakeSSEProvider>,
    });
    await waitFor(() => expect(result.current.isConnected).toBe(true));
    await act(() => hub.emit("a", 1));
    const { current } = result;
    expect([current.lastEvent?.data, current.lastEvent?.data]).toEqual([1, 1]);
    await act(() => hub.emit("a", 2));
    expect(result.current.lastEvent?.data).toBe(2);
  });

  test("useSSEEvent calls the newest handler, and ends with its component", async () => {
    const calls: string[] = [];
    function Handler({ name }: { name: string }) {
      useSSEEvent("a", () => calls.push(name));
      return null;
    }
    const { connected, hub, rerender } = setUp(<Handler name="one" />);
    await connected();
    await act(() => hub.emit("a", 1));
    rerender(<Handler name="two" />);
    await act(() => hub.emit("a", 1));
    rerender(<Status />);
    await act(() => hub.emit("a", 1));
    expect(calls).toEqual(["one", "two"]);
  });

  test("control events reach listeners, and are no lastEvent; the server's error is an event, not the connection's", async () => {
    const heard: string[] = [];
    function All() {
      const { addEventListener, error } = useSSE();
      useEffect(() => {
        const offs = (["ping", "error"] as const).map((type) =>
          addEventListener(type, ({ event }) => heard.push(event)),
        );
        return () => offs.forEach((off) => off());
      }, [addEventListener]);
      return error;
    }
    const { connected, hub, container } = setUp(
      <>
        <All />
        <Latest />
      </>,
    );
    await connected();
    await act(() => hub.ping());
    expect(screen.getByTestId("latest").textContent).toBe("none");
    await act(() => hub.emit("error", { error: "Disk full" }));
    expect(heard).toEqual(["ping", "error"]);
    expect(container.textContent).toBe('{"error":"Disk full"}');
  });
});

describe("failures", () => {
  test("a lost connection resumes; nothing is lost or comes twice, in each component", async () => {
    const heard: unknown[] = [];
    function All() {
      useSSEEvent<number>("a", ({ data }) => heard.push(data));
      return <Status />;
    }
    const { connected, hub } = setUp(<All />);
    await connected();
    await act(() => hub.emit("a", 1));
    await act(async () => hub.drop());
    await waitFor(() =>
      expect(status()).toMatchObject({ status: "waiting", isConnecting: true, reconnectAttempts: 1 }),
    );
    expect(status().error).toContain("dropped");
    await act(() => hub.emit("a", 2));
    await waitFor(() => expect(heard).toEqual([1, 2]));
    expect(status()).toMatchObject({ isConnected: true, error: null });
  });

  test("gap and reset reach every component", async () => {
    const told: string[] = [];
    function Told({ name }: { name: string }) {
      useSSE({ onGap: ({ reason }) => told.push(`${name} gap ${reason}`), onReset: () => told.push(`${name} reset`) });
      return null;
    }
    const { connected, hub } = setUp(
      <>
        <Told name="one" />
        <Told name="two" />
      </>,
    );
    await connected();
    await act(() => hub.gap("slow"));
    expect(told).toEqual(["one gap slow", "two gap slow"]);
    await act(async () => hub.restart());
    await waitFor(() => expect(told.slice(2)).toEqual(["one reset", "two reset"]));
  });

  test("a refusal is the end, with status and body in errorDetail; connect() tries again", async () => {
    const hub = new FakeHub();
    hub.refuse(403, "not yours");
    const { result } = renderHook(() => useSSE(), {
      wrapper: ({ children }) => <FakeSSEProvider hub={hub}>{children}</FakeSSEProvider>,
    });
    await waitFor(() => expect(result.current.status).toBe("closed"));
    expect(result.current).toMatchObject({
      error: "status 403",
      errorDetail: { kind: "http", status: 403, body: "not yours" },
    });
    hub.refuse();
    act(() => result.current.connect());
    await waitFor(() => expect(result.current).toMatchObject({ isConnected: true, error: null, errorDetail: null }));
  });

  test("metadata with a reserved name throws in render, for an error boundary", () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    class Boundary extends Component<{ children: ReactNode }> {
      override state = { message: "" };
      static getDerivedStateFromError = (error: Error) => ({ message: error.message });
      override render() {
        return this.state.message || this.props.children;
      }
    }
    const { container } = setUp(
      <Boundary>
        <Status metadata={{ userId: "x" }} />
      </Boundary>,
    );
    expect(container.textContent).toContain('"userId" is reserved');
    vi.restoreAllMocks();
  });
});

describe("page loads", () => {
  test("a place of the page's own: what came between loading and subscribing arrives", async () => {
    const hub = new FakeHub();
    const cursor = hub.cursor;
    await hub.emit("a", "in between");
    render(
      <FakeSSEProvider hub={hub} lastEventId={cursor}>
        <Latest />
        <Status />
      </FakeSSEProvider>,
    );
    await waitFor(() => expect(screen.getByTestId("latest").textContent).toBe('"in between"'));
    expect(hub.connections).toHaveLength(1);
  });

  test("a newer lastEventId in a later render is no other connection", async () => {
    const { connected, requests, rerender } = setUp(<Latest lastEventId="1.1.0" />);
    await connected();
    rerender(<Latest lastEventId="1.1.5" />);
    await settled();
    expect(requests).toHaveBeenCalledTimes(1);
  });

  test("renders on a server, without a request, and hydrates without a complaint", async () => {
    const hub = new FakeHub();
    const requests = vi.spyOn(hub, "fetch");
    const complaints = vi.spyOn(console, "error");
    const app = (
      <FakeSSEProvider hub={hub}>
        <Status />
        <Latest />
      </FakeSSEProvider>
    );
    const html = renderToString(app);
    expect(html).toContain("idle");
    expect(requests).not.toHaveBeenCalled();
    const container = document.body.appendChild(document.createElement("div"));
    container.innerHTML = html;
    const root = await act(async () => hydrateRoot(container, app));
    await waitFor(() => expect(container.textContent).toContain("open"));
    expect(complaints).not.toHaveBeenCalled();
    act(() => root.unmount());
    container.remove();
  });

  test("a component that suspends does not reconnect the others, nor itself", async () => {
    let finish = () => {};
    const ready = new Promise<void>((resolve) => (finish = resolve));
    let done = false;
    void ready.then(() => (done = true));
    function Lazy() {
      if (!done) throw ready;
      return <Latest />;
    }
    const { connected, requests } = setUp(
      <Suspense fallback="…">
        <Status />
        <Lazy />
      </Suspense>,
    );
    await act(async () => finish());
    await connected();
    await settled();
    expect(requests).toHaveBeenCalledTimes(1);
  });
});

describe("SSEProvider", () => {
  test("gives options to all hooks below; a hook's own win, undefined says nothing, nested ones add", async () => {
    const { connected, hub } = setUp(
      <SSEProvider sessionId="s" topics={["inner"]}>
        <Status userId={undefined} topics={["own"]} />
      </SSEProvider>,
      { userId: "ada", topics: ["outer"] },
    );
    await connected();
    expect(hub.connections[0]).toMatchObject({ userId: "ada", sessionId: "s", topics: ["own"] });
  });
});

test("state of a component and events go together", async () => {
  function Counter() {
    const [count, setCount] = useState(0);
    useSSEEvent("a", () => setCount((n) => n + 1));
    return <p data-testid="count">{count}</p>;
  }
  const { connected, hub } = setUp(<Counter />);
  await connected();
  for (let n = 0; n < 3; n++) await act(() => hub.emit("a", n));
  expect(screen.getByTestId("count").textContent).toBe("3");
});
