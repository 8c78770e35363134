import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// Once per run: real programs found or built, one Postgres for all workers, and at the end nothing may be left running.
const globalSetup = fileURLToPath(new URL("harness/global-setup.ts", import.meta.url));
// A machine that stalls for seconds is no fault of the code: in CI a test of real servers may be tried twice more, and the report says so.
const retry = process.env.CI ? 2 : 0;
// Nor is a unit test that waits for its turn on a busy one.
const testTimeout = 30_000;
// No test leaves anything behind that another could meet: two hundred files need not load the same modules two hundred times.
const isolate = false;
const servers = { isolate, hookTimeout: 300_000, testTimeout: 120_000, pool: "forks" as const, globalSetup, retry };

export default defineConfig({
  test: {
    // Tests of real servers wait half of their time; with more files at once than this they only take it from one another.
    maxWorkers: availableParallelism() * 2,
    coverage: {
      provider: "v8",
      include: ["{proto,hub,agent,cli}/src/**/*.ts"],
      exclude: ["**/gen/**", "**/*.test.ts"],
      reporter: ["text-summary", "html", "json-summary"],
      reportsDirectory: "coverage",
    },
    projects: [
      {
        test: {
          name: "unit",
          include: ["{proto,hub,agent,cli,test/harness}/**/*.test.ts"],
          exclude: ["**/node_modules/**", "**/dist/**"],
          testTimeout,
          isolate,
        },
      },
      { test: { name: "repo", include: ["test/repo/**/*.test.ts"], testTimeout, isolate } },
      { test: { name: "simulation", include: ["test/simulation/**/*.test.ts"], testTimeout: 300_000, isolate } },
      { test: { name: "integration", include: ["test/integration/**/*.test.ts"], ...servers } },
      { test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], ...servers } },
    ],
  },
});
