import { getSSEManager } from "fanfare/server";
import { listArticles } from "@/lib/articles";
import { currentUser } from "@/lib/current-user";
import { Articles } from "./articles";

export default async function Page() {
  const userId = await currentUser();
  // The place in the history first, then the state: what is published between the two arrives twice, and nothing is missed.
  const cursor = await getSSEManager().getCursor();
  const articles = await listArticles();
  return <Articles userId={userId} cursor={cursor} loaded={articles} />;
}
