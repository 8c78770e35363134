import type { BundleOrder } from "../domain/bundle-order.ts";

/** For people: what a bundle is at. */
export function tellOrderPhase(order: BundleOrder): string {
  const phases: Readonly<Record<BundleOrder["phase"], string>> = {
    held: "held",
    dependsOn: "waiting for other bundles",
    definitions: "waiting for definitions",
    pre: "running pre hooks",
    apply: "applying",
    stage: `in stage ${order.stage ?? 0}`,
    sync: `running sync hooks of stage ${order.stage ?? 0}`,
    post: "running post hooks",
    done: "done",
  };
  return phases[order.phase];
}
