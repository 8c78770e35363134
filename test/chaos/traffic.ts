import { setTimeout as delay } from "node:timers/promises";
import { approveHeld } from "./approve-held.ts";
import { bundleOf, filesOf, fought } from "./chaos-fleet.ts";
import type { ChaosRecord } from "./chaos-record.ts";
import type { ChaosRig, RealMember } from "./chaos-rig.ts";
import type { Dice, People } from "./fault-driver.ts";
import { revisionsSince } from "./judge-neighbours.ts";
import { isFresh, isHubAway } from "./judge-heals.ts";

/** Something that a person does once. */
export interface Act {
  readonly name: string;
  readonly act: () => Promise<unknown>;
}

const pathOf = (name: string): string => `/api/v1/namespaces/default/configmaps/${name}`;

/** How often the rival looks whether it lost, how often somebody edits while the hub is away, and how often a person looks for what is held. */
const [rivalEveryMs, handsEveryMs, personEveryMs] = [250, 400, 1_000];

/** More than a tenth of all there ever is. */
const stockSize = 12;

/** What people and other controllers do. What the verdicts must know of it stands in the record. */
export class Traffic implements People {
  readonly #dice: Dice;
  readonly #record: ChaosRecord;
  #contents = new Map<string, string>();
  #dropped: readonly string[] = [];
  #names = 0;
  #values = 0;
  #pushing: Promise<unknown> = Promise.resolve();

  constructor(dice: Dice, record: ChaosRecord) {
    this.#dice = dice;
    this.#record = record;
    for (let count = 0; count < 20; count += 1) this.#contents.set(this.#newName(), this.#newValue());
    for (const name of [fought, ...this.#newStock()]) this.#contents.set(name, this.#newValue());
  }

  /** What the repository's branch says now. */
  get contents(): ReadonlyMap<string, string> {
    return this.#contents;
  }

  /** The branch is at this revision now. */
  pushedNow(revision: string, hasBroken = false): void {
    this.#record.pushed.push({ revision, contents: new Map(this.#contents), at: Date.now(), hasBroken });
  }

  /** One thing that somebody does, drawn. */
  next(rig: ChaosRig): Act {
    return this.#dice.pick<Act>([
      { name: "push", act: () => this.#pushSome(rig) },
      { name: "push", act: () => this.#pushSome(rig) },
      { name: "push with a broken object", act: () => this.push(rig, { hasBroken: true }) },
      { name: "force push", act: () => this.#inTurn(() => this.#forcePush(rig)) },
      { name: "edit by hand", act: () => this.#edit(rig) },
      { name: "delete by hand", act: () => this.#delete(rig) },
      { name: "edits in simulated clusters", act: async () => void (await rig.crowd.write(1, `by hand ${this.#newValue()}`)) },
      { name: "stock dropped, or put back", act: () => this.#inTurn(() => this.#moveStock(rig)) },
      { name: "held deletions approved", act: () => approveHeld(rig.api, this.#record.approved) },
      { name: "label", act: () => this.#label(rig) },
    ]);
  }

  async push(rig: ChaosRig, { hasBroken = false } = {}): Promise<string> {
    return await this.#inTurn(async () => {
      const next = new Map(this.#contents);
      const inBundle = Map.groupBy(this.#ordinary(), bundleOf);
      for (const names of inBundle.values()) next.set(this.#dice.pick(names), this.#newValue());
      return await this.#commit(rig, next, hasBroken);
    });
  }

  async reached({ api }: ChaosRig, revision: string): Promise<ReadonlySet<string>> {
    const since = revisionsSince(this.#record.pushed, revision);
    const targets = await api.targets("chaos");
    return new Set(targets.filter(({ running }) => running !== null && since.has(running.revision)).map(({ cluster }) => cluster));
  }

  #pushSome(rig: ChaosRig): Promise<string> {
    return this.#inTurn(() => this.#changeSome(rig));
  }

  async #changeSome(rig: ChaosRig): Promise<string> {
    const next = new Map(this.#contents);
    for (let change = 0; change < 3; change += 1) {
      const names = this.#ordinary();
      const name = this.#dice.pick(names);
      if (this.#dice.roll() < 0.3 && names.length < 40) next.set(this.#newName(), this.#newValue());
      else if (this.#dice.roll() < 0.3 && names.length > 10) next.delete(name);
      else next.set(name, this.#newValue());
    }
    return await this.#commit(rig, next);
  }

  /** A dozen objects go at once, which is over the budget; after that Git takes them back, or has others, and what is held waits for a person. */
  async #moveStock(rig: ChaosRig): Promise<void> {
    const stock = [...this.#contents.keys()].filter((name) => bundleOf(name) === "stock" && name !== fought);
    const next = new Map(this.#contents);
    const takesBack = stock.length === 0 && this.#dice.roll() < 0.5;
    const others = takesBack ? this.#dropped : stock.length === 0 ? this.#newStock() : [];
    for (const name of stock) next.delete(name);
    for (const name of others) next.set(name, this.#newValue());
    await this.#commit(rig, next);
    if (stock.length > 0) this.#dropped = stock;
  }

  /** A person comes by every second, until the signal comes. */
  async approveUntil(rig: ChaosRig, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await approveHeld(rig.api, this.#record.approved).catch(() => undefined);
      await delay(personEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #commit(rig: ChaosRig, next: Map<string, string>, hasBroken = false): Promise<string> {
    const revision = await rig.repository.commit(filesOf(next, this.#contents, hasBroken));
    this.#contents = next;
    this.pushedNow(revision, hasBroken);
    return revision;
  }

  /** Who pushes knows what the branch says. */
  async #inTurn<T>(push: () => Promise<T>): Promise<T> {
    const mine = this.#pushing.then(push);
    this.#pushing = mine.catch(() => undefined);
    return await mine;
  }

  /** The branch goes back to what it said before; what came after is as if it had never been. */
  async #forcePush(rig: ChaosRig): Promise<void> {
    const to = this.#dice.pick(this.#record.pushed.slice(-8));
    await rig.repository.forcePush("main", to.revision);
    this.#contents = new Map(to.contents);
    this.pushedNow(to.revision, to.hasBroken);
  }

  async #edit(rig: ChaosRig): Promise<void> {
    await this.#editOne(this.#dice.pick(rig.members), this.#dice.pick(this.#ordinary()));
  }

  /** Known as an edit once it was answered: one that was lost may not have happened. */
  async #editOne({ name: cluster, kube }: RealMember, object: string): Promise<void> {
    const at = Date.now();
    await kube.client.mergePatch(pathOf(object), { data: { value: `by hand ${this.#newValue()}` } });
    this.#record.edits.push({ cluster, object, at });
  }

  async #delete(rig: ChaosRig): Promise<void> {
    const { name: cluster, kube } = this.#dice.pick(rig.members);
    const [object, at] = [this.#dice.pick(this.#ordinary()), Date.now()];
    await kube.client.delete(pathOf(object));
    this.#record.edits.push({ cluster, object, at });
  }

  /** While the hub or what it needs is away, hands are busy in the clusters, until the signal comes: nobody but the agents can put that right. */
  async editWhileHubIsAway(rig: ChaosRig, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await delay(handsEveryMs, undefined, { signal }).catch(() => undefined);
      if (!isHubAway(this.#record.faults, Date.now())) continue;
      const member = this.#dice.pick(rig.members);
      // More edits of one object would be a fight.
      const fresh = this.#ordinary().filter((object) => isFresh({ cluster: member.name, object, at: Date.now() }, this.#record.edits));
      // What Git has and the cluster has not yet cannot be edited.
      if (fresh.length > 0) await this.#editOne(member, this.#dice.pick(fresh)).catch(() => undefined);
    }
  }

  async #label(rig: ChaosRig): Promise<void> {
    const name = this.#dice.pick([...rig.members.map((member) => member.name), ...rig.crowd.names]);
    const env = this.#dice.pick(["dev", "prod"]);
    const known = this.#record.labels.get(name) ?? { answered: "", answeredAt: 0, tried: [] };
    this.#record.labels.set(name, known);
    known.tried.push(env);
    await rig.api.labelCluster(name, { env });
    Object.assign(known, { answered: env, answeredAt: Date.now(), tried: [] });
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

  #newStock(): string[] {
    return Array.from({ length: stockSize }, () => `stock-${(this.#names += 1)}`);
  }

  #newName(): string {
    return `c-${(this.#names += 1)}`;
  }

  #newValue(): string {
    return `v${(this.#values += 1)}`;
  }
}
