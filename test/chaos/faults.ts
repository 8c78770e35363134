import type { ChaosRig } from "./chaos-rig.ts";
import type { FaultDriver } from "./fault-driver.ts";
import { identityFaults } from "./identity-faults.ts";
import { processFaults } from "./process-faults.ts";
import { siegeFaults } from "./siege-faults.ts";
import { storeFaults } from "./store-faults.ts";
import { wireFaults } from "./wire-faults.ts";

/** Every kind of fault. */
const faultDrivers: readonly FaultDriver[] = [...processFaults, ...storeFaults, ...wireFaults, ...identityFaults, ...siegeFaults];

/** What can be done here, to so many hubs. */
export function driversFor(rig: ChaosRig, { only = "", say }: { readonly only?: string | undefined; readonly say: (line: string) => void }): FaultDriver[] {
  const wanted = faultDrivers.filter(({ name, hubs = rig.hubs.length }) => hubs === rig.hubs.length && name.includes(only));
  if (wanted.length === 0) throw new Error(`no fault has "${only}" in its name`);
  return wanted.filter(({ name, isPossible }) => {
    if (isPossible?.(rig) ?? true) return true;
    say(`  left out, because it cannot be done here: ${name}`);
    return false;
  });
}

/** Everything passes and runs again, and there is room, whatever was going on. */
export async function healAll({ git, wires, members, disks }: ChaosRig): Promise<void> {
  git.fail({ kind: "none" });
  for (const wire of [...wires.links, wires.broker, ...members.map((member) => member.wire)]) wire.heal();
  for (const disk of disks ? [disks.hub, ...disks.agents.values()] : []) await disk.empty();
}
