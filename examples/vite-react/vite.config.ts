import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  server: {
    // The page and the stream have one origin, as they would behind one reverse proxy. `vite preview` does the same.
    proxy: { "/api/sse": process.env.FANFARE_URL ?? "http://127.0.0.1:4000" },
  },
});
