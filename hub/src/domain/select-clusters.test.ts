import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LabelSelector } from "./fleet-spec.ts";
import { matchesSelector, selectClusters, selectsEverything } from "./select-clusters.ts";

const key = fc.constantFrom("env", "region", "tier", "constructor");
const value = fc.constantFrom("a", "b", "c", "");
const labels = fc.dictionary(key, value);
const expression = fc.record({ key, operator: fc.constantFrom("In", "NotIn", "Exists", "DoesNotExist"), values: fc.array(value) });
const selector = fc.record(
  { matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 3 }) },
  { requiredKeys: [] },
) as fc.Arbitrary<LabelSelector>;

/** Kubernetes' rule, written the other way: every matchLabels pair is an In, and each requirement is looked up in a table. */
function reference(wanted: LabelSelector, given: Record<string, string>): boolean {
  const all = [
    ...Object.entries(wanted.matchLabels ?? {}).map(([name, text]) => ({ key: name, operator: "In", values: [text] })),
    ...(wanted.matchExpressions ?? []),
  ];
  for (const { key: name, operator, values = [] } of all) {
    const has = new Map(Object.entries(given)).has(name);
    const inside = values.some((text) => has && text === given[name]);
    const holds = { In: inside, NotIn: !has || !inside, Exists: has, DoesNotExist: !has }[operator];
    if (holds !== true) return false;
  }
  return true;
}

describe("matchesSelector", () => {
  it("is what Kubernetes says", () => {
    fc.assert(
      fc.property(selector, labels, (wanted, given) => {
        expect(matchesSelector(wanted, given)).toBe(reference(wanted, given));
      }),
      { numRuns: 2_000 },
    );
  });

  it("of an empty selector is everything, of NotIn also what has no such label", () => {
    expect(matchesSelector({}, {})).toBe(true);
    expect(matchesSelector({ matchExpressions: [{ key: "env", operator: "NotIn", values: ["prod"] }] }, {})).toBe(true);
    expect(matchesSelector({ matchLabels: { constructor: "x" } }, {})).toBe(false);
  });

  it("keeps the clusters' order", () => {
    const clusters = [
      { name: "b", labels: { env: "a" } },
      { name: "a", labels: {} },
      { name: "c", labels: { env: "a" } },
    ];
    expect(selectClusters({ matchLabels: { env: "a" } }, clusters).map(({ name }) => name)).toEqual(["b", "c"]);
  });

  it("knows a selector that matches everything", () => {
    fc.assert(
      fc.property(selector, labels, (wanted, given) => {
        if (selectsEverything(wanted)) expect(matchesSelector(wanted, given)).toBe(true);
      }),
    );
  });
});
