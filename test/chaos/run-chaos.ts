import { createWriteStream, type WriteStream } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { seededRandom } from "../harness/random.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { ArrivalTap } from "./arrival-tap.ts";
import type { ChaosRecord, FaultSpan } from "./chaos-record.ts";
import { startChaosRig, type ChaosRig } from "./chaos-rig.ts";
import type { Dice, FaultDriver, Subject } from "./fault-driver.ts";
import { driversFor, healAll } from "./faults.ts";
import { siegeFaults } from "./siege-faults.ts";
import { type Act, Traffic } from "./traffic.ts";
import type { Verdict } from "./verdict.ts";
import { judge } from "./verdicts.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** How long traffic and faults last. */
  readonly durationMs: number;
  /** 1, or 2 that share one Postgres and one NATS. */
  readonly hubs: number;
  readonly real: number;
  readonly simulated: number;
  /** Faults with these words in their names alone. */
  readonly only?: string | undefined;
  /** JSON lines of what was done and what came of it. */
  readonly historyFile: string;
  readonly say: (line: string) => void;
}

export interface ChaosOutcome {
  readonly faults: ReadonlyMap<string, number>;
  readonly verdicts: readonly Verdict[];
  readonly pushes: number;
  /** Reports that were seen on the agents' disks. */
  readonly reports: number;
}

/** One run: a whole system under traffic and faults drawn from a seed, then peace, then the verdicts. */
export async function runChaos(options: ChaosOptions): Promise<ChaosOutcome> {
  const run = new ChaosRun(options);
  return await run.play();
}

const [eventEveryMs, tapEveryMs, settleMs] = [700, 500, 240_000];

class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #history: WriteStream;
  readonly #startedAt = Date.now();
  readonly #faults = new Map<string, number>();
  readonly #record: ChaosRecord = {
    pushed: [],
    faults: [],
    sieges: [],
    lostTails: [],
    edits: [],
    rival: [],
    approved: [],
    labels: new Map(),
    final: new Map(),
    peaceAt: 0,
  };
  readonly #arrivals = new ArrivalTap();
  readonly #dice: Dice;
  readonly #traffic: Traffic;

  constructor(options: ChaosOptions) {
    this.#options = options;
    const roll = seededRandom(options.seed);
    this.#dice = { roll, pick: (from) => pickFrom(from, roll) };
    this.#history = createWriteStream(options.historyFile);
    this.#traffic = new Traffic(this.#dice, this.#record);
  }

  async play(): Promise<ChaosOutcome> {
    const { seed, hubs, real, simulated, say } = this.#options;
    const servers = hubs === 1 ? "a hub with its Postgres and NATS" : `${hubs} hubs on one Postgres and one NATS`;
    say(`starting: ${servers}, a Git server, ${real} API servers with an agent each, ${simulated} simulated clusters with agents`);
    const rig = await startChaosRig({ seed, hubs, real, simulated, contents: this.#traffic.contents });
    const stopping = new AbortController();
    const tapping = this.#tapOn(rig, stopping.signal);
    try {
      this.#traffic.pushedNow(await rig.repository.resolve("refs/heads/main"));
      await this.#agreed(rig, "at the start");
      await this.#trouble(rig);
      const settled = await this.#peace(rig);
      await rig.tap.look();
      const verdicts = await judge(rig, this.#record, settled, this.#arrivals);
      for (const verdict of verdicts) this.#note("info", "verdict", { ...verdict });
      return { faults: this.#faults, verdicts, pushes: this.#record.pushed.length, reports: rig.tap.reports };
    } finally {
      stopping.abort();
      await tapping;
      await rig.stop();
      this.#history.end();
    }
  }

  async #tapOn(rig: ChaosRig, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await Promise.all([rig.tap.look(), this.#arrivals.look(rig)]);
      await delay(tapEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Traffic goes on all the time; one fault follows the other, and now and then two meet. */
  async #trouble(rig: ChaosRig): Promise<void> {
    const until = Date.now() + this.#options.durationMs;
    const peace = new AbortController();
    const meddling = [this.#traffic.editWhileHubIsAway(rig, peace.signal), ...rig.members.map((member) => this.#traffic.fight(member, peace.signal))];
    const traffic = (async () => {
      while (Date.now() < until) {
        await this.#tryOut(this.#traffic.next(rig));
        await delay(eventEveryMs * (0.5 + this.#dice.roll()));
      }
    })();
    // Every kind comes once, in a drawn order, before any comes again: a short run has seen each, if it lasts.
    const drivers = driversFor(rig, this.#options);
    // One cluster alone comes first, so that the shortest run has seen it.
    const first = this.#dice.pick(siegeFaults);
    const order = drivers.map((driver) => ({ driver, at: driver === first ? -1 : this.#dice.roll() })).sort((a, b) => a.at - b.at);
    const lanes = [0, 1].map(async (lane) => {
      await delay(lane * 2_000);
      while (Date.now() < until) {
        const next = order.shift()?.driver ?? this.#dice.pick(drivers);
        await this.#strike(rig, next);
        await delay(200 + this.#dice.roll() * 2_500);
      }
    });
    await Promise.all([traffic, ...lanes]);
    peace.abort();
    await Promise.all(meddling);
  }

  readonly #busy = new Map<Subject, Promise<unknown>>();

  async #strike(rig: ChaosRig, driver: FaultDriver): Promise<void> {
    const { subjects } = driver;
    // Whoever else waited for the same end may have begun before us.
    for (let one; (one = subjects.find((subject) => this.#busy.has(subject))) !== undefined;) await this.#busy.get(one);
    const striking = this.#act(rig, driver);
    for (const one of subjects) this.#busy.set(one, striking);
    await striking;
    for (const one of subjects) this.#busy.delete(one);
  }

  async #act(rig: ChaosRig, { name, losesTail, act }: FaultDriver): Promise<void> {
    const span: FaultSpan = { name, cluster: undefined, from: Date.now(), to: Number.POSITIVE_INFINITY };
    this.#record.faults.push(span);
    this.#note("invoke", name);
    try {
      const { cluster, what, alone, lost } = await act(rig, this.#dice, this.#traffic);
      if (lost) this.#record.lostTails.push(lost);
      if (cluster !== undefined && alone) this.#record.sieges.push({ cluster, ...alone });
      Object.assign(span, { cluster, what });
      this.#faults.set(name, (this.#faults.get(name) ?? 0) + 1);
      const told = [cluster, what].filter((word) => word !== undefined).join(": ");
      this.#note("ok", name, { what: told });
      this.#options.say(`  ${name}${told === "" ? "" : ` (${told})`}`);
    } catch (error) {
      // A process that another fault ended meanwhile cannot be ended again.
      this.#note("info", name, { error: (error as Error).message });
      await this.#revive(rig);
      if (losesTail) this.#record.lostTails.push({ from: span.from, to: Date.now() });
    } finally {
      span.to = Date.now();
    }
  }

  async #revive(rig: ChaosRig): Promise<void> {
    await rig.shared?.startPostgres().catch(() => undefined);
    for (const hub of rig.hubs) if (!hub.running) await hub.restart().catch(() => undefined);
    for (const { agent, kube } of rig.members) {
      if (!agent.running) await agent.restart().catch(() => undefined);
      await kube.client.get("/version").catch(() => kube.restart().catch(() => undefined));
    }
  }

  async #tryOut({ name, act }: Act): Promise<void> {
    this.#note("invoke", name);
    try {
      await act();
      this.#note("ok", name);
    } catch (error) {
      this.#note("info", name, { error: (error as Error).message });
    }
  }

  // How it ends.

  /** Faults are over. One more push says what everything must come to; returns how long that took, or why it did not. */
  async #peace(rig: ChaosRig): Promise<{ readonly ms: number; readonly problem: string }> {
    await healAll(rig);
    await this.#revive(rig);
    this.#options.say("faults are over; waiting until everything is what Git says");
    const word = `final-${this.#options.seed}.`;
    await rig.crowd.mark({ text: word, perCluster: this.#traffic.contents.size });
    const began = Date.now();
    await this.#traffic.pushLast(rig, word);
    try {
      // What was dropped before, and is still there, waits for a person.
      await this.#withPerson(rig, this.#agreed(rig, "after all faults"));
      await rig.crowd.through(60_000);
      return { ms: Date.now() - began, problem: "" };
    } catch (error) {
      return { ms: Date.now() - began, problem: (error as Error).message.slice(0, 1_000) };
    }
  }

  /** A person lets go what is held, until that is over. */
  async #withPerson(rig: ChaosRig, until: Promise<void>): Promise<void> {
    const over = new AbortController();
    const person = this.#traffic.approveUntil(rig, over.signal);
    try {
      await until;
    } finally {
      over.abort();
      await person;
    }
  }

  async #agreed(rig: ChaosRig, when: string): Promise<void> {
    const revision = this.#record.pushed.at(-1)?.revision ?? "";
    const count = rig.members.length + rig.crowd.names.length;
    await waitForValue(
      async () => (await rig.api.targets("chaos")).filter((row) => !(row.running?.revision === revision && row.sync === "Synced" && row.health === "Current")),
      (behind) => behind.length === 0,
      { what: `every target ${when}`, timeoutMs: settleMs, everyMs: 500 },
    );
    await waitForValue(
      () => rig.api.targets("chaos"),
      (rows) => rows.length === count,
      { what: `${count} targets ${when}`, timeoutMs: settleMs },
    );
  }

  #note(kind: "invoke" | "ok" | "info", name: string, more: object = {}): void {
    this.#history.write(`${JSON.stringify({ at: Date.now() - this.#startedAt, kind, name, ...more })}\n`);
  }
}

function pickFrom<T>(from: readonly T[], roll: () => number): T {
  const picked = from[Math.floor(roll() * from.length)];
  if (picked === undefined) throw new Error("there is nothing to choose from");
  return picked;
}
