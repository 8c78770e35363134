import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { describeApi } from "./write-openapi.ts";

describe("docs/schema/openapi.json", () => {
  it("is what the routes say; else run `node hub/src/api/write-openapi.ts`", async () => {
    expect(readFileSync(new URL("../../../docs/schema/openapi.json", import.meta.url), "utf8")).toBe(await describeApi());
  });

  it("is OpenAPI 3.1, with an operation id and problem answers everywhere", async () => {
    const document = JSON.parse(await describeApi()) as {
      openapi: string;
      paths: Record<string, Record<string, { operationId?: string; responses: Record<string, unknown> }>>;
    };
    expect(document.openapi).toBe("3.1.0");
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    expect(operations.length).toBeGreaterThan(20);
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const { operationId, responses } of operations) expect(Object.keys(responses), operationId).toEqual(expect.arrayContaining(["4XX", "5XX"]));
  });
});
