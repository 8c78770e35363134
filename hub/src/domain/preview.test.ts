import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RolloutSpec } from "./fleet-spec.ts";
import { type DryRunAnswer, groupAnswers, type PreviewObject, wavesOf } from "./preview.ts";
import { immediateRollout } from "./rollout-plan.ts";

const object = (name: string): PreviewObject => ({
  object: `/ConfigMap/default/${name}`,
  bundle: "web",
  action: "create",
  message: "",
  fields: [],
  moreFields: 0,
});
const effect = (...names: string[]): DryRunAnswer => ({ objects: names.map(object), leftOut: 0, unchanged: 3, effect: names.join(",") });

describe("answers of clusters to a preview", () => {
  it("are grouped by what would be done, the largest group first", () => {
    const grouped = groupAnswers(
      new Map<string, DryRunAnswer | undefined>([
        ["c", effect("x")],
        ["a", effect("y")],
        ["b", effect("x")],
        ["d", effect()],
        ["e", { error: "its inventory cannot be read" }],
        ["f", undefined],
      ]),
    );
    expect(grouped.groups.map(({ clusters, objects }) => [clusters, objects.length])).toEqual([
      [["b", "c"], 1],
      [["a"], 1],
    ]);
    expect(grouped.same).toEqual(["d"]);
    expect(grouped.unknown).toEqual([
      { clusters: ["e"], reason: "its inventory cannot be read" },
      { clusters: ["f"], reason: "it did not answer in time" },
    ]);
  });

  it("lose no cluster and count none twice, in whatever order they come", () => {
    const answer = fc.oneof(
      fc.constant(undefined),
      fc.record({ error: fc.constantFrom("no", "late") }),
      fc.array(fc.constantFrom("x", "y", "z"), { maxLength: 2 }).map((names) => effect(...names)),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.string({ minLength: 1, maxLength: 4 }), answer), fc.nat(), (answers, shift) => {
        const entries = Object.entries(answers);
        const turned = [...entries.slice(shift % (entries.length + 1)), ...entries.slice(0, shift % (entries.length + 1))];
        const grouped = groupAnswers(new Map(turned));
        expect(grouped).toEqual(groupAnswers(new Map(entries)));
        const all = [...grouped.groups.flatMap(({ clusters }) => clusters), ...grouped.same, ...grouped.unknown.flatMap(({ clusters }) => clusters)];
        expect(all.sort()).toEqual(Object.keys(answers).sort());
        const sizes = grouped.groups.map(({ clusters }) => clusters.length);
        expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
      }),
    );
  });
});

describe("the waves of a change", () => {
  it("count the clusters that it concerns, and say what each waits for", () => {
    const after = { healthy: true, soakMs: 60_000, approval: "ops", metrics: [], jobs: [], check: "true" };
    const plan: RolloutSpec = {
      ...immediateRollout,
      waves: [
        { name: "canary", clusters: { matchLabels: { tier: "canary" } }, after },
        { name: "rest", clusters: {}, after: { healthy: false, soakMs: 0, metrics: [], jobs: [] } },
      ],
    };
    const concerned = [
      { name: "a", labels: { tier: "canary" } },
      { name: "b", labels: {} },
      { name: "c", labels: {} },
    ];
    expect(wavesOf(plan, concerned)).toEqual([
      { name: "canary", clusters: 1, waits: ["healthy", "soak 60 s", "check", "approval by ops"] },
      { name: "rest", clusters: 2, waits: [] },
    ]);
    expect(wavesOf(undefined, concerned)).toEqual([]);
  });
});
