// What snippets of the documentation take from the reader's own application, and do not define.

interface Order {
  id: string;
}

declare function currentUser(): Promise<{ id: string }>;
declare function loadOrders(): Promise<Order[]>;
declare function reload(): void;
declare function show(...what: unknown[]): void;
declare function token(): Promise<string>;

// With a bare `EventSource` a server event named `error` has data; TypeScript's own types know only of failures.
interface EventSource {
  addEventListener(type: "error", listener: (event: MessageEvent) => void): void;
}
