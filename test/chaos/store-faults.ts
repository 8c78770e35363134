import { execFile } from "node:child_process";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { SmallDisk } from "../harness/small-disk.ts";
import { waitFor } from "../harness/wait-for.ts";
import type { ChaosRig } from "./chaos-rig.ts";
import { between, type Dice, type FaultDriver, hubAndServers, seconds, type Struck } from "./fault-driver.ts";
import { isAlive, killServer, livePid, whileStopped } from "./stop-processes.ts";

/** What is kept is lost, old, or cannot be written. */
export const storeFaults: readonly FaultDriver[] = [
  {
    name: "broker's store wiped",
    subjects: ["broker"],
    async act(rig) {
      await rm(join(rig.brokerStore, "jetstream"), { recursive: true, force: true });
      return killServer(rig, "nats");
    },
  },
  {
    name: "broker's store goes back in time",
    subjects: ["broker"],
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
    name: "Postgres goes back in time (the hub and its servers are killed twice)",
    subjects: hubAndServers,
    losesTail: true,
    hubs: 1,
    act: async (rig, dice) => goBack(rig, dice, (act) => whileHubIsDead(rig, act)),
  },
  {
    name: "Postgres goes back in time under running hubs (it is stopped twice)",
    subjects: ["Postgres", "disks"],
    losesTail: true,
    hubs: 2,
    act: async (rig, dice) => goBack(rig, dice, (act) => whilePostgresIsAway(rig, act)),
  },
  {
    name: "disk of the hub full (its Postgres', its broker's and its clone's too)",
    subjects: hubAndServers,
    isPossible: ({ disks }) => disks !== undefined,
    async act({ disks, shared }, dice) {
      const struck = await keepFull(disks?.hub, between(dice, 1_000, 6_000));
      // A hub starts its own broker anew when that gave its stream up; of another's somebody must.
      if (shared?.nats.couldNotWrite === true) shared.nats.restart();
      return struck;
    },
  },
  {
    name: "disk of an agent full",
    subjects: ["disks"],
    isPossible: ({ disks }) => disks !== undefined,
    async act({ members, disks }, dice) {
      const { name } = dice.pick(members);
      return { cluster: name, ...(await keepFull(disks?.agents.get(name), between(dice, 1_000, 8_000))) };
    },
  },
];

/** A copy is kept, and some seconds later put in the place of what Postgres has by then: what it committed in between is lost. */
async function goBack(rig: ChaosRig, dice: Dice, whileAway: (act: () => Promise<void>) => Promise<void>): Promise<Struck> {
  const copy = join(rig.folder, "postgres-before");
  let lost = { from: 0, to: 0 };
  await whileAway(async () => {
    await rm(copy, { recursive: true, force: true });
    await copyWithOwners(rig.postgresStore, copy);
    lost = { ...lost, from: Date.now() };
  });
  const backMs = between(dice, 1_000, 6_000);
  await delay(backMs);
  await whileAway(async () => {
    lost = { ...lost, to: Date.now() };
    await rm(rig.postgresStore, { recursive: true, force: true });
    await copyWithOwners(copy, rig.postgresStore);
  });
  return { what: seconds(backMs), lost };
}

/** The hubs run, and ask in vain. */
async function whilePostgresIsAway({ shared }: ChaosRig, act: () => Promise<void>): Promise<void> {
  await shared?.stopPostgres();
  try {
    await act();
  } finally {
    await shared?.startPostgres();
  }
}

/** Its Postgres ends after it, and may still write. */
async function whileHubIsDead(rig: ChaosRig, act: () => Promise<void>): Promise<void> {
  const postgres = await livePid(rig, "postgres");
  await rig.hubs[0]?.kill9();
  await waitFor(async () => !isAlive(postgres), { what: "the end of the hub's Postgres", timeoutMs: 30_000 });
  await act();
  await rig.hubs[0]?.restart();
}

/** Postgres reads nothing that belongs to somebody else. */
async function copyWithOwners(from: string, to: string): Promise<void> {
  await promisify(execFile)("cp", ["-a", from, to]);
}

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
