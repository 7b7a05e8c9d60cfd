import { SSEProvider } from "fanfare/react";
import { currentUser } from "@/lib/current-user";
import { Jobs } from "./jobs";

export default async function Page() {
  return (
    <SSEProvider userId={await currentUser()} metadata={{ page: "jobs" }}>
      <Jobs />
    </SSEProvider>
  );
}
