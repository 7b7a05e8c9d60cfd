import { notifyUser, realtimeUpdate } from "fanfare/server";
import type { NextRequest } from "next/server";
import { saveArticle } from "@/lib/articles";

/** Called by another service. Check its signature here, before you believe anything. */
export async function POST(request: NextRequest) {
  const { eventType, userId, data } = await request.json();

  // Awaited, so that a failure is answered with 500 and the other service tries again.
  switch (eventType) {
    case "user.created":
      await notifyUser(userId, {
        event: "notification",
        data: { title: "Welcome!", message: `Thanks for joining, ${data.name}!` },
      });
      break;

    case "user.profile.updated":
      await notifyUser(userId, {
        event: "profile_updated",
        data: { message: "Profile updated", changes: data.changes },
      });
      break;

    case "content.published":
      await saveArticle(data);
      await realtimeUpdate("content", data, data.subscriberIds);
      break;
  }

  return new Response("OK");
}
