import fc from "fast-check";

/** What is done to one object by hand, behind the agent's back. */
export const handActs = ["delete", "recreate", "edit", "hold", "guard", "confirm", "unguard", "claim", "unlabel"] as const;

/** One object of a target, as drawn. */
export interface DrawnObject {
  readonly name: number;
  readonly bundle: number;
  readonly policy: number;
}

/** One step of a scenario: a target for one of its fleets, and what people do meanwhile. */
export interface DrawnStep {
  readonly fleet: number;
  readonly objects: readonly DrawnObject[];
  readonly kind: "valid" | "incomplete" | "empty" | "older" | "broken" | "orphan" | "delete";
  readonly approve: "nothing" | "what is held" | "another list" | "for another revision";
  readonly hands: readonly { readonly name: number; readonly act: (typeof handActs)[number] }[];
  readonly defaults: number;
  readonly waits: boolean;
}

export type DrawnScenario = readonly DrawnStep[];

/** Names of a scenario; the last two are of protected kinds. */
export const namesPerScenario = 14;

/** Annotations that objects may carry in Git. */
export const policies: readonly Readonly<Record<string, string>>[] = [
  {},
  { "flotilla.dev/prune": "disabled" },
  { "argocd.argoproj.io/sync-options": "Prune=confirm" },
  { "flotilla.dev/prune": "last" },
  { "kustomize.toolkit.fluxcd.io/reconcile": "disabled" },
  { "kustomize.toolkit.fluxcd.io/prune": "disabled" },
  { "argocd.argoproj.io/compare-options": "IgnoreExtraneous" },
  { "flotilla.dev/ssa": "ifNotPresent" },
  { "flotilla.dev/adopt": "if-no-diff" },
];

const name = fc.nat({ max: namesPerScenario - 1 });
const object = fc.record<DrawnObject>({
  // Protected kinds hold every list that they are on: they are drawn now and then.
  name: fc.oneof({ weight: 30, arbitrary: fc.nat({ max: namesPerScenario - 3 }) }, { weight: 1, arbitrary: name }),
  bundle: fc.nat({ max: 2 }),
  policy: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: policies.length - 1 }) }),
});
const weighted = <T>(...rows: [number, T][]) => fc.oneof(...rows.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })));
const step = fc.record<DrawnStep>({
  fleet: weighted<number>([3, 0], [1, 1]),
  objects: fc.uniqueArray(object, { selector: (drawn) => drawn.name, minLength: 6, maxLength: 12 }),
  kind: weighted<DrawnStep["kind"]>([14, "valid"], [1, "incomplete"], [1, "empty"], [1, "older"], [2, "broken"], [1, "orphan"], [1, "delete"]),
  approve: weighted<DrawnStep["approve"]>([2, "nothing"], [6, "what is held"], [1, "another list"], [1, "for another revision"]),
  hands: fc.array(fc.record({ name, act: fc.constantFrom(...handActs) }), { maxLength: 3 }),
  defaults: weighted<number>([4, 0], [1, 1], [1, 2]),
  waits: weighted<boolean>([2, true], [1, false]),
});

/** Scenarios begin with many objects, so that there is something to lose. */
const first = step.chain((drawn) =>
  fc
    .uniqueArray(object, { selector: ({ name: of }) => of, minLength: 9, maxLength: namesPerScenario - 1 })
    .map((objects): DrawnStep => ({ ...drawn, objects, kind: "valid", fleet: 0 })),
);

export const scenario: fc.Arbitrary<DrawnScenario> = fc.tuple(first, fc.array(step, { minLength: 2, maxLength: 4 })).map(([begin, rest]) => [begin, ...rest]);
