import { initTRPC, TRPCError } from "@trpc/server";
import type { CreateHTTPContextOptions } from "@trpc/server/adapters/standalone";

/** Who is asking. Your session goes here: this example believes a header that anybody can send, and you must not. */
export function createContext({ req }: CreateHTTPContextOptions) {
  const id = req.headers["x-user"];
  return { user: typeof id === "string" ? { id } : null };
}

const t = initTRPC.context<typeof createContext>().create();

export const router = t.router;

export const privateProcedure = t.procedure.use(({ ctx: { user }, next }) => {
  if (!user) throw new TRPCError({ code: "UNAUTHORIZED" });
  return next({ ctx: { user } });
});
