import { describe, expect, it } from "vitest";
import { celLimits, compileCel } from "./cel.ts";
import { compileReadiness } from "./readiness.ts";

const counts = { objects: 2, applied: 2, healthy: 2, drifted: 0, failed: 0, health: "Current", synced: true };

function evaluate(text: string, input: Record<string, unknown>) {
  const compiled = compileReadiness(text);
  if (!compiled.ok) throw new Error(compiled.problem.message);
  return compiled.expression.evaluate(input);
}

describe("a readiness expression", () => {
  it("speaks of the bundle's counts and of live objects by name", () => {
    const text = "bundle.healthy == bundle.objects && objects['Deployment/db/main'].status.readyReplicas > 0";
    expect(evaluate(text, { bundle: counts, objects: { "Deployment/db/main": { status: { readyReplicas: 1 } } } })).toEqual({ ok: true, value: true });
    expect(evaluate(text, { bundle: counts, objects: { "Deployment/db/main": { status: { readyReplicas: 0 } } } })).toEqual({ ok: true, value: false });
  });

  it("tells which objects it needs", () => {
    const compiled = compileReadiness("objects['A/b/c'].x == 1 && objects['A/b/c'].y == 2 || objects['D/e'].z");
    expect(compiled.ok && compiled.expression.keysOf("objects")).toEqual(["A/b/c", "D/e"]);
  });

  it("is an error, not an exception, when what it asks for is missing", () => {
    expect(evaluate("objects['A/b/c'].status.x > 0", { bundle: counts, objects: {} })).toMatchObject({ ok: false, message: /A\/b\/c/ });
    expect(evaluate("objects[?'A/b/c'].?status.?x.orValue(0) > 0", { bundle: counts, objects: {} })).toEqual({ ok: true, value: false });
  });

  it.each([
    ["1 +", /Unexpected token/, 3],
    ["bundle.helthy == 1", /helthy/, 7],
    ["bundle.healthy", /must give true or false/, 0],
    ["bundle.health > 3", /no such overload|not defined|cannot/i, undefined],
    ["nosuch == 1", /nosuch/, 0],
    ["objects['Deployment/a/b/c'].x == 1", /Kind\/namespace\/name/, 9],
    ["objects['A/b/c'].name.matches('(a+)+$')", /matches is not allowed/, undefined],
    ["objects['A/b/c'].a.all(x, x.b.all(y, y.c.all(z, z)))", /nested 2 deep/, undefined],
    [`bundle.health == '${"x".repeat(celLimits.chars)}'`, /characters/, celLimits.chars],
    [Array.from({ length: 150 }, () => "1 == 1").join(" && "), /nodes/i, undefined],
    [`${"(".repeat(200)}true${")".repeat(200)}`, /depth|nest/i, undefined],
  ])("refuses %s", (text, message, offset) => {
    const compiled = compileReadiness(text);
    if (compiled.ok) throw new Error("it was accepted");
    expect(compiled.problem.message).toMatch(message);
    if (offset !== undefined) expect(compiled.problem.offset).toBe(offset);
  });

  it("does not walk through more than its bound", () => {
    const compiled = compileCel("items.all(x, items.all(y, y == x))", { items: "list<dyn>" });
    const items = Array.from({ length: 5_000 }, () => 1);
    expect(compiled.ok && compiled.expression.evaluate({ items })).toMatchObject({ ok: false, message: /too long/ });
    expect(compiled.ok && compiled.expression.evaluate({ items: items.slice(0, 100) })).toEqual({ ok: true, value: true });
  });
});
