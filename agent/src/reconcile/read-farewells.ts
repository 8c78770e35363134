import { readDirectives } from "@flotilla/proto/directives";
import type { OpenBody } from "../cluster/body-store.ts";
import { tellError } from "../cluster/kube-error.ts";
import { isFarewellHook, type Farewell } from "../domain/farewell.ts";
import { nothingIgnored } from "../domain/ignore.ts";
import { idOf, objectKey, type ObjectKey } from "../domain/object-id.ts";
import type { DesiredObject } from "../domain/plan.ts";
import { KubeError } from "../cluster/kube-error.ts";
import type { FleetRun } from "./fleet-run.ts";
import type { Desired } from "./read-desired.ts";
import { forgetRuns } from "./say-farewell.ts";

/**
 * What every bundle of a target, and every one that has left it, asks to be run when it is removed. Of those that have left, the hooks are read
 * from the body that is kept for them; one that is not there any more is a problem of that bundle alone.
 *
 * @throws KubeError when the cluster could not be read.
 */
export async function readFarewells(run: FleetRun, desired: Desired, open: (digest: string) => Promise<OpenBody>): Promise<readonly Farewell[]> {
  const byBundle = Map.groupBy(
    [...desired.hooks.values()].filter((hook) => isFarewellHook(hook)),
    ({ bundle }) => bundle,
  );
  const kept = [...byBundle].flatMap(([bundle, hooks]): Farewell[] => {
    const policy = desired.bundles.get(bundle);
    if (!policy) return [];
    const kinds = new Set(hooks.map(({ id }) => id.kind));
    const healthChecks = policy.healthChecks
      .filter(({ kind }) => kinds.has(kind))
      .map(({ group, kind, inProgress, failed, current }) => ({ group, kind, inProgress, failed, current }));
    const { digest: token, account, deadlines } = policy;
    const hooksByKey = new Map(hooks.map((hook) => [hook.key, hook]));
    return [{ bundle, token, state: "kept", account, hookDeadlineMs: deadlines.hook, healthChecks, hooks: hooksByKey, problem: "" }];
  });
  const left = [...run.farewells.values()].filter(({ bundle }) => !desired.bundles.has(bundle));
  return [...kept, ...(await Promise.all(left.map((farewell) => readLeft(farewell, open))))];
}

async function readLeft(farewell: Farewell, open: (digest: string) => Promise<OpenBody>): Promise<Farewell> {
  if (farewell.problem === "") return farewell;
  try {
    return { ...farewell, hooks: hooksOf(farewell, await open(farewell.token)), problem: "" };
  } catch (error) {
    if (!(error instanceof KubeError) || error.code !== "unusable") throw error;
    const problem = `its hooks before removal cannot be read (${tellError(error, "")}); put the bundle back and remove it again`;
    return { ...farewell, problem };
  }
}

function hooksOf({ bundle, token }: Farewell, body: OpenBody): Map<ObjectKey, DesiredObject> {
  const hooks = Array.from({ length: body.count }, (_, line): DesiredObject => {
    const object = body.object(line);
    const id = idOf(object);
    const { directives } = readDirectives(object);
    return { key: objectKey(id), id, apiVersion: object.apiVersion, bundle, body: token, line, hash: "", ignored: nothingIgnored, directives };
  });
  return new Map(hooks.filter((hook) => isFarewellHook(hook)).map((hook) => [hook.key, hook]));
}

/** Take them in with the target that they are of. A bundle that the target names has not left: what ran for an earlier removal counts no more. */
export function noteFarewells(run: FleetRun, desired: Desired, farewells: readonly Farewell[]): void {
  for (const { bundle, hooks } of run.farewells.values()) if (desired.bundles.has(bundle)) forgetRuns(run, hooks.keys());
  run.farewells.clear();
  for (const farewell of farewells) run.farewells.set(farewell.bundle, farewell);
}
