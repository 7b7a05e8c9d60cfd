"use client";

import { type RealtimeUpdatePayload, useSSE, useSSEEvent } from "fanfare/react";
import { useRouter } from "next/navigation";
import { useState } from "react";
import type { Article } from "@/lib/articles";
import { Status } from "../status";

interface Props {
  userId: string;
  /** Where `loaded` was read: the stream begins there. */
  cursor: string;
  loaded: Article[];
}

export function Articles({ userId, cursor, loaded }: Props) {
  const router = useRouter();
  const [published, setPublished] = useState<Article[]>([]);
  const options = { userId, metadata: { page: "articles" }, lastEventId: cursor };

  const { isConnected } = useSSE({
    ...options,
    // After a long sleep events may be gone: the server renders the list anew.
    onGap: () => router.refresh(),
    onReset: () => router.refresh(),
  });
  // The same options: the same connection.
  useSSEEvent<RealtimeUpdatePayload<Article>>(
    "update",
    ({ data: { type, data } }) => {
      if (type === "content") setPublished((published) => [data, ...published]);
    },
    options,
  );

  const fresh = published.filter(({ id }) => !loaded.some((article) => article.id === id));
  return (
    <>
      <header>
        <h1>Articles</h1>
        <Status isConnected={isConnected} />
      </header>
      <section>
        {loaded.length + fresh.length === 0 && <p className="quiet">Nothing was published yet.</p>}
        <ul>
          {[...fresh, ...loaded].map(({ id, title }) => (
            <li key={id}>{title}</li>
          ))}
        </ul>
      </section>
    </>
  );
}
