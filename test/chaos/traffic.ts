import { setTimeout as delay } from "node:timers/promises";
import { bundleOf, filesOf, fought } from "./chaos-fleet.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import type { ChaosRig, RealMember } from "./chaos-rig.ts";
import type { Dice } from "./faults.ts";

/** Something that a person does once. */
export interface Act {
  readonly name: string;
  readonly act: () => Promise<void>;
}

const pathOf = (name: string): string => `/api/v1/namespaces/default/configmaps/${name}`;

/** How often the rival looks whether it lost. */
const rivalEveryMs = 250;

/** What people and other controllers do. What the verdicts must know of it stands in the record. */
export class Traffic {
  readonly #dice: Dice;
  readonly #record: ChaosRecord;
  #contents = new Map<string, string>();
  #names = 0;
  #values = 0;

  constructor(dice: Dice, record: ChaosRecord) {
    this.#dice = dice;
    this.#record = record;
    for (let count = 0; count < 20; count += 1) this.#contents.set(this.#newName(), this.#newValue());
    this.#contents.set(fought, this.#newValue());
  }

  /** What the repository's branch says now. */
  get contents(): ReadonlyMap<string, string> {
    return this.#contents;
  }

  /** The branch is at this revision now. */
  pushedNow(revision: string): void {
    this.#record.pushed.push({ revision, contents: new Map(this.#contents), at: Date.now() });
  }

  /** One thing that somebody does, drawn. */
  next(rig: ChaosRig): Act {
    return this.#dice.pick<Act>([
      { name: "push", act: () => this.#push(rig) },
      { name: "push", act: () => this.#push(rig) },
      { name: "force push", act: () => this.#forcePush(rig) },
      { name: "edit by hand", act: () => this.#edit(rig) },
      { name: "delete by hand", act: () => this.#delete(rig) },
      { name: "edits in simulated clusters", act: async () => void (await rig.crowd.write(1, `by hand ${this.#newValue()}`)) },
      { name: "label", act: () => this.#label(rig) },
    ]);
  }

  async #push(rig: ChaosRig): Promise<void> {
    const next = new Map(this.#contents);
    for (let change = 0; change < 3; change += 1) {
      const names = this.#ordinary();
      const name = this.#dice.pick(names);
      if (this.#dice.roll() < 0.3 && names.length < 60) next.set(this.#newName(), this.#newValue());
      else if (this.#dice.roll() < 0.3 && names.length > 10) next.delete(name);
      else next.set(name, this.#newValue());
    }
    await this.#commit(rig, next);
  }

  async #commit(rig: ChaosRig, next: Map<string, string>): Promise<void> {
    const revision = await rig.repository.commit(filesOf(next, this.#contents));
    this.#contents = next;
    this.pushedNow(revision);
  }

  /** The branch goes back to what it said before; what came after is as if it had never been. */
  async #forcePush(rig: ChaosRig): Promise<void> {
    const to = this.#dice.pick(this.#record.pushed.slice(-8));
    await rig.repository.forcePush("main", to.revision);
    this.#contents = new Map(to.contents);
    this.pushedNow(to.revision);
  }

  async #edit(rig: ChaosRig): Promise<void> {
    const { kube } = this.#dice.pick(rig.members);
    await kube.client.mergePatch(pathOf(this.#dice.pick(this.#ordinary())), { data: { value: `by hand ${this.#newValue()}` } });
  }

  async #delete(rig: ChaosRig): Promise<void> {
    const { kube } = this.#dice.pick(rig.members);
    await kube.client.delete(pathOf(this.#dice.pick(this.#ordinary())));
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

  /** In one cluster another controller wants one object otherwise, until the signal comes: as soon as it lost, it writes again. */
  async fight({ name: cluster, kube }: RealMember, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // An API server that is away has no rival either.
      await this.#strikeBack(cluster, kube).catch(() => undefined);
      await delay(rivalEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #strikeBack(cluster: string, kube: RealMember["kube"]): Promise<void> {
    const live = await kube.client.get(pathOf(fought));
    if (live.data.value !== this.#contents.get(fought)) return;
    this.#record.rival.push({ cluster, object: fought, at: Date.now() });
    await kube.client.mergePatch(`${pathOf(fought)}?fieldManager=rival`, { data: { value: `rival ${this.#record.rival.length}` } });
  }

  /** The last push, which changes every object. */
  async pushLast(rig: ChaosRig, word: string): Promise<void> {
    this.#record.peaceAt = Date.now();
    await this.#commit(rig, new Map([...this.#contents.keys()].map((name) => [name, `${word}${this.#newValue()}`])));
    this.#record.final = this.#contents;
  }

  /** What pushes and hands change. */
  #ordinary(): string[] {
    return [...this.#contents.keys()].filter((name) => bundleOf(name) !== "stock");
  }

  #newName(): string {
    return `c-${(this.#names += 1)}`;
  }

  #newValue(): string {
    return `v${(this.#values += 1)}`;
  }
}
