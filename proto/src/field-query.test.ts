import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileFieldQuery, fieldQueryLimits } from "./field-query.ts";

const object = {
  metadata: { annotations: { "a/b": "1", plain: "2" } },
  spec: {
    replicas: 3,
    paused: false,
    containers: [
      { name: "main", image: "app:1", env: [{ name: "A", value: "1" }, { name: "B" }] },
      { name: "istio-proxy", image: "proxy:1", resources: { limits: { cpu: "1" } } },
    ],
  },
};

function pointers(text: string): string[] {
  const compiled = compileFieldQuery(text);
  if (!compiled.ok) throw new Error(compiled.problem.message);
  return compiled.query.find(object).map(({ pointer }) => pointer);
}

const problem = (text: string) => {
  const compiled = compileFieldQuery(text);
  return compiled.ok ? undefined : compiled.problem;
};

describe("field queries", () => {
  it.each([
    [".spec.replicas", ["/spec/replicas"]],
    ['.metadata.annotations["a/b"]', ["/metadata/annotations/a~1b"]],
    ['.["spec"].replicas', ["/spec/replicas"]],
    [".spec.containers[0].image", ["/spec/containers/0/image"]],
    [".spec.containers[].name", ["/spec/containers/0/name", "/spec/containers/1/name"]],
    [".metadata.annotations[]", ["/metadata/annotations/a~1b", "/metadata/annotations/plain"]],
    ['.spec.containers[] | select(.name == "istio-proxy")', ["/spec/containers/1"]],
    ['.spec.containers[] | select(.name != "main") | .resources.limits.cpu', ["/spec/containers/1/resources/limits/cpu"]],
    [".spec.containers[] | select(.env) | .env[] | select(.value == null) | .name", ["/spec/containers/0/env/1/name"]],
    ['.spec.containers[] | select(.name == "main" and (.image == "x" or .image == "app:1")) | .image', ["/spec/containers/0/image"]],
    [".spec.containers[] | select(not (.env)) | .name", ["/spec/containers/1/name"]],
    ["select(.spec.paused == false) | .spec.replicas", ["/spec/replicas"]],
    ["select(.spec.replicas == 3) | .spec.paused", ["/spec/paused"]],
    [".spec.nothing.at.all", []],
    [".spec.containers.name", []],
    [".spec[0]", []],
  ])("%s", (text, wanted) => {
    expect(pointers(text)).toEqual(wanted);
  });

  it.each([
    ["", 0, /begins with '.'/],
    [".", 0, /whole object/],
    ["spec.replicas", 0, /begins with '.'/],
    [".spec.", 5, /name is expected/],
    [".spec.containers[", 17, /double quotes/],
    [".spec | select(.a == )", 21, /double quotes/],
    [".spec | select(.a == 'x')", 21, /double quotes/],
    [".spec | map(.a)", 8, /begins with '.'/],
    ['.spec | select(.a | test("x"))', 18, /'\)' is expected/],
    [".spec extra", 6, /not expected/],
    ['.spec["\\x"]', 6, /JSON/],
  ])("refuses %j at %i", (text, offset, message) => {
    expect(problem(text)).toMatchObject({ offset, message: expect.stringMatching(message) as string });
  });

  it("bounds text, parts, brackets and visits", () => {
    expect(problem(`.${"a".repeat(600)}`)?.message).toMatch(/characters/);
    expect(problem(".a".repeat(100))?.message).toMatch(/parts/);
    expect(problem(`select(${"(".repeat(25)}.a${")".repeat(25)})`)?.message).toMatch(/nested|parts/);
    const wide = { a: Array.from({ length: 300 }, () => Array.from({ length: 300 }, () => 1)) };
    const compiled = compileFieldQuery(".a[][] | select(. == 1)");
    expect(compiled.ok && compiled.query.find(wide).length).toBeLessThan(fieldQueryLimits.visits + 1);
  });

  it("never throws, and only names places that are there", () => {
    const part = fc.constantFrom(".a", "[0]", "[]", '["x"]', " | ", "select(", ")", ".", "==", "null", '"', "and", "or", "not", " ", "1", "$", "\\");
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 20 }).map((parts) => parts.join("")),
        fc.jsonValue(),
        (text, value) => {
          const compiled = compileFieldQuery(text);
          if (!compiled.ok) {
            expect(compiled.problem.offset).toBeGreaterThanOrEqual(0);
            return;
          }
          for (const { pointer, value: found } of compiled.query.find(value)) {
            const steps = pointer
              .split("/")
              .slice(1)
              .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
            expect(steps.reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], value)).toBe(found);
          }
        },
      ),
    );
  });
});
