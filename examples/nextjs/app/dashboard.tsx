"use client";

import { type NotificationPayload, useSSE } from "fanfare/react";
import { useEffect, useState } from "react";
import { Status } from "./status";

export function Dashboard({ userId }: { userId: string }) {
  const [notifications, setNotifications] = useState<NotificationPayload[]>([]);
  const { isConnected, lastEvent, addEventListener } = useSSE({
    userId,
    metadata: { page: "dashboard" },
  });

  useEffect(() => {
    const unsubscribe = addEventListener("notification", (event) => {
      setNotifications((notifications) => [event.data, ...notifications]);
    });

    return unsubscribe;
  }, [addEventListener]);

  return (
    <>
      <header>
        <h1>Dashboard</h1>
        <Status isConnected={isConnected} />
      </header>
      <section>
        <h2>Notifications</h2>
        {notifications.length === 0 && <p className="quiet">Nothing yet for {userId}.</p>}
        <ul>
          {notifications.map(({ title, message }, index) => (
            <li key={notifications.length - index}>
              <strong>{title}</strong> {message}
            </li>
          ))}
        </ul>
      </section>
      <section>
        <h2>Latest event</h2>
        {lastEvent ? (
          <pre>
            {lastEvent.event} {JSON.stringify(lastEvent.data, null, 2)}
          </pre>
        ) : (
          <p className="quiet">None yet.</p>
        )}
      </section>
    </>
  );
}
