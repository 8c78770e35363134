import { setTimeout as delay } from "node:timers/promises";
import { leaseMs } from "@flotilla/hub/limits";
import type { ChaosRig } from "./chaos-rig.ts";
import { between, type FaultDriver } from "./fault-driver.ts";
import { stopAndWake } from "./stop-processes.ts";

/** Of two hubs one goes, and the other has its agents, its database and its work. Their servers may be struck meanwhile. */
export const twoHubsFaults: readonly FaultDriver[] = [
  {
    name: "one of two hubs killed",
    subjects: ["hub"],
    hubs: 2,
    async act({ hubs }, dice) {
      const hub = dice.pick(hubs);
      await hub.kill9();
      await delay(between(dice, 0, leaseMs + 5_000));
      await hub.restart();
      return { what: nameOf(hubs, hub) };
    },
  },
  {
    name: "one of two hubs stopped for longer than a lease, and woken",
    subjects: ["hub"],
    hubs: 2,
    async act({ hubs }, dice) {
      const hub = dice.pick(hubs);
      const { what = "" } = await stopAndWake(hub.pid, between(dice, leaseMs + 500, leaseMs + 5_000));
      return { what: `${nameOf(hubs, hub)}, ${what}` };
    },
  },
  {
    name: "one of two hubs restarted",
    subjects: ["hub"],
    hubs: 2,
    async act({ hubs }, dice) {
      const hub = dice.pick(hubs);
      await hub.stop();
      await hub.restart();
      return { what: nameOf(hubs, hub) };
    },
  },
];

function nameOf(hubs: ChaosRig["hubs"], hub: ChaosRig["hubs"][number]): string {
  return hub === hubs[0] ? "the first" : "the second";
}
