import { SSEProvider, useSSE, useSSEEvent } from "fanfare/react";
import { useState } from "react";

/** All components below the provider use one connection. */
export function App() {
  return (
    <SSEProvider userId="user123" metadata={{ page: "orders" }}>
      <header>
        <h1>Orders</h1>
        <Status />
      </header>
      <Orders />
      <Latest />
    </SSEProvider>
  );
}

function Status() {
  const { isConnected, isConnecting, error } = useSSE();
  return <p title={error ?? undefined}>{isConnected ? "Connected" : isConnecting ? "Connecting…" : "Disconnected"}</p>;
}

interface Order {
  number: number;
  amount: string;
}

/** Gets every event of one type, and is rendered by no other. */
function Orders() {
  const [orders, setOrders] = useState<Order[]>([]);
  useSSEEvent<Order>("order_paid", ({ data }) => setOrders((orders) => [data, ...orders]));
  return (
    <ul>
      {orders.map(({ number, amount }) => (
        <li key={number}>
          Order {number} was paid: {amount}
        </li>
      ))}
    </ul>
  );
}

/** Shows the newest event of any type. */
function Latest() {
  const { lastEvent } = useSSE();
  return <pre>{lastEvent ? `${lastEvent.event} ${JSON.stringify(lastEvent.data)}` : "Nothing yet."}</pre>;
}
