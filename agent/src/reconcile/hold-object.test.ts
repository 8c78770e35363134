import { describe, expect, it } from "vitest";
import type { EngineContext } from "./engine-context.ts";
import { newFleetRun } from "./fleet-run.ts";
import { holdObject } from "./hold-object.ts";
import type { DesiredObject } from "../domain/plan.ts";
import { type Sight, trackObject } from "./tracked-object.ts";

const key = "/ConfigMap/default/web";

/** A synced object, the work done to it, and whether it is looked at again afterwards. */
async function looksAgain(work: (object: ReturnType<typeof trackObject>) => void): Promise<boolean> {
  const run = newFleetRun("shop");
  const object = trackObject("shop", key, { group: "", kind: "ConfigMap", namespace: "default", name: "web" }, "v1", "web");
  object.live = sight("applied");
  object.isVisible = true;
  run.desired = { ...run.desired, objects: new Map([[key, { key, hash: "h", directives: { ssa: "override" } } as DesiredObject]]) };
  run.inventory.set(key, { key, apiVersion: "v1", bundle: "web", uid: "u", desired: "h", owned: "applied" });
  const queued: string[] = [];
  const engine = { queueObject: (_run: unknown, queuedKey: string) => void queued.push(queuedKey) } as unknown as EngineContext;
  await holdObject(run, object, engine, async () => work(object));
  expect(queued.length > 0 && object.live?.owned === "applied").toBe(object.isSuspect);
  return queued.length > 0;
}

function sight(owned: string): Sight {
  return { uid: "u", owned, guard: { paused: false } } as unknown as Sight;
}

describe("an object that is being worked on", () => {
  it("is left in peace when the watch told nothing meanwhile, or what the work knows already", async () => {
    expect(await looksAgain(() => undefined)).toBe(false);
    expect(await looksAgain((object) => Object.assign(object, { seenWhileBusy: "applied" }))).toBe(false);
  });

  it("is looked at again when the watch told of something else before the answer to a read came in", async () => {
    expect(await looksAgain((object) => Object.assign(object, { seenWhileBusy: "by hand" }))).toBe(true);
    expect(await looksAgain((object) => Object.assign(object, { seenWhileBusy: "" }))).toBe(true);
  });

  it("is looked at again when the watch told of a drift after the answer", async () => {
    expect(await looksAgain((object) => Object.assign(object, { seenWhileBusy: "by hand", live: sight("by hand") }))).toBe(true);
  });

  it("is not hurried when it failed: it has its own time", async () => {
    expect(await looksAgain((object) => Object.assign(object, { seenWhileBusy: "by hand", failure: { message: "no", attempts: 1, passes: false } }))).toBe(
      false,
    );
  });
});
