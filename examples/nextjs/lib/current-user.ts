import { cookies } from "next/headers";

/**
 * Who is asking. Your session goes here: this example believes a cookie that anybody can set, and you must not. Never take
 * the user from the query, since a stream shows everything that is sent to its user.
 */
export async function currentUser(): Promise<string> {
  return (await cookies()).get("user")?.value ?? "user123";
}
