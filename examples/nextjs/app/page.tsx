import { currentUser } from "@/lib/current-user";
import { Dashboard } from "./dashboard";

export default async function Page() {
  return <Dashboard userId={await currentUser()} />;
}
