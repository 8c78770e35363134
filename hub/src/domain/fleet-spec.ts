import type { Json } from "@flotilla/proto/digest";
import type { DirectiveDefaults } from "@flotilla/proto/directives";
import type { SyncWindows } from "@flotilla/proto/sync-windows";

/** A Kubernetes label selector; an empty one selects everything. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly LabelExpression[];
}

export interface LabelExpression {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values?: readonly string[];
}

export type Values = Readonly<Record<string, Json>>;

/** What fleet.yaml says, with every default filled in. */
export interface FleetSpec {
  readonly name: string;
  readonly clusters: LabelSelector;
  readonly values: Values;
  readonly bundles: readonly BundleSpec[];
  /** Absent: defaultRemoval of plan-removals.ts. */
  readonly removal?: RemovalSpec;
  /** Absent: immediateRollout of rollout-plan.ts. */
  readonly rollout?: RolloutSpec;
}

/** A number of clusters, or a part of them. */
export type Amount = { readonly count: number } | { readonly percent: number };

/** How a revision goes through the fleet. */
export interface RolloutSpec {
  /** At least one. A cluster belongs to the first that selects it; those that none selects get the revision with the last. */
  readonly waves: readonly WaveSpec[];
  /** How many of the clusters released so far may fail: one more, and the rollout ends. */
  readonly failureBudget: Amount;
  readonly onFailure: "rollback" | "hold";
  /** How long a cluster may take to be healthy after its release before it counts as failed, or as skipped while it is offline. */
  readonly progressDeadlineMs: number;
  /** What becomes of this rollout when a newer revision comes. */
  readonly onNewRevision: "supersede" | "queue" | "hold";
}

export interface WaveSpec {
  readonly name: string;
  readonly clusters: LabelSelector;
  /** Clusters of the wave that are updated at a time; absent: all. */
  readonly maxConcurrency?: Amount;
  /** Clusters of the wave that may be away or not healthy before no more are released; absent: any. */
  readonly maxUnavailable?: Amount;
  /** When it may release. */
  readonly windows?: SyncWindows;
  readonly after: WaveGates;
}

/** What must be true of a wave before the next begins. All of it. */
export interface WaveGates {
  /** Every cluster of the wave that is not skipped is healthy. */
  readonly healthy: boolean;
  /** For how long. */
  readonly soakMs: number;
  /** Role of whom it waits for, e.g. "ops". */
  readonly approval?: string;
  readonly metrics: readonly MetricGate[];
  readonly jobs: readonly JobGate[];
  /** CEL over the wave's cluster states (proto/src/wave-check.ts). */
  readonly check?: string;
}

/** A PromQL query that the agents of the wave's clusters evaluate, each in its cluster. */
export interface MetricGate {
  readonly name: string;
  /** Base URL of a Prometheus API as the agent reaches it, e.g. "http://prometheus.monitoring:9090". */
  readonly address: string;
  readonly query: string;
  /** The value, a number, must compare so. Every sample of the window must. */
  readonly threshold: { readonly operator: "<" | "<=" | ">" | ">=" | "==" | "!="; readonly value: number };
  /** How long it must hold, and how far back it is looked at. */
  readonly windowMs: number;
}

/** A Job that the agents of the wave's clusters run; its end is the answer. */
export interface JobGate {
  readonly name: string;
  readonly namespace: string;
  /** batch/v1 JobSpec. */
  readonly spec: Readonly<Record<string, Json>>;
  readonly timeoutMs: number;
}

/** What becomes of clusters that the fleet no longer selects. */
export interface RemovalSpec {
  /** Of their objects. */
  readonly policy: "orphan" | "delete";
  /** How long they keep what they have, and may come back. */
  readonly graceMs: number;
}

export interface BundleSpec {
  readonly name: string;
  /** Folder in the repository, relative to the fleet's path; "" is that path itself. */
  readonly path: string;
  /** Namespace of objects that name none; undefined leaves "default". */
  readonly namespace?: string;
  readonly dependsOn: readonly string[];
  readonly values: Values;
  readonly overlays: readonly OverlaySpec[];
  /** Which matching overlays count. */
  readonly combine: "first" | "all";
  /** false: `${…}` in this bundle's manifests is text. */
  readonly substitute?: boolean;
  readonly policy: BundlePolicy;
}

export interface OverlaySpec {
  readonly clusters: LabelSelector;
  /** Folder rendered instead of the bundle's own. */
  readonly path?: string;
  readonly values: Values;
  readonly patches: readonly PatchSpec[];
}

/** A Kustomize patch: strategic merge or JSON 6902, as YAML text or as an object. */
export interface PatchSpec {
  readonly target?: {
    readonly group?: string;
    readonly version?: string;
    readonly kind?: string;
    readonly name?: string;
    readonly namespace?: string;
    readonly labelSelector?: string;
    readonly annotationSelector?: string;
  };
  readonly patch: string;
}

/** What the agent needs to know about a bundle besides its objects. */
export interface BundlePolicy {
  readonly drift: "heal" | "report" | "heal-unless-drifted";
  readonly ignore: readonly IgnoreRule[];
  /** Names of shipped ignore rules that do not count; absent when none is named, so that a bundle's digest stays what it was. */
  readonly ignoreDefaultsOff?: readonly string[];
  readonly healthTimeoutMs: number;
  /** In the order written; absent when there are none, so that a bundle's digest stays what it was. */
  readonly healthChecks?: readonly HealthCheck[];
  /** "namespace/name" that is impersonated for the bundle's objects. */
  readonly serviceAccount?: string;
  /** What holds for objects that say nothing themselves; only what fleet.yaml says. Absent when it says nothing, so that a bundle's digest stays what it was. */
  readonly defaults?: DirectiveDefaults;
  /** Bundles that it depends on and that are ready when an expression says so, instead of when they are healthy. */
  readonly readiness?: readonly { readonly bundle: string; readonly expression: string }[];
  /** Milliseconds that each phase may take; what is not set is the agent's default. */
  readonly deadlinesMs?: Readonly<Partial<Record<"definitions" | "hook" | "stage" | "dependsOn" | "apply", number>>>;
  /** The fleet's and its own: all must be open. */
  readonly syncWindows?: readonly SyncWindows[];
  /** The larger of the two wins. */
  readonly pruneBudget: { readonly objects: number; readonly percent: number };
}

/** CEL expressions for one kind; without a group, of every group. */
export interface HealthCheck {
  readonly group?: string;
  readonly kind: string;
  readonly inProgress?: string;
  readonly failed?: string;
  readonly current?: string;
}

export interface IgnoreRule {
  readonly group?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name?: string;
  /** JSON pointers (RFC 6901). */
  readonly paths?: readonly string[];
  /** Field queries (proto/src/field-query.ts). */
  readonly queries?: readonly string[];
  /** Field managers to whom fields are left. At least one of the three is there. */
  readonly managers?: readonly string[];
}
