import { waitFor } from "../harness/wait-for.ts";
import type { ChaosRig, RealMember } from "./chaos-rig.ts";
import { type FaultDriver, hubAndServers, type People, type Subject } from "./fault-driver.ts";
import { reachWithinMs } from "./judge-neighbours.ts";
import { whileStopped } from "./stop-processes.ts";

/** Nothing else is struck meanwhile. */
const everything: readonly Subject[] = ["agents", "API servers", "links", "disks", "Git", ...hubAndServers];

/** Until what struck the others before is not felt any more. */
const calmMs = 60_000;

/** One cluster alone is in trouble while Git moves, and says something that is broken: what the others do meanwhile is judged. */
export const siegeFaults: readonly FaultDriver[] = [
  siege("API server killed, and away while the others are pushed to", async ({ kube }, act) => {
    await kube.kill9ApiServer();
    try {
      await act();
    } finally {
      await kube.restart();
    }
  }),
  siege("agent stopped while the others are pushed to", ({ agent }, act) => whileStopped(agent.pid, act)),
  siege("wire to an API server silent while the others are pushed to", async ({ wire }, act) => {
    wire.hold();
    try {
      await act();
    } finally {
      wire.heal();
    }
  }),
];

function siege(name: string, strike: (member: RealMember, act: () => Promise<void>) => Promise<void>): FaultDriver {
  return {
    name,
    subjects: everything,
    async act(rig, dice, people) {
      const struck = dice.pick(rig.members);
      await waitForOthers(rig, people, struck.name, await people.push(rig), calmMs);
      const from = Date.now();
      await strike(struck, async () => {
        for (const hasBroken of [false, true, false]) {
          const revision = await people.push(rig, { hasBroken });
          // Whoever is late is found by the verdict.
          await waitForOthers(rig, people, struck.name, revision, reachWithinMs).catch(() => undefined);
        }
      });
      return { cluster: struck.name, alone: { from, to: Date.now() } };
    },
  };
}

async function waitForOthers(rig: ChaosRig, people: People, struck: string, revision: string, timeoutMs: number): Promise<void> {
  const others = [...rig.members, ...rig.crowd.names.map((name) => ({ name }))].map(({ name }) => name).filter((name) => name !== struck);
  await waitFor(
    async () => {
      const reached = await people.reached(rig, revision);
      return others.every((name) => reached.has(name));
    },
    { what: `${revision} in all clusters but ${struck}`, timeoutMs, everyMs: 200 },
  );
}
