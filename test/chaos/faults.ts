import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { TcpProxy } from "../harness/tcp-proxy.ts";
import { waitFor } from "../harness/wait-for.ts";
import type { ChaosRig, RealMember } from "./chaos-rig.ts";

/** What a fault is drawn with. */
export interface Dice {
  /** In [0, 1). */
  roll(): number;
  pick<T>(from: readonly T[]): T;
}

/** What a driver did. */
export interface Struck {
  /** The one cluster that it struck. */
  readonly cluster?: string;
  /** More about it, for people. */
  readonly what?: string;
}

/** One kind of fault: done, held for a while where that is its nature, and undone by itself. */
export interface FaultDriver {
  readonly name: string;
  /** What it is done to: two at once would only undo one another. */
  readonly subject: "hub" | "agents" | "broker" | "Postgres" | "links" | "API servers" | "Git";
  readonly act: (rig: ChaosRig, dice: Dice) => Promise<Struck>;
}

const between = (dice: Dice, fromMs: number, toMs: number): number => fromMs + dice.roll() * (toMs - fromMs);

export const faultDrivers: readonly FaultDriver[] = [
  {
    name: "hub killed (its Postgres and NATS go with it)",
    subject: "hub",
    async act({ hub }, dice) {
      await hub.kill9();
      await delay(between(dice, 0, 2_000));
      await hub.restart();
      return {};
    },
  },
  { name: "hub stopped and woken", subject: "hub", act: async ({ hub }, dice) => stopAndWake(hub.pid, between(dice, 1_000, 12_000)) },
  {
    name: "agent killed",
    subject: "agents",
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
    subject: "agents",
    async act({ members }, dice) {
      const { name, agent } = dice.pick(members);
      return { cluster: name, ...(await stopAndWake(agent.pid, between(dice, 1_000, 12_000))) };
    },
  },
  { name: "broker killed", subject: "broker", act: async (rig) => killServer(rig, "nats") },
  { name: "broker stopped and woken", subject: "broker", act: async (rig, dice) => stopAndWake(await livePid(rig, "nats"), between(dice, 500, 8_000)) },
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
      return { what: `${(backMs / 1_000).toFixed(1)} s` };
    },
  },
  { name: "Postgres killed", subject: "Postgres", act: async (rig) => killServer(rig, "postgres") },
  { name: "Postgres stopped and woken", subject: "Postgres", act: async (rig, dice) => stopAndWake(await livePid(rig, "postgres"), between(dice, 500, 6_000)) },
  { name: "links to the hub damaged", subject: "links", act: async ({ wires }, dice) => damage(wires.link, dice) },
  { name: "wires to the broker damaged", subject: "broker", act: async ({ wires }, dice) => damage(wires.broker, dice) },
  {
    name: "wire to an API server damaged",
    subject: "API servers",
    async act({ members }, dice) {
      const { name, wire } = dice.pick(members);
      return { cluster: name, ...(await damage(wire, dice)) };
    },
  },
  {
    name: "API server killed",
    subject: "API servers",
    async act({ members }, dice) {
      const { name, kube } = dice.pick(members);
      await kube.kill9ApiServer();
      await delay(between(dice, 0, 2_000));
      await kube.restart();
      return { cluster: name };
    },
  },
  {
    name: "Git server in trouble",
    subject: "Git",
    async act({ git }, dice) {
      const failure = dice.pick([{ kind: "hang" } as const, { kind: "status", status: 503 } as const, { kind: "cut", afterBytes: 200 } as const]);
      git.fail(failure);
      await delay(between(dice, 1_000, 8_000));
      git.fail({ kind: "none" });
      return { what: failure.kind };
    },
  },
];

/** Everything passes and runs again, whatever was going on. */
export function healAll({ git, wires, members }: ChaosRig): void {
  git.fail({ kind: "none" });
  for (const wire of [wires.link, wires.broker, ...members.map((member: RealMember) => member.wire)]) wire.heal();
}

async function damage(wire: TcpProxy, dice: Dice): Promise<Struck> {
  const how = dice.pick(["reset", "cut off", "half open", "silent", "slow"] as const);
  if (how === "reset") wire.reset();
  else if (how === "cut off") wire.cutOff();
  else if (how === "half open") wire.freeze();
  else if (how === "silent") wire.hold();
  else wire.slowDown(300, 250);
  await delay(between(dice, 500, 8_000));
  // What is half open passes nothing ever again: it takes a heartbeat that is missed, or a reset.
  if (how === "half open" && dice.roll() < 0.5) wire.reset();
  wire.heal();
  return { what: how };
}

async function killServer(rig: ChaosRig, server: "nats" | "postgres"): Promise<Struck> {
  process.kill(await livePid(rig, server), "SIGKILL");
  return {};
}

/** One that was killed a moment ago is started anew by the hub. */
async function livePid(rig: ChaosRig, server: "nats" | "postgres"): Promise<number> {
  return await waitFor(
    async () => {
      const pid = await rig.serverPid(server);
      return process.kill(pid, 0) && pid;
    },
    { what: `a running ${server}`, timeoutMs: 15_000 },
  );
}

/** Nothing of the process runs meanwhile, and nothing of what it keeps changes. */
async function whileStopped(pid: number, act: (pid: number) => Promise<void>): Promise<void> {
  process.kill(pid, "SIGSTOP");
  try {
    await act(pid);
  } finally {
    wake(pid);
  }
}

/** One that was killed meanwhile is not there any more. */
function wake(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function stopAndWake(pid: number, ms: number): Promise<Struck> {
  await whileStopped(pid, () => delay(ms));
  return { what: `${(ms / 1_000).toFixed(1)} s` };
}
