// Subscribes to the hub as a browser would, updates the profile over tRPC, and waits for the notification.

import { createTRPCClient, httpLink } from "@trpc/client";
import { SSEClient } from "fanfare";
import type { AppRouter } from "./router.js";

const hub = process.env.FANFARE_URL ?? "http://127.0.0.1:4000";
const userId = "user123";

const trpc = createTRPCClient<AppRouter>({
  links: [httpLink({ url: `http://127.0.0.1:${process.env.PORT ?? 3000}`, headers: { "x-user": userId } })],
});

const events = new SSEClient({ url: `${hub}/api/sse`, userId });
const connected = new Promise((resolve) => events.addEventListener("connected", resolve));
const notified = new Promise((resolve) => events.addEventListener("profile_updated", ({ data }) => resolve(data)));

events.connect();
await connected;
console.log("Answer:", await trpc.user.updateProfile.mutate({ name: "Ada" }));
console.log("Notification:", await notified);
events.disconnect();
