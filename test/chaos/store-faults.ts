import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { SmallDisk } from "../harness/small-disk.ts";
import { between, type FaultDriver, seconds, type Struck } from "./fault-driver.ts";
import { killServer, livePid, whileStopped } from "./stop-processes.ts";

/** What is kept is lost, old, or cannot be written. */
export const storeFaults: readonly FaultDriver[] = [
  {
    name: "broker's store wiped",
    subject: "broker",
    async act(rig) {
      await rm(join(rig.brokerStore, "jetstream"), { recursive: true, force: true });
      return killServer(rig, "nats");
    },
  },
  {
    name: "broker's store goes back in time",
    subject: "broker",
    async act(rig, dice) {
      const [store, copy] = [join(rig.brokerStore, "jetstream"), join(rig.folder, "jetstream-before")];
      await whileStopped(await livePid(rig, "nats"), async () => {
        await rm(copy, { recursive: true, force: true });
        await cp(store, copy, { recursive: true });
      });
      const backMs = between(dice, 1_000, 6_000);
      await delay(backMs);
      await whileStopped(await livePid(rig, "nats"), async (pid) => {
        await rm(store, { recursive: true, force: true });
        await cp(copy, store, { recursive: true });
        process.kill(pid, "SIGKILL");
      });
      return { what: seconds(backMs) };
    },
  },
  {
    name: "disk of the hub full (its Postgres', its broker's and its clone's too)",
    subject: "hub",
    isPossible: ({ disks }) => disks !== undefined,
    act: async ({ disks }, dice) => keepFull(disks?.hub, between(dice, 1_000, 6_000)),
  },
  {
    name: "disk of an agent full",
    subject: "disks",
    isPossible: ({ disks }) => disks !== undefined,
    async act({ members, disks }, dice) {
      const { name } = dice.pick(members);
      return { cluster: name, ...(await keepFull(disks?.agents.get(name), between(dice, 1_000, 8_000))) };
    },
  },
];

/** What is freed meanwhile is filled again. */
async function keepFull(disk: SmallDisk | undefined, ms: number): Promise<Struck> {
  const until = Date.now() + ms;
  try {
    while (Date.now() < until) {
      await disk?.fill();
      await delay(refillEveryMs);
    }
  } finally {
    await disk?.empty();
  }
  return { what: seconds(ms) };
}

const refillEveryMs = 250;
