import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { KubeClient, type KubeAnswer, type KubeRequest } from "@flotilla/agent/cluster/kube-client";
import { errorOfAnswer, KubeError } from "@flotilla/agent/cluster/kube-error";
import { PruneState, type ObjectState } from "@flotilla/proto/gen/report";
import { PruneApprovalSchema, RemovalPolicy, type Target } from "@flotilla/proto/gen/target";
import { create } from "@bufbuild/protobuf";
import type { AuditedRequest, KubeCluster } from "../../harness/kube-cluster.ts";
import type { KubeObject } from "../../harness/kube-client.ts";
import { seededRandom } from "../../harness/random.ts";
import type { TcpProxy } from "../../harness/tcp-proxy.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { startEngine, testTarget, type TestBundle, type TestEngine, type TestTarget } from "../agent-fixture.ts";
import { createAccount, grant } from "./account-kubeconfig.ts";
import type { History, NamedObject, SeenDelete, SeenVersion, SentTarget } from "./deletion-oracle.ts";
import { namesPerScenario, policies, type DrawnScenario, type DrawnStep, type handActs } from "./deletion-scenarios.ts";

/** What goes wrong between the agent and the API server in a world, apart from restarts and people. */
export const troubles = ["nothing", "answers", "wire", "rights"] as const;
export type Trouble = (typeof troubles)[number];

/** Where worlds are played: one cluster, and a wire to it that can be cut. */
export interface Stage {
  readonly cluster: KubeCluster;
  readonly proxy: TcpProxy;
  /** Leads through the proxy. */
  readonly kubeconfig: string;
  readonly audit: AuditTail;
}

export interface WorldOptions {
  readonly index: number;
  readonly seed: number;
  readonly scenarios: readonly DrawnScenario[];
  readonly trouble: Trouble;
  /** A client with a planted bug, to see the oracle find it. */
  readonly makeClient?: (...args: ConstructorParameters<typeof KubeClient>) => KubeClient;
}

const groups = {
  "/ConfigMap": "/api/v1",
  "apps/StatefulSet": "/apis/apps/v1",
  "rbac.authorization.k8s.io/ClusterRole": "/apis/rbac.authorization.k8s.io/v1",
} as const;
type GroupKind = keyof typeof groups;
const plurals: Readonly<Record<GroupKind, string>> = {
  "/ConfigMap": "configmaps",
  "apps/StatefulSet": "statefulsets",
  "rbac.authorization.k8s.io/ClusterRole": "clusterroles",
};

interface Place {
  readonly key: string;
  readonly path: string;
  readonly collection: string;
  readonly make: (content: string, annotations: Readonly<Record<string, string>>) => object;
}

/** Where name n of scenario s lies: most are ConfigMaps, the last two of protected kinds. */
function placeOf(world: string, s: number, n: number): Place {
  const groupKind: GroupKind =
    n === namesPerScenario - 1 ? "rbac.authorization.k8s.io/ClusterRole" : n === namesPerScenario - 2 ? "apps/StatefulSet" : "/ConfigMap";
  const isClustered = groupKind.endsWith("ClusterRole");
  const [namespace, name] = isClustered ? ["", `${world}-s${s}-n${n}`] : [world, `s${s}-n${n}`];
  const collection = isClustered ? `${groups[groupKind]}/clusterroles` : `${groups[groupKind]}/namespaces/${world}/${plurals[groupKind]}`;
  const [group = "", kind = ""] = groupKind.split("/");
  const apiVersion = group === "" ? "v1" : `${group}/v1`;
  return {
    key: `${groupKind}/${namespace}/${name}`,
    path: `${collection}/${name}`,
    collection,
    make: (content, annotations) => ({
      apiVersion,
      kind,
      metadata: { name, ...(namespace !== "" && { namespace }), annotations: { ...annotations, "test.example/content": content } },
      ...(kind === "ConfigMap" && { data: { content } }),
      ...(kind === "StatefulSet" && {
        spec: {
          serviceName: "x",
          replicas: 0,
          selector: { matchLabels: { app: name } },
          template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "m", image: "example/app:1" }] } },
        },
      }),
      ...(kind === "ClusterRole" && { rules: [] }),
    }),
  };
}

/** The API server's log, read as it grows: only what the agent deleted. */
export class AuditTail {
  readonly #file: string;
  #offset = 0;
  #rest = "";
  readonly #deletes: AuditedRequest[] = [];
  #reading: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  async deletes(): Promise<readonly AuditedRequest[]> {
    this.#reading = this.#reading.then(() => this.#read());
    await this.#reading;
    return this.#deletes;
  }

  async #read(): Promise<void> {
    const file = await open(this.#file, "r");
    try {
      for (const chunk = Buffer.alloc(1 << 20); ;) {
        const { bytesRead } = await file.read(chunk, 0, chunk.length, this.#offset);
        if (bytesRead === 0) return;
        this.#offset += bytesRead;
        const lines = (this.#rest + chunk.toString("latin1", 0, bytesRead)).split("\n");
        this.#rest = lines.pop() ?? "";
        for (const line of lines)
          if (line.includes('"verb":"delete"') && line.includes('"userAgent":"flotilla-agent"')) this.#deletes.push(JSON.parse(line) as AuditedRequest);
      }
    } finally {
      await file.close();
    }
  }
}

/** A client whose answers fail now and then: before anything was done, or after, so that it is not known whether it was. */
class FaultyClient extends KubeClient {
  rate = 0;
  random: () => number = Math.random;

  override async request(request: KubeRequest): Promise<KubeAnswer> {
    const [dice, kind] = [this.random(), Math.floor(this.random() * 4)];
    if (dice >= this.rate) return await super.request(request);
    const say = (status: number, reason: string) =>
      errorOfAnswer(status, Buffer.from(JSON.stringify({ kind: "Status", reason, message: `planted: ${reason}` })), undefined);
    if (kind === 0) throw say(500, "InternalError");
    if (kind === 1) throw say(429, "TooManyRequests");
    if (kind === 2 && request.method === "GET") throw say(403, "Forbidden");
    await super.request(request);
    throw new KubeError("unreachable", "planted: the answer was lost");
  }
}

/** Play one world: every scenario step by step, all at once, with one engine. Gives what the oracle judges; undefined when the test itself did not see all of it. */
export async function playWorld(stage: Stage, options: WorldOptions): Promise<History | undefined> {
  return await new World(stage, options).play();
}

class World {
  readonly #stage: Stage;
  readonly #options: WorldOptions;
  readonly #name: string;
  readonly #random: () => number;
  readonly #targets: SentTarget[] = [];
  readonly #versions: SeenVersion[] = [];
  readonly #heldLists: string[][] = [];
  readonly #restarts: { from: number; to: number }[] = [];
  /** By fleet: what it was sent last, and what its reports say of its objects. */
  readonly #newest = new Map<string, TestTarget>();
  readonly #generations = new Map<string, number>();
  readonly #states = new Map<string, Map<string, ObjectState>>();
  #reportsRead = 0;
  /** The API server ended a watch of the test's own: what it saw is not whole. */
  #isBlind = false;
  #client: KubeClient | undefined;
  #kubeconfig = "";

  constructor(stage: Stage, options: WorldOptions) {
    this.#stage = stage;
    this.#options = options;
    this.#name = `w${options.index}`;
    this.#random = seededRandom(options.seed + options.index);
  }

  async play(): Promise<History | undefined> {
    const { client } = this.#stage.cluster;
    for (const name of [this.#name, `${this.#name}-state`])
      await client.create("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    await this.#prepareRights();
    const watches = new AbortController();
    const watching = await this.#watch(watches.signal);
    let agent = await this.#start();
    const steps = Math.max(...this.#options.scenarios.map((scenario) => scenario.length));
    for (let at = 0; at < steps; at++) {
      this.#setTrouble(at);
      await Promise.all(this.#options.scenarios.map((scenario, s) => this.#playStep(agent, s, scenario[at])));
      if (at > 0 && at < steps - 1 && this.#random() < 0.3) agent = await this.#restart(agent);
    }
    await this.#settle(agent, 5_000);
    await agent.stop();
    const deletes = await this.#deletes();
    watches.abort();
    await watching.ended;
    await this.#cleanUp();
    if (this.#isBlind) return undefined;
    return { targets: this.#targets, deletes, versions: this.#versions, heldLists: this.#heldLists, restarts: this.#restarts };
  }

  /** In worlds without rights the agent may do everything but list and watch what it applies. */
  async #prepareRights(): Promise<void> {
    const { cluster, kubeconfig } = this.#stage;
    this.#kubeconfig = this.#options.trouble === "wire" ? kubeconfig : cluster.kubeconfig;
    if (this.#options.trouble !== "rights") return;
    const state = `${this.#name}-state`;
    this.#kubeconfig = await createAccount(cluster, state, "agent");
    const account = `${state}/agent`;
    const verbs = ["get", "create", "patch", "delete"];
    await grant(cluster, state, "state", [{ apiGroups: [""], resources: ["secrets", "configmaps"], verbs: [...verbs, "list", "watch", "update"] }], account);
    await grant(
      cluster,
      "",
      `${this.#name}-namespaces`,
      [
        { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] },
        { apiGroups: ["rbac.authorization.k8s.io"], resources: ["clusterroles"], verbs: [...verbs, "escalate"] },
      ],
      account,
    );
    await grant(cluster, this.#name, "content", [{ apiGroups: ["", "apps"], resources: ["configmaps", "statefulsets"], verbs }], account);
  }

  async #start(): Promise<TestEngine> {
    const make = this.#options.makeClient ?? ((...args: ConstructorParameters<typeof KubeClient>) => new FaultyClient(...args));
    const makeClient = (...args: ConstructorParameters<typeof KubeClient>) => (this.#client = make(...args));
    this.#reportsRead = 0;
    const options = { kubeconfig: this.#kubeconfig, stateNamespace: `${this.#name}-state`, handOverMs: 150, makeClient };
    // As the agent's own start: what fails is tried again.
    return await waitFor(
      () =>
        startEngine(this.#stage.cluster, options).catch((error: unknown) => {
          if (!(error instanceof KubeError)) throw error;
          this.#client?.close();
          return undefined;
        }),
      { what: "the engine's start", timeoutMs: 120_000 },
    );
  }

  #setTrouble(at: number): void {
    if (this.#options.trouble === "wire" && at > 0) this.#stage.proxy.reset();
    if (this.#client instanceof FaultyClient) {
      this.#client.random = this.#random;
      this.#client.rate = this.#options.trouble === "answers" ? 0.12 : 0;
    }
  }

  /** The agent dies, its requests in the air with it; the hub sends the newest targets again. */
  async #restart(agent: TestEngine): Promise<TestEngine> {
    const from = Date.now();
    this.#client?.close();
    await agent.stop();
    const next = await this.#start();
    for (const target of this.#newest.values()) await this.#handOver(next, target);
    this.#restarts.push({ from, to: Date.now() });
    return next;
  }

  /** Give the agent bodies and then the target, as the link does. Returns when it was taken (epoch ms). */
  async #handOver(agent: TestEngine, { target, bodies }: TestTarget): Promise<number> {
    // An API server that refuses makes the link try again.
    const put = () => Promise.all([...bodies].map(([digest, body]) => agent.engine.bodies.put(digest, body)));
    await waitFor(
      () =>
        put().then(
          () => true,
          () => false,
        ),
      { what: "bodies to be kept", timeoutMs: 60_000 },
    );
    const at = Date.now();
    agent.engine.accept(target);
    return at;
  }

  async #playStep(agent: TestEngine, s: number, step: DrawnStep | undefined): Promise<void> {
    if (!step) return;
    const fleet = `${this.#name}-s${s}-${step.fleet === 0 ? "a" : "b"}`;
    await this.#send(agent, fleet, s, step);
    for (const { name, act } of step.hands) await this.#byHand(placeOf(this.#name, s, name), act);
    if (!step.waits) return;
    await this.#settle(agent, 4_000);
    if (step.approve !== "nothing" && step.kind === "valid") await this.#approve(agent, fleet, step);
  }

  async #send(agent: TestEngine, fleet: string, s: number, step: DrawnStep): Promise<void> {
    const before = this.#generations.get(fleet) ?? 0;
    const generation = step.kind === "older" ? Math.max(1, before - 1) : before + 2;
    if (step.kind !== "older") this.#generations.set(fleet, generation);
    const named: (NamedObject & { readonly object: object })[] = step.objects.map(({ name, bundle, policy }) => {
      const place = placeOf(this.#name, s, name);
      const annotations = policies[policy] ?? {};
      return { key: place.key, bundle: `b${bundle}`, annotations, object: place.make(`${fleet}/${generation}`, annotations) };
    });
    if (step.kind === "broken") named.push(brokenObject(this.#name, `s${s}-broken-${step.fleet}`));
    const pruneDefaults: Record<string, string> = step.defaults === 1 ? { b1: "disabled" } : step.defaults === 2 ? { b1: "confirm" } : {};
    const isEmpty = step.kind === "empty" || step.kind === "orphan" || step.kind === "delete";
    const objects = isEmpty ? [] : named;
    const bundles = [...Map.groupBy(objects, ({ bundle }) => bundle)].map(([name, members]): TestBundle => ({
      name,
      objects: members.map(({ object }) => object),
      ...(name === "b2" && { pruneBudget: { objects: 2, percent: 0 } }),
      ...(pruneDefaults[name] !== undefined && { defaults: { prune: pruneDefaults[name] } }),
    }));
    const tombstone = step.kind === "orphan" ? RemovalPolicy.ORPHAN : step.kind === "delete" ? RemovalPolicy.DELETE : undefined;
    const target = testTarget(fleet, generation, bundles, {
      complete: step.kind !== "incomplete",
      ...(tombstone !== undefined && { tombstone: { policy: tombstone, reason: "drawn" } }),
    });
    await this.#follow(agent, target, {
      objects,
      pruneDefaults,
      budgets: Object.fromEntries(bundles.flatMap(({ name }) => (name === "b2" ? [[name, 2] as const] : []))),
      isBroken: step.kind === "broken" && !isEmpty,
    });
  }

  async #follow(agent: TestEngine, target: TestTarget, more: Pick<SentTarget, "objects" | "pruneDefaults" | "budgets" | "isBroken">): Promise<void> {
    const { objects, pruneDefaults, budgets, isBroken } = more;
    const { fleet, generation, revision, complete, tombstone, pruneApproval } = target.target;
    const isFollowed = complete && (objects.length > 0 || tombstone !== undefined) && generation > (this.#newest.get(fleet)?.target.generation ?? 0n);
    if (isFollowed) this.#newest.set(fleet, target);
    const at = await this.#handOver(agent, target);
    this.#targets.push({
      fleet,
      generation: Number(generation),
      revision,
      at,
      isComplete: complete,
      ...(tombstone && { tombstone: tombstone.policy === RemovalPolicy.DELETE ? "delete" : "orphan" }),
      ...(pruneApproval && { approval: { revision: pruneApproval.revision, digest: pruneApproval.digest } }),
      ...{ objects, pruneDefaults, budgets, isBroken },
    });
  }

  /** A person looks at what is held, and says yes: to that, to something else, or to it at another revision. */
  async #approve(agent: TestEngine, fleet: string, step: DrawnStep): Promise<void> {
    this.#foldReports(agent);
    const [target, sent] = [this.#newest.get(fleet), this.#targets.findLast((candidate) => candidate.fleet === fleet)];
    const digest = agent.summary(fleet)?.prunesDigest ?? "";
    const list = [...(this.#states.get(fleet) ?? [])].filter(([, state]) => state.prune === PruneState.HELD).map(([key]) => key);
    if (!target || !sent || digest === "" || digest !== digestOf(list)) return;
    this.#heldLists.push(list);
    const approval = {
      revision: step.approve === "for another revision" ? "0".repeat(40) : target.target.revision,
      digest: step.approve === "another list" ? digestOf([...list.slice(1), "/ConfigMap/else/where"]) : digest,
      approvedBy: "ada",
    };
    const generation = target.target.generation + 1n;
    if (Number(generation) <= (this.#generations.get(fleet) ?? 0)) return;
    this.#generations.set(fleet, Number(generation));
    const approved: Target = { ...target.target, generation, pruneApproval: create(PruneApprovalSchema, approval) };
    await this.#follow(agent, { target: approved, bodies: target.bodies }, sent);
    await this.#settle(agent, 4_000);
  }

  #foldReports(agent: TestEngine): void {
    for (; this.#reportsRead < agent.reports.length; this.#reportsRead++) {
      const report = agent.reports[this.#reportsRead];
      if (!report) continue;
      const states = this.#states.get(report.fleet) ?? new Map<string, ObjectState>();
      this.#states.set(report.fleet, states);
      for (const { group, kind, namespace, name } of report.gone) states.delete(`${group}/${kind}/${namespace}/${name}`);
      for (const state of report.objects) if (state.id) states.set(`${state.id.group}/${state.id.kind}/${state.id.namespace}/${state.id.name}`, state);
    }
  }

  async #byHand(place: Place, act: (typeof handActs)[number]): Promise<void> {
    const { client } = this.#stage.cluster;
    const annotate = (annotations: Record<string, string | null>) => client.mergePatch(place.path, { metadata: { annotations } });
    const acts: Readonly<Record<typeof act, () => Promise<unknown>>> = {
      delete: () => client.delete(place.path),
      recreate: () => client.delete(place.path).then(() => client.create(`${place.collection}?fieldManager=kubectl-create`, place.make("by hand", {}))),
      edit: () => annotate({ "test.example/content": "by hand" }),
      hold: () => client.mergePatch(place.path, { metadata: { finalizers: ["test.example/hold"] } }),
      guard: () => annotate({ "flotilla.dev/prune": "disabled" }),
      confirm: () => annotate({ "flotilla.dev/prune": "confirm" }),
      unguard: () => client.mergePatch(place.path, { metadata: { finalizers: null, annotations: { "flotilla.dev/prune": null } } }),
      claim: () => annotate({ "flotilla.dev/owner": "elsewhere/app" }),
      unlabel: () => client.mergePatch(place.path, { metadata: { labels: { "flotilla.dev/fleet": null } } }),
    };
    // It need not be there.
    await acts[act]().catch(() => undefined);
  }

  /** Until the engine has sent nothing for a while: what can never be applied is retried for ever, so it need not be quiet. */
  async #settle(agent: TestEngine, patienceMs: number): Promise<void> {
    const deadline = Date.now() + patienceMs;
    const sent = () => Object.values(agent.sent()).reduce((sum, count) => sum + count, 0);
    for (let [before, stable] = [-1, 0]; stable < 6 && !(stable > 2 && agent.engine.isQuiet) && Date.now() < deadline; await delay(40)) {
      const now = sent();
      [before, stable] = [now, now === before ? stable + 1 : 0];
    }
  }

  /** Watch what is in the world until the signal fires. */
  async #watch(signal: AbortSignal): Promise<{ readonly ended: Promise<unknown> }> {
    const { client } = this.#stage.cluster;
    const collections = [...new Set([0, namesPerScenario - 2, namesPerScenario - 1].map((n) => placeOf(this.#name, 0, n).collection))];
    const look = (object: KubeObject) => {
      const { uid = "", resourceVersion = "", annotations = {}, name, namespace = "" } = object.metadata;
      if (namespace === "" && !name.startsWith(`${this.#name}-`)) return;
      const groupKind = `${(object.apiVersion ?? "").includes("/") ? (object.apiVersion ?? "").split("/")[0] : ""}/${object.kind}`;
      const content = annotations["test.example/content"];
      this.#versions.push({
        key: `${groupKind}/${namespace}/${name}`,
        uid,
        resourceVersion,
        annotations,
        applied: content === "by hand" ? undefined : content,
      });
    };
    const follow = async (collection: string, from: string) => {
      await client.watch(`${collection}?resourceVersion=${from}`, signal, ({ object }) => look(object));
      // Each by itself: the others go on to the end, and what this one would have shown is missing.
      this.#isBlind ||= !signal.aborted;
    };
    // From before the first apply, however late the API server takes the watch up.
    const versions = await Promise.all(collections.map(async (collection) => (await client.get(collection)).metadata.resourceVersion ?? ""));
    return { ended: Promise.all(collections.map((collection, i) => follow(collection, versions[i] ?? ""))) };
  }

  async #deletes(): Promise<SeenDelete[]> {
    const mine = (await this.#stage.audit.deletes()).filter(
      ({ objectRef, responseStatus }) =>
        (responseStatus?.code ?? 500) < 300 &&
        (objectRef?.namespace === this.#name || (!objectRef?.namespace && objectRef?.name?.startsWith(`${this.#name}-`))),
    );
    const deletes = mine.map((request): SeenDelete => {
      const { resource, namespace = "", name = "" } = request.objectRef ?? {};
      const groupKind = Object.entries(plurals).find(([, plural]) => plural === resource)?.[0] ?? `?/${resource}`;
      const { uid = "", resourceVersion = "" } = request.requestObject?.preconditions ?? {};
      return { key: `${groupKind}/${namespace}/${name}`, at: Date.parse(request.requestReceivedTimestamp), uid, resourceVersion };
    });
    const isSeen = ({ key, resourceVersion }: SeenDelete) =>
      this.#versions.some((version) => version.key === key && version.resourceVersion === resourceVersion);
    await waitFor(() => deletes.every((deletion) => deletion.resourceVersion === "" || isSeen(deletion)), {
      what: "the watch to have seen what was deleted",
      timeoutMs: 5_000,
    }).catch(() => undefined);
    return deletes;
  }

  async #cleanUp(): Promise<void> {
    const { client } = this.#stage.cluster;
    const roles = [...new Set(this.#versions.map(({ key }) => key))].filter((key) => key.includes("ClusterRole"));
    for (const key of roles)
      await client
        .mergePatch(`/apis/rbac.authorization.k8s.io/v1/clusterroles/${key.split("/").at(-1)}`, { metadata: { finalizers: null } })
        .catch(() => undefined);
    for (const key of roles) await client.delete(`/apis/rbac.authorization.k8s.io/v1/clusterroles/${key.split("/").at(-1)}`).catch(() => undefined);
    await client.delete(`/api/v1/namespaces/${this.#name}/configmaps`).catch(() => undefined);
    await client.delete(`/apis/apps/v1/namespaces/${this.#name}/statefulsets`).catch(() => undefined);
  }
}

/** Each fleet has its own: what another fleet claims is not awaited. */
function brokenObject(world: string, name: string): NamedObject & { readonly object: object } {
  return {
    key: `/ConfigMap/${world}/${name}`,
    bundle: "b0",
    annotations: {},
    object: { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: world, labels: { "not a label": "!" } } },
  };
}

function digestOf(list: readonly string[]): string {
  return createHash("sha256")
    .update(JSON.stringify([...list].sort()))
    .digest("hex");
}
