import { defineConfig } from "tsdown";

const shared = { platform: "neutral", target: "es2022" } as const;

export default defineConfig([
  {
    ...shared,
    entry: {
      index: "src/index.ts",
      react: "src/react/index.ts",
      tabs: "src/tabs.ts",
      server: "src/server/index.ts",
      testing: "src/testing/index.ts",
      "testing-core": "src/testing/core.ts",
    },
    format: ["esm", "cjs"],
    fixedExtension: true,
    dts: true,
    deps: { neverBundle: ["react"] },
  },
  {
    ...shared,
    entry: { fanfare: "src/global.ts" },
    format: "iife",
    globalName: "Fanfare",
    outputOptions: { entryFileNames: "fanfare.global.js" },
    minify: true,
    dts: false,
    clean: false,
  },
]);
