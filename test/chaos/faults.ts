import type { ChaosRig } from "./chaos-rig.ts";
import type { FaultDriver } from "./fault-driver.ts";
import { identityFaults } from "./identity-faults.ts";
import { processFaults } from "./process-faults.ts";
import { storeFaults } from "./store-faults.ts";
import { wireFaults } from "./wire-faults.ts";

/** Every kind of fault. */
export const faultDrivers: readonly FaultDriver[] = [...processFaults, ...storeFaults, ...wireFaults, ...identityFaults];

/** Everything passes and runs again, and there is room, whatever was going on. */
export async function healAll({ git, wires, members, disks }: ChaosRig): Promise<void> {
  git.fail({ kind: "none" });
  for (const wire of [wires.link, wires.broker, ...members.map((member) => member.wire)]) wire.heal();
  for (const disk of disks ? [disks.hub, ...disks.agents.values()] : []) await disk.empty();
}
