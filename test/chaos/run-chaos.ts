import { createWriteStream, type WriteStream } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { seededRandom } from "../harness/random.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { filesOf } from "./chaos-fleet.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import { startChaosRig, type ChaosRig } from "./chaos-rig.ts";
import { type Dice, type FaultDriver, faultDrivers, healAll } from "./faults.ts";
import type { Verdict } from "./verdict.ts";
import { judge } from "./verdicts.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** How long traffic and faults last. */
  readonly durationMs: number;
  readonly real: number;
  readonly simulated: number;
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
  readonly #random: () => number;
  readonly #history: WriteStream;
  readonly #startedAt = Date.now();
  readonly #faults = new Map<string, number>();
  readonly #record: ChaosRecord = { pushed: [], labels: new Map(), final: new Map() };
  #contents = new Map<string, string>();
  #names = 0;
  #values = 0;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#history = createWriteStream(options.historyFile);
    for (let count = 0; count < 20; count += 1) this.#contents.set(this.#newName(), this.#newValue());
  }

  async play(): Promise<ChaosOutcome> {
    const { seed, real, simulated, say } = this.#options;
    say(`starting: a hub with its Postgres and NATS, a Git server, ${real} API servers with an agent each, ${simulated} simulated clusters with agents`);
    const rig = await startChaosRig({ seed, real, simulated, contents: this.#contents });
    const stopping = new AbortController();
    const tapping = this.#tapOn(rig, stopping.signal);
    try {
      this.#pushedNow(await rig.repository.resolve("refs/heads/main"));
      await this.#agreed(rig, "at the start");
      await this.#trouble(rig);
      const settled = await this.#peace(rig);
      await rig.tap.look();
      const verdicts = await judge(rig, this.#record, settled);
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
      await rig.tap.look();
      await delay(tapEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Traffic goes on all the time; one fault follows the other, and now and then two meet. */
  async #trouble(rig: ChaosRig): Promise<void> {
    const until = Date.now() + this.#options.durationMs;
    const traffic = (async () => {
      while (Date.now() < until) {
        await this.#traffic(rig);
        await delay(eventEveryMs * (0.5 + this.#random()));
      }
    })();
    // Every kind comes once, in a drawn order, before any comes again: a short run has seen each, if it lasts.
    const order = faultDrivers.map((driver) => ({ driver, at: this.#random() })).sort((a, b) => a.at - b.at);
    const lanes = [0, 1].map(async (lane) => {
      await delay(lane * 2_000);
      while (Date.now() < until) {
        const next = order.shift()?.driver ?? this.#dice.pick(faultDrivers);
        await this.#strike(rig, next);
        await delay(200 + this.#random() * 2_500);
      }
    });
    await Promise.all([traffic, ...lanes]);
  }

  readonly #busy = new Map<string, Promise<unknown>>();

  async #strike(rig: ChaosRig, { name, subject, act }: FaultDriver): Promise<void> {
    // The hub takes its servers with it.
    const subjects = subject === "hub" ? ["hub", "broker", "Postgres"] : [subject];
    for (const one of subjects) await this.#busy.get(one);
    const striking = this.#act(rig, name, () => act(rig, this.#dice));
    for (const one of subjects) this.#busy.set(one, striking);
    await striking;
  }

  async #act(rig: ChaosRig, name: string, act: () => Promise<string>): Promise<void> {
    this.#note("invoke", name);
    try {
      const what = await act();
      this.#faults.set(name, (this.#faults.get(name) ?? 0) + 1);
      this.#note("ok", name, { what });
      this.#options.say(`  ${name}${what === "" ? "" : ` (${what})`}`);
    } catch (error) {
      // A process that another fault ended meanwhile cannot be ended again.
      this.#note("info", name, { error: (error as Error).message });
      await this.#revive(rig);
    }
  }

  async #revive(rig: ChaosRig): Promise<void> {
    if (!rig.hub.running) await rig.hub.restart().catch(() => undefined);
    for (const { agent, kube } of rig.members) {
      if (!agent.running) await agent.restart().catch(() => undefined);
      await kube.client.get("/version").catch(() => kube.restart().catch(() => undefined));
    }
  }

  // What people and controllers do.

  async #traffic(rig: ChaosRig): Promise<void> {
    const acts = [
      { name: "push", act: () => this.#push(rig) },
      { name: "push", act: () => this.#push(rig) },
      { name: "force push", act: () => this.#forcePush(rig) },
      { name: "edit by hand", act: () => this.#edit(rig) },
      { name: "delete by hand", act: () => this.#delete(rig) },
      { name: "edits in simulated clusters", act: async () => void (await rig.crowd.write(1, `by hand ${this.#newValue()}`)) },
      { name: "label", act: () => this.#label(rig) },
    ];
    const { name, act } = this.#dice.pick(acts);
    this.#note("invoke", name);
    try {
      await act();
      this.#note("ok", name);
    } catch (error) {
      this.#note("info", name, { error: (error as Error).message });
    }
  }

  async #push(rig: ChaosRig): Promise<void> {
    const before = this.#contents;
    const next = new Map(before);
    for (let change = 0; change < 3; change += 1) {
      const name = this.#dice.pick([...next.keys()]);
      if (this.#random() < 0.3 && next.size < 60) next.set(this.#newName(), this.#newValue());
      else if (this.#random() < 0.3 && next.size > 10) next.delete(name);
      else next.set(name, this.#newValue());
    }
    const revision = await rig.repository.commit(filesOf(next, before));
    this.#contents = next;
    this.#pushedNow(revision);
  }

  /** The branch goes back to what it said before; what came after is as if it had never been. */
  async #forcePush(rig: ChaosRig): Promise<void> {
    const to = this.#dice.pick(this.#record.pushed.slice(-8));
    await rig.repository.forcePush("main", to.revision);
    this.#contents = new Map(to.contents);
    this.#pushedNow(to.revision);
  }

  #pushedNow(revision: string): void {
    this.#record.pushed.push({ revision, contents: new Map(this.#contents), at: Date.now() });
  }

  async #edit(rig: ChaosRig): Promise<void> {
    const { kube } = this.#dice.pick(rig.members);
    const name = this.#dice.pick([...this.#contents.keys()]);
    await kube.client.mergePatch(`/api/v1/namespaces/default/configmaps/${name}`, { data: { value: `by hand ${this.#newValue()}` } });
  }

  async #delete(rig: ChaosRig): Promise<void> {
    const { kube } = this.#dice.pick(rig.members);
    await kube.client.delete(`/api/v1/namespaces/default/configmaps/${this.#dice.pick([...this.#contents.keys()])}`);
  }

  async #label(rig: ChaosRig): Promise<void> {
    const name = this.#dice.pick([...rig.members.map((member) => member.name), ...rig.crowd.names]);
    const env = this.#dice.pick(["dev", "prod"]);
    const known = this.#record.labels.get(name) ?? { answered: "", tried: [] };
    this.#record.labels.set(name, known);
    known.tried.push(env);
    await rig.hub.api.labelCluster(name, { env });
    Object.assign(known, { answered: env, tried: [] });
  }

  // How it ends.

  /** Faults are over. One more push says what everything must come to; returns how long that took, or why it did not. */
  async #peace(rig: ChaosRig): Promise<{ readonly ms: number; readonly problem: string }> {
    healAll(rig);
    await this.#revive(rig);
    this.#options.say("faults are over; waiting until everything is what Git says");
    const before = this.#contents;
    const word = `final-${this.#options.seed}.`;
    this.#contents = new Map([...before.keys()].map((name) => [name, `${word}${this.#newValue()}`]));
    await rig.crowd.mark({ text: word, perCluster: this.#contents.size });
    const began = Date.now();
    this.#pushedNow(await rig.repository.commit(filesOf(this.#contents, before)));
    this.#record.final = this.#contents;
    try {
      await this.#agreed(rig, "after all faults");
      await rig.crowd.through(60_000);
      return { ms: Date.now() - began, problem: "" };
    } catch (error) {
      return { ms: Date.now() - began, problem: (error as Error).message.slice(0, 1_000) };
    }
  }

  async #agreed(rig: ChaosRig, when: string): Promise<void> {
    const revision = this.#record.pushed.at(-1)?.revision ?? "";
    const count = rig.members.length + rig.crowd.names.length;
    await waitForValue(
      async () =>
        (await rig.hub.api.targets("chaos")).filter((row) => !(row.running?.revision === revision && row.sync === "Synced" && row.health === "Current")),
      (behind) => behind.length === 0,
      { what: `every target ${when}`, timeoutMs: settleMs, everyMs: 500 },
    );
    await waitForValue(
      () => rig.hub.api.targets("chaos"),
      (rows) => rows.length === count,
      { what: `${count} targets ${when}`, timeoutMs: settleMs },
    );
  }

  // What is drawn, and written down.

  get #dice(): Dice {
    return {
      roll: this.#random,
      pick: <T>(from: readonly T[]): T => {
        const picked = from[Math.floor(this.#random() * from.length)];
        if (picked === undefined) throw new Error("there is nothing to choose from");
        return picked;
      },
    };
  }

  #newName(): string {
    return `c-${(this.#names += 1)}`;
  }

  #newValue(): string {
    return `v${(this.#values += 1)}`;
  }

  #note(kind: "invoke" | "ok" | "info", name: string, more: object = {}): void {
    this.#history.write(`${JSON.stringify({ at: Date.now() - this.#startedAt, kind, name, ...more })}\n`);
  }
}
