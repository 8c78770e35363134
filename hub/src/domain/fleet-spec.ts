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
  /** Accepted and validated; kept as written. */
  readonly rollout?: Json;
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
