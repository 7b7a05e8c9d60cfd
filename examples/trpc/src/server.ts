import { createHTTPServer } from "@trpc/server/adapters/standalone";
import { appRouter } from "./router.js";
import { createContext } from "./trpc.js";

const port = Number(process.env.PORT ?? 3000);

createHTTPServer({ router: appRouter, createContext }).listen(port, "127.0.0.1", () => {
  console.log(`tRPC at http://127.0.0.1:${port}`);
});
