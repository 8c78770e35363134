import { setTimeout as delay } from "node:timers/promises";
import type { TcpProxy } from "../harness/tcp-proxy.ts";
import { between, type Dice, type FaultDriver, type Struck } from "./fault-driver.ts";

/** Wires that pass nothing, or slowly, or break; and a server that is not ours in trouble. */
export const wireFaults: readonly FaultDriver[] = [
  { name: "links to the hub damaged", subjects: ["links"], act: async ({ wires }, dice) => damage(dice.pick(wires.links), dice) },
  { name: "wires to the broker damaged", subjects: ["broker"], act: async ({ wires }, dice) => damage(wires.broker, dice) },
  {
    name: "wire to an API server damaged",
    subjects: ["API servers"],
    async act({ members }, dice) {
      const { name, wire } = dice.pick(members);
      return { cluster: name, ...(await damage(wire, dice)) };
    },
  },
  {
    name: "Git server in trouble",
    subjects: ["Git"],
    async act({ git }, dice) {
      const failure = dice.pick([{ kind: "hang" } as const, { kind: "status", status: 503 } as const, { kind: "cut", afterBytes: 200 } as const]);
      git.fail(failure);
      await delay(between(dice, 1_000, 8_000));
      git.fail({ kind: "none" });
      return { what: failure.kind };
    },
  },
];

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
