import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { describeProblem } from "./problem.ts";

describe("describeProblem", () => {
  it("puts the place first and the remedy last", () => {
    expect(describeProblem({ code: "x", message: "unknown field 'bundels'", file: "fleet.yaml", line: 12, column: 5, hint: "did you mean 'bundles'?" })).toBe(
      "fleet.yaml:12:5: unknown field 'bundels'; did you mean 'bundles'?",
    );
    expect(describeProblem({ code: "x", message: "no" })).toBe("no");
  });
});

describe("docs/problems.md", () => {
  it("tells every code that parsing, fetching and rendering can give", () => {
    const documented = new Set(
      [...readFileSync(new URL("../../../docs/problems.md", import.meta.url), "utf8").matchAll(/`([a-z0-9.-]+)`/g)].map(([, code]) => code),
    );
    const given = ["domain", "source", "render"].flatMap((folder) => codesIn(fileURLToPath(new URL(`../${folder}`, import.meta.url))));
    expect(given.length).toBeGreaterThan(50);
    expect([...new Set(given)].filter((code) => !documented.has(code))).toEqual([]);
  });
});

/** `code: "…"` and the code given to the functions that make problems. */
function codesIn(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .flatMap((name) => [
      ...readFileSync(join(folder, name), "utf8").matchAll(/\bcode: "([a-z0-9.-]+)"|(?:tell|warn)\(\w+, [^,\n]+, "([a-z0-9.-]+)"|plain\("([a-z-]+)"/g),
    ])
    .map(([, ...codes]) => codes.find((code) => code !== undefined) ?? "");
}
