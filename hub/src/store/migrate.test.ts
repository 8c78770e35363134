import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { embedMigrations } from "./write-migrations.ts";

describe("migrations", () => {
  it("are embedded as their SQL files say; else run `node hub/src/store/write-migrations.ts`", () => {
    expect(readFileSync(new URL("./migrations/embedded.ts", import.meta.url), "utf8")).toBe(embedMigrations());
  });
});
