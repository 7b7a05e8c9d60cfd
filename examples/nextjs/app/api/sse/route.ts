import { getSSEManager } from "fanfare/server";
import type { NextRequest } from "next/server";
import { currentUser } from "@/lib/current-user";

export const dynamic = "force-dynamic";

/** The hub's stream, passed on as it comes: browsers talk to this origin only, and never see the hub. */
export async function GET(request: NextRequest) {
  return getSSEManager().createConnection({
    userId: await currentUser(),
    metadata: { page: request.nextUrl.searchParams.get("page") ?? "" },
    // Without it, a browser that comes back would miss what was sent meanwhile.
    lastEventId: request.headers.get("last-event-id"),
    // The hub's stream ends with the browser's, however early it leaves.
    signal: request.signal,
  });
}
