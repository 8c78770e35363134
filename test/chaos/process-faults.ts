import { setTimeout as delay } from "node:timers/promises";
import { between, type FaultDriver, hubAndServers } from "./fault-driver.ts";
import { twoHubsFaults } from "./two-hubs-faults.ts";
import { killServer, livePid, stopAndWake } from "./stop-processes.ts";

/** Processes that are killed, or stopped and woken. */
export const processFaults: readonly FaultDriver[] = [
  {
    name: "hub killed (its Postgres and NATS go with it)",
    subjects: hubAndServers,
    hubs: 1,
    async act({ hubs: [hub] }, dice) {
      await hub?.kill9();
      await delay(between(dice, 0, 2_000));
      await hub?.restart();
      return {};
    },
  },
  {
    name: "hub stopped and woken",
    subjects: hubAndServers,
    hubs: 1,
    act: async ({ hubs }, dice) => stopAndWake(dice.pick(hubs).pid, between(dice, 1_000, 12_000)),
  },
  ...twoHubsFaults,
  {
    name: "agent killed",
    subjects: ["agents"],
    async act({ members }, dice) {
      const { name, agent } = dice.pick(members);
      await agent.kill9();
      await delay(between(dice, 0, 3_000));
      await agent.restart();
      return { cluster: name };
    },
  },
  {
    name: "agent stopped and woken",
    subjects: ["agents"],
    async act({ members }, dice) {
      const { name, agent } = dice.pick(members);
      return { cluster: name, ...(await stopAndWake(agent.pid, between(dice, 1_000, 12_000))) };
    },
  },
  { name: "broker killed", subjects: ["broker"], act: async (rig) => killServer(rig, "nats") },
  { name: "broker stopped and woken", subjects: ["broker"], act: async (rig, dice) => stopAndWake(await livePid(rig, "nats"), between(dice, 500, 8_000)) },
  { name: "Postgres killed", subjects: ["Postgres"], act: async (rig) => killServer(rig, "postgres") },
  {
    name: "Postgres stopped and woken",
    subjects: ["Postgres"],
    act: async (rig, dice) => stopAndWake(await livePid(rig, "postgres"), between(dice, 500, 6_000)),
  },
  {
    name: "API server killed",
    subjects: ["API servers"],
    async act({ members }, dice) {
      const { name, kube } = dice.pick(members);
      await kube.kill9ApiServer();
      await delay(between(dice, 0, 2_000));
      await kube.restart();
      return { cluster: name };
    },
  },
];
