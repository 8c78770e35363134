import { create } from "@bufbuild/protobuf";
import type { RolloutSpec } from "@flotilla/hub/domain/fleet-spec";
import { listDigest } from "@flotilla/proto/digest";
import { TargetSchema, type Target } from "@flotilla/proto/gen/target";
import { seededRandom } from "../harness/random.ts";
import { AgentCore, type HubWord } from "./agent-core.ts";
import { Broker } from "./broker.ts";
import { GitHistory, type Bodies, type Revision } from "./git-history.ts";
import { brokenGuarantees } from "./guarantees.ts";
import { History, type PlantedBug } from "./history.ts";
import { HubCore, type HubSurroundings } from "./hub-core.ts";
import { HubDatabase, type TargetRow } from "./hub-database.ts";
import { Link } from "./links.ts";
import { LiveCluster } from "./live-cluster.ts";
import { emptyDisk, type OutboxDisk } from "./memory-outbox.ts";
import { VirtualTime, type Steps } from "./virtual-time.ts";
import { viewDifferences } from "./view-differences.ts";

type Bundles = Revision["bundles"];

/** One cluster with the process that serves it, if there is one. */
export interface Member {
  readonly cluster: LiveCluster;
  disk: OutboxDisk;
  readonly skewMs: number;
  agent: AgentCore | undefined;
  link: Link | undefined;
  isCutOff: boolean;
  /** Somebody else writes an object of it again and again until then. */
  foughtUntil: number;
}

const fleets = ["infra", "shop"] as const;
/** Both fleets may come to name it. */
const contested = "/ConfigMap/shared/settings";
const kinds = [
  "/ConfigMap",
  "/ConfigMap",
  "/ConfigMap",
  "/ConfigMap",
  "/Secret",
  "/Secret",
  "apps/Deployment",
  "apps/Deployment",
  "apps/StatefulSet",
  "/PersistentVolumeClaim",
];

/**
 * A whole platform on a virtual clock, drawn from a seed: hub, agents, their clusters, Git and the broker, people who use them, and all that
 * can go wrong. One seed is one run, always the same.
 */
export class PlatformWorld {
  readonly history = new History();
  readonly time: VirtualTime;
  readonly members = new Map<string, Member>();
  readonly repositories = new Map<string, GitHistory>();
  db = new HubDatabase();
  readonly #bodies: Bodies = new Map();
  readonly #broker: Broker;
  readonly #hubAround: HubSurroundings;
  readonly #bug: PlantedBug | undefined;
  #hub: HubCore | undefined;
  /** Those before it, too: one that was stopped may wake. */
  readonly #hubs: HubCore[] = [];
  #backup: HubDatabase | undefined;
  #names = 0;
  #writes = 0;
  #pushedAt = -Infinity;

  constructor(seed: number, bug?: PlantedBug) {
    this.time = new VirtualTime(seededRandom(seed));
    this.#bug = bug;
    this.#broker = new Broker(this.time);
    for (const fleet of fleets) this.repositories.set(fleet, new GitHistory(fleet, this.#drawBundles(), this.#bodies));
    const plans = new Map(fleets.map((fleet) => [fleet, this.#drawPlan()]));
    const removal = { policy: this.#chance(0.5) ? ("delete" as const) : ("orphan" as const), graceMs: 15_000 };
    const { time, history } = this;
    this.#hubAround = { time, history, broker: this.#broker, repositories: this.repositories, bug, plans, removal };
    for (const name of fleets) {
      this.db.fleets.set(name, { name, newest: null, settled: null, rollout: undefined, last: undefined, leftAt: [], heldRemoval: "", approvedRemovals: [] });
    }
    const size = 2 + Math.floor(this.#draw() * 3);
    for (let index = 0; index < size; index += 1) this.#join(`c${index}`);
    this.#startHub();
  }

  /** So many things happen, among them faults of every kind. */
  live(events: number): void {
    this.time.runFor(3_000);
    for (let event = 0; event < events; event += 1) {
      this.#happen();
      this.time.runFor(this.#draw() * this.#draw() * 6_000);
    }
  }

  /** Faults end, and people say yes. Returns what is broken all the same. */
  settle(): string[] {
    this.#mend();
    const stubborn = this.#chance(0.4) && this.members.size > 1 ? this.#anyMember() : undefined;
    const slow = stubborn ? this.#settleWithout(stubborn) : [];
    let differences: string[] = [];
    const deadline = this.time.now + 1_500_000;
    const begun = this.time.now;
    do {
      this.time.runFor(this.time.now < begun + 20_000 ? 3_000 : 15_000);
      this.#sayYes();
      differences = this.#differences();
    } while (differences.length > 0 && this.time.now < deadline);
    const evidence = { ...this, clusters: new Map([...this.members].map(([name, { cluster }]) => [name, cluster])) };
    return [...slow, ...brokenGuarantees(evidence), ...differences.slice(0, 10)];
  }

  /** G17: one cluster's API server stays away, and poison comes in its name; the others are not kept from anything. */
  #settleWithout(stubborn: Member): string[] {
    stubborn.cluster.isAway = true;
    // After a fight an object is left alone for ten minutes; what a restored backup forgot goes above what the agent holds when its wave comes, and what is newer than
    // a tombstone when a person has labelled the cluster into the fleet again.
    const isKept = (name: string, { foughtUntil }: Member): boolean => foughtUntil > this.time.now - 600_000 || targetsOf(name).some(isBehind);
    const targetsOf = (name: string): TargetRow[] => [...this.db.targets.values()].filter(({ cluster }) => cluster === name);
    const isBehind = ({ cluster, fleet, generation, tombstone, heldGeneration }: TargetRow): boolean =>
      heldGeneration !== null ||
      (tombstone !== null && this.members.get(cluster)?.agent?.held.some((held) => held.fleet === fleet && held.generation >= generation) === true);
    const isOther = (name: string): boolean => name !== stubborn.cluster.name;
    const deadline = this.time.now + 120_000;
    let differences: string[] = [];
    do {
      this.#broker.publishPoison(stubborn.cluster.name);
      this.time.runFor(4_000);
      this.#sayYes();
      differences = viewDifferences(this.db, new Map([...this.members].filter(([name, member]) => isOther(name) && !isKept(name, member))));
    } while (differences.length > 0 && this.time.now < deadline);
    stubborn.cluster.isAway = false;
    return differences.slice(0, 3).map((difference) => `G17: ${stubborn.cluster.name} is in trouble, and two minutes later: ${difference}`);
  }

  #differences(): string[] {
    const found = viewDifferences(this.db, this.members);
    for (const { name, newest, rollout } of this.db.fleets.values()) {
      if (newest !== this.repositories.get(name)?.head.id) found.push(`G4: the hub does not know what Git says of fleet ${name}`);
      if (rollout) found.push(`G4: the rollout of fleet ${name} does not end`);
      for (const row of this.db.clusters.values()) {
        const target = this.db.target(name, row.name);
        if (row.labels[name] === "true" && target?.revision !== newest) found.push(`G4: ${row.name} does not run what Git says of fleet ${name}`);
        if (row.labels[name] !== "true" && target && !target.isRemoved) found.push(`G4: ${row.name} has not left fleet ${name}`);
      }
    }
    return found;
  }

  // What happens.

  #happen(): void {
    const events: Readonly<Record<string, () => unknown>> = {
      commit: () => this.#commit(),
      "another commit": () => this.#commit(),
      "sick commit": () => this.#commit({ isSick: true }),
      "broken commit": () => this.#commit({ isBroken: true }),
      "emptied bundle": () => this.#emptyBundle(),
      "force push": () => this.#forcePush(),
      "Git away": () => this.#for(5_000, (isOn) => (this.#anyRepository().isAway = isOn)),
      "edit by hand": () => this.#anyMember().cluster.edit(this.#anyKey(), `by hand ${this.#name()}`),
      "delete by hand": () => this.#anyMember().cluster.remove(this.#anyKey()),
      "made anew by hand": () => this.#makeAnew(),
      "API server away": () => this.#during(10_000, this.#anyMember(), (member, isOn) => (member.cluster.isAway = isOn)),
      "made anew and dropped": () => this.#makeAnewAndDrop(),
      fight: () => this.#fight(),
      "agent killed": () => this.#killAgent(this.#anyMember()),
      "agent killed at work": () => this.#killAtWork(),
      "agent killed after a delete": () => this.#killAfterDelete(),
      "agent stopped": () => this.#anyMember().agent?.program.freeze(this.#draw() * 40_000),
      "agent restarted": () => this.#restartAgent(this.#anyMember()),
      "outbox lost": () => this.#loseOutbox(this.#anyMember()),
      "link cut": () => this.#anyMember().link?.cut(),
      "link half open": () => this.#anyMember().link?.goDead(),
      "link slow": () => this.#during(8_000, this.#anyMember(), ({ link }, isOn) => link && (link.lateMs = isOn ? 1_500 : 20)),
      "cut off": () => this.#during(30_000, this.#anyMember(), (member, isOn) => this.#cutOff(member, isOn)),
      "broker wiped": () => this.#broker.wipe(),
      "broker away": () => this.#for(8_000, (isOn) => (this.#broker.isAway = isOn)),
      "broker in trouble": () => this.#for(15_000, (isOn) => this.#troubleBroker(isOn)),
      poison: () => this.#broker.publishPoison(this.#anyMember().cluster.name),
      "hub killed": () => this.#killHub(),
      "hub killed at work": () => this.#killHubAtWork(),
      "hub killed after a write": () => (this.#label(), this.time.after(this.#draw() * 250, () => this.#killHub())),
      "hub stopped": () => this.#stopHub(),
      backup: () => (this.#backup = this.db.copy()),
      "database restored": () => this.#restore(),
      label: () => this.#label(),
      "another label": () => this.#label(),
      approval: () => this.#approvePrunes(),
      "approval of another list": () => this.#approveWrongly(),
      "approved removal": () => this.#approveRemovals(),
      "hub that lies": () => this.#lie(),
      "hub that lies again": () => this.#lie(),
    };
    const names = Object.keys(events);
    const name = names[Math.floor(this.#draw() * names.length)] ?? "";
    this.history.tell(this.time.now, name);
    this.history.count(name);
    events[name]?.();
  }

  #commit(how: { readonly isSick?: boolean; readonly isBroken?: boolean } = {}): void {
    const git = this.#anyRepository();
    const bundles = new Map([...git.head.bundles].map(([name, objects]) => [name, new Map(objects)]));
    const changes = 1 + Math.floor(this.#draw() * 3);
    for (let change = 0; change < changes; change += 1) this.#change(git, bundles);
    if ([...bundles.values()].some(({ size }) => size === 0)) for (const [name, { size }] of bundles) if (size === 0) bundles.delete(name);
    if (bundles.size > 0) git.commit(bundles, how);
  }

  #change(git: GitHistory, bundles: Map<string, Map<string, string>>): void {
    const [name = "", objects] = this.#pick([...bundles]) ?? [];
    if (!objects) return;
    const key = this.#pick([...objects.keys()]);
    const changes = [
      () => objects.set(this.#newKey(git.fleet), this.#name()),
      () => objects.set(contested, this.#name()),
      () => key !== undefined && objects.set(key, this.#name()),
      () => key !== undefined && objects.delete(key),
      () => [...objects.keys()].slice(0, Math.ceil(this.#draw() * 8)).forEach((gone) => objects.delete(gone)),
      () => bundles.size > 1 && bundles.delete(name),
      () => bundles.size < 3 && bundles.set(`b${this.#name()}`, new Map([[this.#newKey(git.fleet), this.#name()]])),
      () => this.#move(bundles, objects, key),
    ];
    this.#pick(changes)?.();
  }

  /** An object moves to another bundle of its fleet. */
  #move(bundles: Map<string, Map<string, string>>, from: Map<string, string>, key: string | undefined): void {
    const to = this.#pick([...bundles.values()]);
    const content = from.get(key ?? "");
    if (key === undefined || content === undefined || !to) return;
    from.delete(key);
    to.set(key, content);
  }

  /** A bundle's directory is there and says nothing. */
  #emptyBundle(): void {
    const git = this.#anyRepository();
    const name = this.#pick([...git.head.bundles.keys()]);
    git.commit(new Map([...git.head.bundles].map(([bundle, objects]) => [bundle, bundle === name ? new Map<string, string>() : objects])));
  }

  #forcePush(): void {
    const git = this.#anyRepository();
    const old = this.#pick([...git.all.values()]);
    if (old) git.forcePush(old);
    if (this.#chance(0.5)) this.#commit();
  }

  #makeAnew(): void {
    const { cluster } = this.#anyMember();
    const key = this.#pick([...cluster.objects.keys()]) ?? contested;
    cluster.remove(key);
    cluster.edit(key, `made by hand ${this.#name()}`);
  }

  /** Somebody deletes an object and makes another of its name, and Git names it no more: that one is not ours to delete. */
  #makeAnewAndDrop(): void {
    const git = this.#anyRepository();
    const [name = "", objects] = this.#pick([...git.head.bundles].filter(([, { size }]) => size > 1)) ?? [];
    const key = this.#pick([...(objects?.keys() ?? [])]);
    if (!objects || key === undefined) return;
    git.commit(new Map([...git.head.bundles, [name, new Map([...objects].filter(([other]) => other !== key))]]));
    for (const { cluster } of this.members.values()) {
      if (!cluster.objects.has(key)) continue;
      this.time.after(this.#draw() * 3_000, () => {
        cluster.remove(key);
        cluster.edit(key, `made by hand ${this.#name()}`);
      });
    }
  }

  #fight(): void {
    const member = this.#anyMember();
    const { cluster } = member;
    const key = this.#pick([...cluster.objects.keys()]);
    if (key === undefined) return;
    member.foughtUntil = this.time.now + 20_000 + this.#draw() * 400_000;
    const hit = (): void => {
      if (this.time.now > member.foughtUntil) return;
      if (cluster.objects.get(key)?.content !== "fought over") cluster.edit(key, "fought over");
      this.time.after(this.time.jittered(1_000), hit);
    };
    hit();
  }

  #killAgent(member: Member): void {
    member.agent?.kill();
    member.link?.cut();
    member.agent = undefined;
    this.time.after(this.#draw() * 5_000, () => this.#startAgent(member));
  }

  /** In the middle of whatever a new target makes it do. */
  #killAtWork(): void {
    this.#commit();
    const member = this.#anyMember();
    member.agent?.program.dieAfter(this.#draw() * 80, () => this.#killAgent(member));
  }

  /** What it deleted is gone, and nobody was told. */
  #killAfterDelete(): void {
    const git = this.#anyRepository();
    const gone = this.#pick(
      [...git.head.bundles].flatMap(([bundle, objects]) => (objects.size > 1 ? [...objects.keys()].map((key) => [bundle, key] as const) : [])),
    );
    if (!gone) return;
    const without = (bundle: string, objects: ReadonlyMap<string, string>) =>
      bundle === gone[0] ? new Map([...objects].filter(([key]) => key !== gone[1])) : objects;
    git.commit(new Map([...git.head.bundles].map(([bundle, objects]) => [bundle, without(bundle, objects)])));
    for (const member of this.members.values()) {
      member.cluster.onDelete = () => {
        member.cluster.onDelete = () => undefined;
        this.time.after(this.#draw() * 80, () => this.#killAgent(member));
      };
    }
  }

  #restartAgent(member: Member): void {
    if (!member.agent?.isIdle) return;
    member.agent.stop();
    member.link?.cut();
    member.agent = undefined;
    this.time.after(500, () => this.#startAgent(member));
  }

  #loseOutbox(member: Member): void {
    this.history.lostEpochs.add(member.disk.epoch);
    this.#killAgent(member);
    member.disk = emptyDisk();
  }

  #cutOff(member: Member, isOn: boolean): void {
    member.isCutOff = isOn;
    if (isOn) member.link?.goDead();
  }

  #troubleBroker(isOn: boolean): void {
    this.#broker.trouble = isOn ? { lost: 0.1, unanswered: 0.1, doubled: 0.2, lateMs: 3_000 } : { lost: 0, unanswered: 0, doubled: 0, lateMs: 0 };
  }

  #killHub(): void {
    if (!this.#hub) return;
    this.#hub.program.kill();
    this.#hub = undefined;
    for (const { link } of this.members.values()) this.time.after(this.#draw() * 500, () => link?.cut());
    this.time.after(this.#draw() * 5_000, () => this.#startHub());
  }

  #killHubAtWork(): void {
    this.#commit();
    this.#hub?.program.dieAfter(this.#draw() * 60, () => this.#killHub());
  }

  /** Past its lease another one takes over; when it wakes, it has no say any more. */
  #stopHub(): void {
    const stopped = this.#hub;
    if (!stopped) return;
    stopped.program.freeze(5_000 + this.#draw() * 40_000);
    this.time.after(10_000, () => {
      if (this.#hub !== stopped || !stopped.program.isFrozen) return;
      this.#hub = undefined;
      for (const { link } of this.members.values()) link?.cut();
      this.#startHub();
    });
  }

  #startHub(): void {
    if (this.#hub) return;
    this.#hub = new HubCore(this.db, this.#hubAround);
    this.#hubs.push(this.#hub);
  }

  /** The database as it was at the last backup. */
  #restore(): void {
    if (!this.#backup) return;
    this.#killHub();
    for (const { program } of this.#hubs) program.kill();
    this.db = this.#backup.copy();
    this.history.answered = this.history.answered.filter(({ cluster, write }) => (this.db.clusters.get(cluster)?.write ?? 0) >= write);
  }

  #label(): void {
    const row = this.#pick([...this.db.clusters.values()]);
    if (!row) return;
    const { env, ...others } = row.labels;
    const fleet = this.#pick([...fleets]) ?? "";
    const labels = this.#chance(0.4)
      ? { ...others, env: env === "prod" ? "dev" : "prod" }
      : { ...row.labels, [fleet]: row.labels[fleet] === "true" ? "false" : "true" };
    this.#setLabels(row.name, labels as Record<string, string>);
  }

  #setLabels(cluster: string, labels: Readonly<Record<string, string>>): void {
    const write = (this.#writes += 1);
    this.#hub?.setLabels(cluster, labels, write, () => this.history.answered.push({ cluster, write }));
  }

  /** A person looks at what is held and says yes to exactly that. */
  #approvePrunes(): void {
    for (const target of this.db.targets.values()) {
      const { fleet, cluster, revision } = target;
      const state = this.db.targetStates.get(`${fleet} ${cluster}`);
      if (!state || state.prunesHeld === 0 || state.revision !== revision || target.tombstone !== null) continue;
      const rows = [...(this.db.objectStates.get(cluster) ?? [])].filter(([key, row]) => key.startsWith(`${fleet} `) && row.prune === "held");
      const keys = rows.map(([, row]) => row.objectId);
      if (listDigest(keys) !== state.prunesDigest || target.pruneApproval?.digest === state.prunesDigest) continue;
      this.history.approvals.push({ fleet, cluster, revision, digest: state.prunesDigest, keys });
      this.#approve(target, state.prunesDigest);
    }
  }

  /** What was approved is of another list than what is held by now. */
  #approveWrongly(): void {
    const target = this.#pick([...this.db.targets.values()].filter(({ tombstone }) => tombstone === null));
    if (target) this.#approve(target, listDigest([`of ${this.#name()}`]));
  }

  #approve(target: { fleet: string; cluster: string; revision: string }, digest: string): void {
    const row = this.db.target(target.fleet, target.cluster);
    if (!row) return;
    row.generation += 1n;
    row.releasedAt = this.time.now;
    row.pruneApproval = { revision: row.revision, digest, approvedBy: "ann", approvedAt: new Date(this.time.now).toISOString() };
    const { fleet, cluster, generation, revision, bundles, tombstone } = row;
    this.history.released.push({ fleet, cluster, generation, revision, environment: "", digest: row.digest, bundles, tombstone });
  }

  #approveRemovals(): void {
    for (const row of this.db.fleets.values()) if (row.heldRemoval !== "") row.approvedRemovals.push(row.heldRemoval);
  }

  /** Something that calls itself the hub sends what no hub releases. */
  #lie(): void {
    const { agent, cluster } = this.#anyMember();
    const fleet = this.#pick([...fleets]) ?? "";
    const held = agent?.held.find((one) => one.fleet === fleet);
    const row = this.db.target(fleet, cluster.name);
    if (!agent || !held || !row) return;
    const base = { fleet, cluster: cluster.name, generation: held.generation + 1n, revision: row.revision, digest: row.digest, complete: true };
    const bundles = row.bundles.map(({ name, digest, objectCount }) => ({ name, digest, objectCount }));
    const lies: Parameters<typeof create<typeof TargetSchema>>[1][] = [
      { ...base, bundles: [] },
      { ...base, bundles: bundles.slice(1), complete: false },
      { ...base, bundles: bundles.slice(0, 1), complete: false },
      { ...base, bundles: bundles.slice(1), generation: held.generation, digest: "0".repeat(64) },
      { ...base, bundles: bundles.slice(1), cluster: "another" },
      { ...base, bundles: bundles.slice(1), generation: held.generation - 1n },
    ];
    const lie = this.#pick(lies);
    if (lie) agent.program.receive(() => agent.onTarget(create(TargetSchema, lie) as Target));
  }

  // How it ends.

  #mend(): void {
    this.#broker.isAway = false;
    this.#troubleBroker(false);
    for (const git of this.repositories.values()) git.isAway = false;
    for (const member of this.members.values()) {
      member.cluster.isAway = false;
      member.isCutOff = false;
      if (member.link) member.link.lateMs = 20;
      member.foughtUntil = Math.min(member.foughtUntil, this.time.now);
    }
    this.#startHub();
    for (const git of this.repositories.values()) {
      const bundles = new Map([...git.head.bundles].filter(([, { size }]) => size > 0));
      git.commit(bundles.size > 0 ? bundles : this.#drawBundles());
    }
  }

  #sayYes(): void {
    this.#approvePrunes();
    this.#approveRemovals();
    this.#pushAgain();
    // A fleet, or an end of it, that a restored backup does not know takes a person: the cluster is labelled into the fleet again.
    for (const [name, { agent }] of this.members) {
      for (const { fleet, generation } of agent?.held ?? []) {
        const [row, target] = [this.db.clusters.get(name), this.db.target(fleet, name)];
        const isForgotten = !target || (target.tombstone !== null && generation >= target.generation);
        if (row && isForgotten && row.labels[fleet] !== "true") this.#setLabels(name, { ...row.labels, [fleet]: "true" });
      }
    }
  }

  /** A rollout that failed (a fight that was still on, a cluster that was away) is over: Git has to say it anew. */
  #pushAgain(): void {
    for (const { name, newest, rollout } of this.db.fleets.values()) {
      const isBehind = [...this.db.clusters.values()].some((row) => row.labels[name] === "true" && this.db.target(name, row.name)?.revision !== newest);
      const git = this.repositories.get(name);
      if (!git || rollout || !isBehind || newest !== git.head.id || this.time.now < this.#pushedAt + 100_000) continue;
      this.#pushedAt = this.time.now;
      git.commit(git.head.bundles);
    }
  }

  // Who there is.

  #join(name: string): void {
    const labels = { env: this.#chance(0.5) ? "prod" : "dev", infra: "true", shop: this.#chance(0.8) ? "true" : "false" };
    const position = { epoch: null, watermark: 0n, snapshot: null };
    const row = { name, labels, write: 0, session: 0, seenAt: this.time.now, position, wantsResend: false, resendAskedAt: -Infinity, wantsSnapshot: false };
    this.db.clusters.set(name, { ...row, askedSnapshot: false });
    const skewMs = this.#chance(0.5) ? 0 : (this.#draw() - 0.5) * 7_200_000;
    const cluster = new LiveCluster(name);
    const member: Member = { cluster, disk: emptyDisk(), skewMs, agent: undefined, link: undefined, isCutOff: false, foughtUntil: -Infinity };
    // Some of what Git says was there before.
    if (this.#chance(0.5)) cluster.edit(this.#anyKey(), "there before");
    this.members.set(name, member);
    this.#startAgent(member);
  }

  #startAgent(member: Member): void {
    if (member.agent) return;
    const around = { time: this.time, history: this.history, bodies: this.#bodies, broker: this.#broker, bug: this.#bug };
    const agent = new AgentCore(member.cluster, member.disk, member.skewMs, around);
    member.agent = agent;
    agent.program.run(this.#dial(member, agent));
  }

  *#dial(member: Member, agent: AgentCore): Steps {
    for (;;) {
      const hub = this.#hub;
      if (!hub || hub.program.isFrozen || member.isCutOff || !agent.isReady) {
        yield 500;
        continue;
      }
      const { name } = member.cluster;
      const link = new Link(this.time, name, agent, { agent: agent.program, hub: hub.program });
      member.link = link;
      const hello = { cluster: name, epoch: agent.outbox.epoch, held: agent.held };
      link.toHub(() => hub.hello(link, hello));
      agent.onConnected((word: HubWord) => (word.kind === "reopen" ? link.cut() : link.toHub(() => hub.snapshotDone(name))));
      while (link.isOpen) yield link.closed.atMost(60_000);
      yield 700;
    }
  }

  // What is drawn.

  #drawBundles(): Bundles {
    return new Map(
      ["base", "web"].map((bundle) => {
        const count = 2 + Math.floor(this.#draw() * 7);
        return [bundle, new Map(Array.from({ length: count }, () => [this.#newKey(bundle), this.#name()]))];
      }),
    );
  }

  #drawPlan(): RolloutSpec {
    const after = { healthy: true, soakMs: this.#chance(0.3) ? 3_000 : 0, metrics: [], jobs: [] };
    const canary = { name: "canary", clusters: { matchLabels: { env: "dev" } }, after };
    const rest = { name: "rest", clusters: {}, after };
    const isStaged = this.#chance(0.5);
    return {
      waves: isStaged ? [canary, rest] : [rest],
      failureBudget: isStaged ? { count: 0 } : { percent: 100 },
      onFailure: this.#chance(0.7) ? "rollback" : "hold",
      progressDeadlineMs: 60_000,
      onNewRevision: "supersede",
    };
  }

  #newKey(where: string): string {
    return `${this.#pick(kinds)}/${where}/o${this.#name()}`;
  }

  #name(): string {
    return String((this.#names += 1));
  }

  /** Of something that Git names, now or once. */
  #anyKey(): string {
    const bundles = [...this.#anyRepository().head.bundles.values()];
    return this.#pick(bundles.flatMap((objects) => [...objects.keys()])) ?? contested;
  }

  #anyMember(): Member {
    const member = this.#pick([...this.members.values()]);
    if (!member) throw new Error("no cluster is there");
    return member;
  }

  #anyRepository(): GitHistory {
    const git = this.#pick([...this.repositories.values()]);
    if (!git) throw new Error("no repository is there");
    return git;
  }

  #for(ms: number, set: (isOn: boolean) => void): void {
    set(true);
    this.time.after(this.#draw() * ms, () => set(false));
  }

  #during(ms: number, member: Member, set: (member: Member, isOn: boolean) => void): void {
    this.#for(ms, (isOn) => set(member, isOn));
  }

  #draw(): number {
    return this.time.random();
  }

  #chance(part: number): boolean {
    return this.#draw() < part;
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#draw() * from.length)];
  }
}
