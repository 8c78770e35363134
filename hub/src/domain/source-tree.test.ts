import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolveInside } from "./source-tree.ts";

describe("resolveInside", () => {
  it.each([
    ["apps/web", "../base", "apps/base"],
    ["apps/web", "./a.yaml", "apps/web/a.yaml"],
    ["", ".", ""],
    ["apps", "..", ""],
    ["apps", "../..", undefined],
    ["apps", "/etc/passwd", undefined],
    ["apps", "a\\b", undefined],
    ["apps", "a\u0000b", undefined],
    ["apps", "b/../../../c", undefined],
  ])("of %s and %s is %s", (folder, reference, path) => {
    expect(resolveInside(folder, reference)).toBe(path);
  });

  it("never leads outside, and what it gives stays as it is", () => {
    const part = fc.constantFrom("a", "b", "..", ".", "", "c.yaml", "...", "\\", "..\\");
    const path = fc.array(part, { maxLength: 8 }).map((parts) => parts.join("/"));
    fc.assert(
      fc.property(path, path, (folder, reference) => {
        const found = resolveInside(folder, reference);
        if (found === undefined) return;
        expect(found.split("/")).not.toContain("..");
        expect(found.startsWith("/")).toBe(false);
        expect(resolveInside("", found)).toBe(found);
      }),
    );
  });
});
