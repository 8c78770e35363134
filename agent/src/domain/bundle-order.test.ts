import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { closedBecause, failureHooks, orderBundle, type BundleFacts, type HookFact, type HookState, type ObjectFact, type RunPhase } from "./bundle-order.ts";

const object = (name: string, stage = 0, more: Partial<ObjectFact> = {}): ObjectFact => ({
  name,
  stage,
  isEarly: false,
  isApplied: false,
  isHealthy: false,
  why: "",
  waitsForDefinition: false,
  ...more,
});
const done = { isApplied: true, isHealthy: true } as const;
const hook = (name: string, phase: RunPhase, state: HookState, stage = 0): HookFact => ({
  key: name,
  name,
  phase,
  stage,
  state,
  why: state === "failed" ? "it broke" : "",
});
const facts = (more: Partial<BundleFacts>): BundleFacts => ({ hold: undefined, waitsFor: undefined, objects: [], hooks: [], wasDone: false, ...more });
const started = (more: Partial<BundleFacts>) => orderBundle(facts(more)).start.map(({ key }) => key);

describe("the order of a bundle", () => {
  it("of one stage without hooks is open at once, and is done when all is applied, whatever its health", () => {
    const order = orderBundle(facts({ objects: [object("a"), object("b")] }));
    expect(order).toMatchObject({ phase: "apply", openStage: Infinity, start: [] });
    expect(orderBundle(facts({ objects: [object("a", 0, { isApplied: true })] })).phase).toBe("done");
  });

  it("opens a stage when all before is applied and healthy", () => {
    const objects = [object("later", 1), object("first", -1, { isApplied: true, why: "starts" })];
    const order = orderBundle(facts({ objects }));
    expect(order).toMatchObject({ phase: "stage", stage: -1, openStage: -1, blocker: "first: starts" });
    expect(closedBecause(order, 1, false)).toBe("waits for stage -1: first: starts");
    expect(closedBecause(order, -1, false)).toBeUndefined();
    expect(orderBundle(facts({ objects: [object("later", 1), object("first", -1, done)] })).openStage).toBe(1);
  });

  it("runs pre hooks before everything but definitions and namespaces, by stage", () => {
    const objects = [object("a"), object("ns", 0, { isEarly: true })];
    const hooks = [hook("two", "pre", "due", 1), hook("one", "pre", "due")];
    const order = orderBundle(facts({ objects, hooks }));
    expect(order).toMatchObject({ phase: "pre", start: [{ key: "one" }] });
    expect(closedBecause(order, 0, false)).toMatch(/pre hook one/);
    expect(closedBecause(order, 0, true)).toBeUndefined();
    expect(started({ objects, hooks: [hook("two", "pre", "due", 1), hook("one", "pre", "started")] })).toEqual([]);
    expect(started({ objects, hooks: [hook("two", "pre", "due", 1), hook("one", "pre", "succeeded")] })).toEqual(["two"]);
  });

  it("stops at a hook that failed, and starts failure hooks", () => {
    const hooks = [hook("one", "pre", "failed"), hook("sad", "failure", "due")];
    const order = orderBundle(facts({ objects: [object("a")], hooks }));
    expect(order).toMatchObject({ failed: "pre hook one failed: it broke", start: [], openStage: -Infinity });
    expect(failureHooks(facts({ hooks })).map(({ key }) => key)).toEqual(["sad"]);
    expect(failureHooks(facts({ hooks, wasDone: true }))).toEqual([]);
  });

  it("runs post hooks when all is applied and healthy, and nothing of what came to its end before", () => {
    const hooks = [hook("after", "post", "due")];
    expect(started({ objects: [object("a", 0, { isApplied: true })], hooks })).toEqual([]);
    expect(started({ objects: [object("a", 0, done)], hooks })).toEqual(["after"]);
    expect(orderBundle(facts({ objects: [object("a", 0, { isApplied: true })], hooks, wasDone: true }))).toMatchObject({
      phase: "done",
      start: [],
      failed: "",
    });
  });

  it("is closed altogether while it is held or waits for others", () => {
    for (const more of [{ hold: "suspended" }, { waitsFor: "waits for bundle db" }]) {
      const order = orderBundle(facts({ objects: [object("a")], hooks: [hook("one", "pre", "due")], ...more }));
      expect(order).toMatchObject({ isOpen: false, start: [] });
      expect(closedBecause(order, 0, true)).toBe(Object.values(more)[0]);
    }
  });

  it("comes to its end when whatever may go goes well, and never opens a stage before those below it are healthy", () => {
    const anyObject = fc.record({ stage: fc.integer({ min: -2, max: 2 }), isEarly: fc.boolean() });
    const anyHook = fc.record({ phase: fc.constantFrom<RunPhase>("pre", "sync", "post"), stage: fc.integer({ min: -1, max: 1 }) });
    fc.assert(
      fc.property(fc.array(anyObject, { maxLength: 8 }), fc.array(anyHook, { maxLength: 5 }), (written, hooked) => {
        let objects = written.map(({ stage, isEarly }, index) => object(`o${index}`, stage, { isEarly }));
        let hooks = hooked.map(({ phase, stage }, index) => hook(`h${index}`, phase, "due", stage));
        for (let round = 0; round <= objects.length + hooks.length + 1; round++) {
          const order = orderBundle(facts({ objects, hooks }));
          if (order.phase === "done") break;
          const mayGo = (one: ObjectFact) => closedBecause(order, one.stage, one.isEarly) === undefined;
          const isOrdered = hooks.length > 0 || new Set(objects.filter(({ isEarly }) => !isEarly).map(({ stage }) => stage)).size > 1;
          for (const one of objects.filter((candidate) => isOrdered && !candidate.isEarly && mayGo(candidate)))
            expect(objects.filter((other) => !other.isEarly && other.stage < one.stage).every(({ isHealthy }) => isHealthy)).toBe(true);
          objects = objects.map((one) => (mayGo(one) ? { ...one, ...done } : one));
          const begun = new Set(order.start.map(({ key }) => key));
          hooks = hooks.map((one) => (begun.has(one.key) ? { ...one, state: "succeeded" as const } : one));
        }
        expect(orderBundle(facts({ objects, hooks })).phase).toBe("done");
      }),
      { verbose: true },
    );
  });
});
