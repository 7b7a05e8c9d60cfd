import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Its build of modules, so that the aliases below reach what it imports.
const testingLibrary = fileURLToPath(
  new URL("../../node_modules/@testing-library/react/dist/@testing-library/react.esm.js", import.meta.url),
);
const react18 = fileURLToPath(new URL("../../tests/react18/node_modules", import.meta.url));
const react = {
  environment: "happy-dom",
  testTimeout: 20_000,
  include: ["test/react/**/*.test.tsx"],
  server: { deps: { inline: [/@testing-library/] } },
};

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 30_000 } },
      { test: { name: "server", include: ["test/server/**/*.test.ts"], testTimeout: 20_000 } },
      { test: { name: "react 19", ...react } },
      {
        test: { name: "react 18", ...react },
        resolve: {
          alias: [
            { find: "@testing-library/react", replacement: testingLibrary },
            { find: /^(react|react-dom)(\/.*)?$/, replacement: `${react18}/$1$2` },
          ],
        },
      },
    ],
  },
});
