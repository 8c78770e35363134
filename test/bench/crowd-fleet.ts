import type { GitChanges } from "../harness/git-server.ts";
import { waitForValue } from "../harness/wait-for.ts";
import type { CrowdRig } from "./crowd-rig.ts";

/** A fleet of so many apps, each a bundle with one ConfigMap of that size, whose objects hold `round-N.`. */
export function manyApps(apps: number, round: number, textBytes = 200): GitChanges {
  const names = Array.from({ length: apps }, (_, index) => `app-${index}`);
  const bundles = names.map((name) => `    - { name: ${name}, path: apps/${name} }\n`).join("");
  return {
    "deploy/fleet.yaml": `apiVersion: flotilla.dev/v1\nkind: Fleet\nmetadata: { name: shop }\nspec:\n  bundles:\n${bundles}`,
    ...Object.fromEntries(names.map((name) => [`deploy/apps/${name}/app.yaml`, appManifest(name, round, textBytes)])),
  };
}

export function appManifest(name: string, round: number, textBytes = 200): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "round-${round}.", text: "${"x".repeat(textBytes)}" }\n`;
}

/** Every agent has told that it runs what it should, healthy. */
export async function settled(rig: CrowdRig, clusters: number, timeoutMs = 600_000): Promise<void> {
  await waitForValue(
    () => rig.hub.api.fleet("shop"),
    ({ tally, revision, seenRevision }) =>
      revision !== null && revision === seenRevision && tally.clusters === clusters && tally.synced === clusters && tally.current === clusters,
    { what: "every agent's word for it", timeoutMs, everyMs: 200 },
  );
}
