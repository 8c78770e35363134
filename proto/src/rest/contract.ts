/**
 * The REST contract, `/api/v1`: one schema gives types, validation and OpenAPI 3.1. Hub, CLI and UI share it.
 * Every fact carries `asOf`, the hub's time of the report it rests on; a cluster whose lease ran out is `Unknown`
 * in every answer.
 */
import Type, { type Static } from "typebox";

const Time = Type.String({ format: "date-time", description: "RFC 3339, UTC" });
const MaybeTime = Type.Union([Time, Type.Null()]);
const Labels = Type.Record(Type.String(), Type.String());

export const SyncWord = Type.Union([Type.Literal("Synced"), Type.Literal("OutOfSync"), Type.Literal("Unknown")], {
  description: "Whether the cluster has what its target says",
});
export type SyncWord = Static<typeof SyncWord>;

export const HealthWord = Type.Union(
  [Type.Literal("InProgress"), Type.Literal("Current"), Type.Literal("Failed"), Type.Literal("Terminating"), Type.Literal("NotFound"), Type.Literal("Unknown")],
  { description: "kstatus words" },
);
export type HealthWord = Static<typeof HealthWord>;

export const ClusterPhase = Type.Union([Type.Literal("Pending"), Type.Literal("Connected"), Type.Literal("Unknown"), Type.Literal("Removed")], {
  description: "Pending: no agent enrolled yet. Unknown: its lease ran out.",
});

export const ProblemRow = Type.Object({
  code: Type.String(),
  message: Type.String(),
  file: Type.Optional(Type.String()),
  line: Type.Optional(Type.Integer()),
  column: Type.Optional(Type.Integer()),
  hint: Type.Optional(Type.String()),
  bundle: Type.Optional(Type.String()),
  object: Type.Optional(Type.String()),
  cluster: Type.Optional(Type.String()),
});
export type ProblemRow = Static<typeof ProblemRow>;

/** RFC 9457. */
export const ProblemDetails = Type.Object({
  type: Type.String({ description: "urn:flotilla:problem:<code>" }),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  hint: Type.Optional(Type.String({ description: "How to mend it" })),
  problems: Type.Optional(Type.Array(ProblemRow)),
});
export type ProblemDetails = Static<typeof ProblemDetails>;

export const Ref = Type.Union([
  Type.Object({ branch: Type.String() }),
  Type.Object({ tag: Type.String() }),
  Type.Object({ commit: Type.String() }),
  Type.Object({ semver: Type.String() }),
]);
export type Ref = Static<typeof Ref>;

export const Selector = Type.Object({
  matchLabels: Type.Optional(Labels),
  matchExpressions: Type.Optional(
    Type.Array(
      Type.Object({
        key: Type.String(),
        operator: Type.Union([Type.Literal("In"), Type.Literal("NotIn"), Type.Literal("Exists"), Type.Literal("DoesNotExist")]),
        values: Type.Optional(Type.Array(Type.String())),
      }),
    ),
  ),
});

/** What a person has stopped, and why. Absent members stand for all: a suspension with a cluster alone is the whole cluster's. */
export const Suspension = Type.Object({
  fleet: Type.Union([Type.String(), Type.Null()]),
  cluster: Type.Union([Type.String(), Type.Null()]),
  bundle: Type.Union([Type.String(), Type.Null()]),
  reason: Type.String(),
  by: Type.String({ description: "Description of the token that asked" }),
  since: Time,
});
export type Suspension = Static<typeof Suspension>;
const MaybeSuspension = Type.Union([Suspension, Type.Null()], { description: "Set while nothing of it is applied, pruned or healed" });

const scopeOfAct = {
  fleet: Type.Optional(Type.String()),
  cluster: Type.Optional(Type.String()),
  bundle: Type.Optional(Type.String({ description: "Of the fleet" })),
};

export const SuspensionCreate = Type.Object({ ...scopeOfAct, reason: Type.String({ minLength: 1, maxLength: 500 }) }, { additionalProperties: false });
export type SuspensionCreate = Static<typeof SuspensionCreate>;

/** Sync windows opened until a time. */
export const WindowOverride = Type.Object({ ...Suspension.properties, until: Time });
export type WindowOverride = Static<typeof WindowOverride>;

export const WindowOverrideCreate = Type.Object(
  {
    ...scopeOfAct,
    fleet: Type.String(),
    reason: Type.String({ minLength: 1, maxLength: 500 }),
    forMs: Type.Integer({ minimum: 1_000, maximum: 7 * 86_400_000, description: "How long they stay open" }),
  },
  { additionalProperties: false },
);
export type WindowOverrideCreate = Static<typeof WindowOverrideCreate>;

export const Tally = Type.Object(
  {
    clusters: Type.Integer(),
    synced: Type.Integer(),
    outOfSync: Type.Integer(),
    unknown: Type.Integer(),
    current: Type.Integer({ description: "Clusters whose health is Current" }),
    inProgress: Type.Integer(),
    failed: Type.Integer(),
    drifted: Type.Integer({ description: "Clusters with at least one drifted object" }),
  },
  { description: "Counts of clusters, made in the server" },
);
export type Tally = Static<typeof Tally>;

export const FleetRow = Type.Object({
  name: Type.String(),
  repository: Type.String(),
  ref: Ref,
  path: Type.String(),
  selector: Type.Union([Selector, Type.Null()]),
  createdAt: Time,
  revision: Type.Union([Type.String(), Type.Null()], { description: "The last good revision: what targets are made of" }),
  seenRevision: Type.Union([Type.String(), Type.Null()], { description: "The newest revision seen, good or bad" }),
  sync: SyncWord,
  health: HealthWord,
  tally: Tally,
  problems: Type.Array(ProblemRow),
  warnings: Type.Array(ProblemRow),
  deleting: Type.Union([Type.Literal("orphan"), Type.Literal("delete"), Type.Null()]),
  suspended: MaybeSuspension,
  source: Type.Object({
    fetchedAt: MaybeTime,
    lastTryAt: MaybeTime,
    error: Type.Union([Type.String(), Type.Null()]),
    webhookPath: Type.String({ description: "Where the forge sends its webhooks" }),
  }),
  asOf: MaybeTime,
});
export type FleetRow = Static<typeof FleetRow>;

export const FleetCreate = Type.Object(
  {
    name: Type.String(),
    repository: Type.String({ description: "https or ssh URL, without credentials" }),
    ref: Type.Optional(Type.Union(Ref.anyOf, { description: "Default: the repository's default branch, shown as branch HEAD" })),
    path: Type.Optional(Type.String()),
    selector: Type.Optional(Selector),
    credentials: Type.Optional(
      Type.Union([
        Type.Object({ username: Type.Optional(Type.String()), password: Type.String({ description: "token or password" }) }),
        Type.Object({ sshPrivateKey: Type.String(), knownHosts: Type.String() }),
      ]),
    ),
    webhookSecret: Type.Optional(Type.String({ minLength: 16 })),
    pollIntervalMs: Type.Optional(Type.Integer({ minimum: 1000, maximum: 86_400_000 })),
  },
  { additionalProperties: false },
);
export type FleetCreate = Static<typeof FleetCreate>;

export const FleetCreated = Type.Object({
  fleet: FleetRow,
  webhook: Type.Object({ path: Type.String(), secret: Type.Optional(Type.String({ description: "Shown once, when the hub made it" })) }),
});
export type FleetCreated = Static<typeof FleetCreated>;

/** How many objects are what, of those that are not Current. */
export const HealthCounts = Type.Record(Type.String(), Type.Integer(), { description: 'Objects by health word, without Current: {"InProgress": 3}' });
export type HealthCounts = Static<typeof HealthCounts>;

/** One (fleet, cluster): a line of `fleet status FLEET`. */
export const TargetRow = Type.Object({
  fleet: Type.String(),
  cluster: Type.String(),
  clusterPhase: ClusterPhase,
  wanted: Type.Object({ generation: Type.Integer(), revision: Type.String(), releasedAt: Time, removing: Type.Boolean() }),
  running: Type.Union([Type.Object({ generation: Type.Integer(), revision: Type.String() }), Type.Null()]),
  leaving: Type.Union(
    [Type.Object({ since: Time, at: Type.Union([Time, Type.Null()], { description: "null: not before a person lets it go" }) }), Type.Null()],
    { description: "Set while the fleet no longer selects the cluster, which keeps what it has until then" },
  ),
  sync: SyncWord,
  health: HealthWord,
  message: Type.String(),
  objects: Type.Integer(),
  healthy: Type.Integer(),
  drifted: Type.Integer(),
  failed: Type.Integer(),
  healthCounts: HealthCounts,
  prunesHeld: Type.Integer(),
  suspended: MaybeSuspension,
  problems: Type.Array(ProblemRow),
  asOf: MaybeTime,
});
export type TargetRow = Static<typeof TargetRow>;

export const ClusterRow = Type.Object({
  name: Type.String(),
  labels: Labels,
  facts: Labels,
  phase: ClusterPhase,
  createdAt: Time,
  enrolledAt: MaybeTime,
  lastSeenAt: MaybeTime,
  agentVersion: Type.Union([Type.String(), Type.Null()]),
  kubernetesVersion: Type.Union([Type.String(), Type.Null()]),
  hub: Type.Union([Type.String(), Type.Null()], { description: "Replica that holds the link" }),
  fleets: Type.Array(Type.String()),
  suspended: MaybeSuspension,
  sync: SyncWord,
  health: HealthWord,
  asOf: MaybeTime,
});
export type ClusterRow = Static<typeof ClusterRow>;

export const ClusterCreate = Type.Object(
  { name: Type.String(), labels: Type.Optional(Labels), tokenLifetimeMs: Type.Optional(Type.Integer({ minimum: 1 })) },
  { additionalProperties: false },
);
export type ClusterCreate = Static<typeof ClusterCreate>;

/** Answer to POST /clusters and POST /clusters/{name}/tokens: what the agent's installation needs. Shown once. */
export const Enrolment = Type.Object({
  cluster: Type.String(),
  token: Type.String(),
  expiresAt: Time,
  enrolAddress: Type.String({ description: "host:port of the enrolment listener" }),
  caHash: Type.String({ description: "SHA-256 (hex) of the hub CA's public key" }),
});
export type Enrolment = Static<typeof Enrolment>;

export const ClusterPatch = Type.Object(
  { labels: Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]), { description: "null removes a label" }) },
  { additionalProperties: false },
);

export const BundleRow = Type.Object({
  fleet: Type.String(),
  cluster: Type.String(),
  bundle: Type.String(),
  digest: Type.String(),
  sync: SyncWord,
  health: HealthWord,
  message: Type.String(),
  objects: Type.Integer(),
  healthy: Type.Integer(),
  drifted: Type.Integer(),
  failed: Type.Integer(),
  healthCounts: HealthCounts,
  suspended: MaybeSuspension,
  asOf: MaybeTime,
});
export type BundleRow = Static<typeof BundleRow>;

export const DriftField = Type.Object({
  path: Type.String({ description: "JSON pointer" }),
  desired: Type.String({ description: "JSON; a hash for Secret-like kinds" }),
  live: Type.String({ description: "The same of what is there; empty when it is absent" }),
  manager: Type.String({ description: "Field manager that holds the live value; empty when unknown" }),
  operation: Type.String({ description: "Apply or Update, as that manager wrote it; empty when unknown" }),
  subresource: Type.String({ description: "Subresource it was written through; empty for the object itself" }),
  changedAt: Type.Union([Time, Type.Null()], { description: "When that manager last wrote to the object" }),
  members: Type.Array(Type.String(), { description: "The path in the words of managedFields, with the keys of list items; empty for Secret-like kinds" }),
});
export type DriftField = Static<typeof DriftField>;

export const HealedBy = Type.Union([Type.Literal("agent"), Type.Literal("itself"), Type.Literal("accepted"), Type.Literal("target"), Type.Literal("gone")], {
  description:
    "agent: corrected; itself: somebody changed it back; accepted: Git came to say what was there; target: Git came to say something else; gone: the object or the fleet left the cluster",
});

export const ObjectRow = Type.Object({
  fleet: Type.String(),
  cluster: Type.String(),
  bundle: Type.String(),
  group: Type.String(),
  version: Type.String(),
  kind: Type.String(),
  namespace: Type.String(),
  name: Type.String(),
  uid: Type.String(),
  sync: SyncWord,
  health: HealthWord,
  message: Type.String(),
  change: Type.String(),
  drift: Type.Array(DriftField),
  prune: Type.Union([Type.Literal("held"), Type.Literal("waits"), Type.Literal("terminating"), Type.Literal("")], {
    description: "What keeps an object that is no longer in Git: an approval, something else, its finalizers; empty for all others",
  }),
  protection: Type.String({ description: "Why it is never deleted without an approval, while it is no longer in Git; empty for all others" }),
  asOf: MaybeTime,
});
export type ObjectRow = Static<typeof ObjectRow>;

export const DriftRow = Type.Object({
  id: Type.Integer(),
  fleet: Type.String(),
  cluster: Type.String(),
  bundle: Type.String(),
  object: Type.String({ description: "group/kind/namespace/name" }),
  fields: Type.Array(DriftField, { description: "As last seen" }),
  firstFields: Type.Array(DriftField, { description: "As first seen" }),
  managers: Type.Array(Type.String(), { description: "Every manager that held one of the fields meanwhile" }),
  firstSeenAt: Time,
  lastSeenAt: Time,
  times: Type.Integer({ description: "How often it was detected" }),
  revision: Type.String({ description: "What Git said when it was last seen" }),
  healedAt: MaybeTime,
  healedBy: Type.Union([HealedBy, Type.Null()], { description: "null: not healed, or nobody knows" }),
  asOf: MaybeTime,
});
export type DriftRow = Static<typeof DriftRow>;

export const EventRow = Type.Object({
  id: Type.Integer(),
  at: Time,
  fleet: Type.String(),
  cluster: Type.String(),
  bundle: Type.String(),
  object: Type.String(),
  reason: Type.String(),
  severity: Type.Union([Type.Literal("Normal"), Type.Literal("Warning")]),
  message: Type.String(),
  revision: Type.String(),
  traceId: Type.String(),
});
export type EventRow = Static<typeof EventRow>;

/** Where a rollout stands; all but Queued, Running and RollingBack are ends. */
export const RolloutPhaseWord = Type.Union([
  Type.Literal("Queued"),
  Type.Literal("Running"),
  Type.Literal("RollingBack"),
  Type.Literal("Done"),
  Type.Literal("RolledBack"),
  Type.Literal("Failed"),
  Type.Literal("Aborted"),
  Type.Literal("Superseded"),
  Type.Literal("Skipped"),
]);
export type RolloutPhaseWord = Static<typeof RolloutPhaseWord>;

export const RevisionRow = Type.Object({
  fleet: Type.String(),
  revision: Type.String(),
  author: Type.String(),
  subject: Type.String(),
  committedAt: MaybeTime,
  seenAt: Time,
  outcome: Type.Union([Type.Literal("rendered"), Type.Literal("failed"), Type.Literal("superseded")]),
  problems: Type.Array(ProblemRow),
  clusters: Type.Object({ wanted: Type.Integer(), synced: Type.Integer(), healthy: Type.Integer() }),
  rollout: Type.Union([Type.Object({ id: Type.Integer(), phase: RolloutPhaseWord, reason: Type.String() }), Type.Null()], {
    description: "What became of it: its newest rollout; null when none is kept",
  }),
  traceId: Type.Union([Type.String(), Type.Null()]),
});
export type RevisionRow = Static<typeof RevisionRow>;

/** What a rollout has made of one cluster. */
export const ClusterMarkWord = Type.Union(
  [
    Type.Literal("Waiting"),
    Type.Literal("Updating"),
    Type.Literal("Healthy"),
    Type.Literal("Failed"),
    Type.Literal("Skipped"),
    Type.Literal("RolledBack"),
    Type.Literal("Kept"),
  ],
  { description: "Skipped: offline beyond the progress deadline. Kept: pinned, or it cannot go back: `why` says it" },
);
export type ClusterMarkWord = Static<typeof ClusterMarkWord>;

/** A person's word. */
export const PersonsWord = Type.Object({ by: Type.String(), reason: Type.String(), at: Time });
export type PersonsWord = Static<typeof PersonsWord>;
const MaybeWord = Type.Union([PersonsWord, Type.Null()]);

export const WaveRow = Type.Object({
  name: Type.String(),
  clusters: Type.Integer(),
  marks: Type.Record(Type.String(), Type.Integer(), { description: "Clusters by mark; marks of none are left out" }),
  approval: Type.Union([Type.String(), Type.Null()], { description: "Who has to approve before the next wave" }),
  approved: MaybeWord,
  soakMs: Type.Integer(),
});
export type WaveRow = Static<typeof WaveRow>;

export const GateRow = Type.Object({
  wave: Type.Integer(),
  name: Type.String(),
  kind: Type.Union([Type.Literal("metric"), Type.Literal("job")]),
  verdict: Type.Union([Type.Literal("asked"), Type.Literal("passed"), Type.Literal("failed"), Type.Literal("unknown")]),
  message: Type.String(),
  at: Time,
});
export type GateRow = Static<typeof GateRow>;

export const RolloutRow = Type.Object({
  id: Type.Integer(),
  fleet: Type.String(),
  revision: Type.String(),
  from: Type.Union([Type.String(), Type.Null()], { description: "What the fleet had before as a whole" }),
  subject: Type.String({ description: "First line of the commit's message; empty when it is not kept" }),
  phase: RolloutPhaseWord,
  wave: Type.Integer({ description: "Index of the wave that was reached" }),
  waves: Type.Array(WaveRow),
  reason: Type.String({ description: "What it waits for, or how it ended, in a sentence" }),
  until: MaybeTime,
  startedAt: Time,
  endedAt: MaybeTime,
  paused: MaybeWord,
  failure: Type.Union([Type.Object({ cluster: Type.String(), message: Type.String(), at: Time }), Type.Null()], { description: "What failed first" }),
  gates: Type.Array(GateRow),
});
export type RolloutRow = Static<typeof RolloutRow>;

export const PinRow = Type.Object({
  fleet: Type.String(),
  cluster: Type.Union([Type.String(), Type.Null()], { description: "null: the whole fleet" }),
  revision: Type.String(),
  ...PersonsWord.properties,
});
export type PinRow = Static<typeof PinRow>;

export const HoldRow = Type.Object({
  fleet: Type.Union([Type.String(), Type.Null()], { description: "null: all fleets" }),
  ...PersonsWord.properties,
  until: MaybeTime,
});
export type HoldRow = Static<typeof HoldRow>;

/** What a fleet's rollout is doing, and what people said about it. */
export const RolloutStatus = Type.Object({
  fleet: Type.String(),
  newest: Type.Union([Type.String(), Type.Null()], { description: "The newest good revision of Git" }),
  settled: Type.Union([Type.String(), Type.Null()], { description: "The newest revision that went through the whole fleet" }),
  rollout: Type.Union([RolloutRow, Type.Null()], { description: "The one that runs, else the newest that ended" }),
  queued: Type.Union([RolloutRow, Type.Null()]),
  pins: Type.Array(PinRow),
  holds: Type.Array(HoldRow),
});
export type RolloutStatus = Static<typeof RolloutStatus>;

export const RolloutDecisionRow = Type.Object({
  id: Type.Integer(),
  at: Time,
  kind: Type.String(),
  wave: Type.Union([Type.Integer(), Type.Null()]),
  clusters: Type.Integer(),
  reason: Type.String(),
  by: Type.String(),
});
export type RolloutDecisionRow = Static<typeof RolloutDecisionRow>;

export const RolloutClusterRow = Type.Object({
  cluster: Type.String(),
  wave: Type.Integer(),
  mark: ClusterMarkWord,
  since: Time,
  releasedAt: MaybeTime,
  why: Type.String(),
});
export type RolloutClusterRow = Static<typeof RolloutClusterRow>;

/** One release of a target to a cluster. */
export const ReleaseRow = Type.Object({
  fleet: Type.String(),
  cluster: Type.String(),
  generation: Type.Integer(),
  revision: Type.String(),
  digest: Type.String(),
  releasedAt: Time,
  healthyAt: MaybeTime,
  cause: Type.String({ description: "rollout, rollback, placement, pin or joined" }),
  rollout: Type.Union([Type.Integer(), Type.Null()]),
});
export type ReleaseRow = Static<typeof ReleaseRow>;

const Reason = Type.String({ maxLength: 500 });

export const RolloutAct = Type.Object(
  {
    reason: Type.Optional(Reason),
    wave: Type.Optional(Type.String({ description: "approve: name of the wave; default the one that waits" })),
  },
  { additionalProperties: false },
);
export type RolloutAct = Static<typeof RolloutAct>;

export const RollbackCreate = Type.Object(
  {
    revision: Type.Optional(Type.String({ minLength: 4, maxLength: 64, description: "Full or the first characters; default what was healthy before" })),
    clusters: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: 1_000, description: "Only these; default the whole fleet" })),
    reason: Type.Optional(Reason),
    force: Type.Optional(Type.Boolean({ description: "Also when it cannot take everything back" })),
  },
  { additionalProperties: false },
);
export type RollbackCreate = Static<typeof RollbackCreate>;

export const RollbackAnswer = Type.Object({ pins: Type.Array(PinRow) });
export type RollbackAnswer = Static<typeof RollbackAnswer>;

export const HoldCreate = Type.Object(
  { fleet: Type.Optional(Type.String({ description: "Absent: all fleets" })), reason: Reason, until: Type.Optional(Time) },
  { additionalProperties: false },
);
export type HoldCreate = Static<typeof HoldCreate>;

export const PreviewCreate = Type.Object(
  {
    branch: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    revision: Type.Optional(Type.String({ pattern: "^[0-9a-f]{40}([0-9a-f]{24})?$", description: "Full commit hash" })),
    files: Type.Optional(
      Type.Array(Type.Object({ path: Type.String({ minLength: 1, maxLength: 4_096 }), content: Type.String() }, { additionalProperties: false }), {
        description: "A working copy: paths from the repository's root, content in base64",
      }),
    ),
    clusters: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: 3_000, description: "Only these; default all of the fleet" })),
    timeoutMs: Type.Optional(
      Type.Integer({ minimum: 1_000, description: "Clusters that have not answered by then are unknown; default a minute, at most ten" }),
    ),
  },
  { additionalProperties: false },
);
export type PreviewCreate = Static<typeof PreviewCreate>;

export const RevertBranchCreate = Type.Object(
  {
    revision: Type.String({ pattern: "^[0-9a-f]{40}([0-9a-f]{24})?$", description: "As it is to be again: full hash" }),
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: "Of the new branch; default flotilla/revert-FLEET-REVISION" })),
    reason: Type.Optional(Reason),
  },
  { additionalProperties: false },
);
export type RevertBranchCreate = Static<typeof RevertBranchCreate>;

/** A commit on top of the fleet's branch in which the fleet's folder is as it was. */
export const RevertBranch = Type.Object({
  name: Type.String(),
  base: Type.String({ description: "Tip of the fleet's branch" }),
  commit: Type.String(),
  pushed: Type.Boolean(),
  problem: Type.Union([ProblemRow, Type.Null()], { description: "Why it could not be pushed" }),
  patch: Type.String({ description: "As `git am` takes it" }),
});
export type RevertBranch = Static<typeof RevertBranch>;

export const PreviewAction = Type.Enum(["create", "configure", "recreate", "prune", "hold-prune", "let-go", "refuse", "conflict", "keep", "run-hook"]);
export type PreviewAction = Static<typeof PreviewAction>;

export const PreviewObject = Type.Object({
  object: Type.String({ description: "group/kind/namespace/name" }),
  bundle: Type.String(),
  action: PreviewAction,
  message: Type.String({ description: "Why it would be refused, held, or left alone" }),
  fields: Type.Array(Type.Object({ path: Type.String(), before: Type.String(), after: Type.String() }), {
    description: "JSON text, empty for absent; of Secret-like kinds hashes",
  }),
  moreFields: Type.Integer(),
});
export type PreviewObject = Static<typeof PreviewObject>;

/** What a change would do. */
export const Preview = Type.Object({
  id: Type.String(),
  fleet: Type.String(),
  phase: Type.Enum(["Rendering", "Asking", "Done", "Failed"]),
  of: Type.String({ description: "What was asked for: branch feature-x" }),
  revision: Type.Union([Type.String(), Type.Null()]),
  current: Type.Union([Type.String(), Type.Null()], { description: "The fleet's newest good revision" }),
  createdAt: Time,
  endedAt: MaybeTime,
  mark: Type.String({ description: "For `after`" }),
  problems: Type.Array(ProblemRow),
  warnings: Type.Array(ProblemRow),
  clusters: Type.Object({ total: Type.Integer(), asked: Type.Integer(), answered: Type.Integer() }),
  groups: Type.Array(
    Type.Object({
      clusters: Type.Array(Type.String()),
      objects: Type.Array(PreviewObject),
      leftOut: Type.Integer({ description: "Objects that are not listed" }),
      unchanged: Type.Integer(),
    }),
    { description: "Clusters on which it does the same, the largest group first" },
  ),
  same: Type.Array(Type.String(), { description: "Clusters that would not change" }),
  unknown: Type.Array(Type.Object({ clusters: Type.Array(Type.String()), reason: Type.String() })),
  joining: Type.Array(Type.String()),
  leaving: Type.Array(Type.String()),
  waves: Type.Array(Type.Object({ name: Type.String(), clusters: Type.Integer(), waits: Type.Array(Type.String()) })),
  lastRolloutMs: Type.Union([Type.Number(), Type.Null()]),
});
export type Preview = Static<typeof Preview>;

export const AccessWord = Type.Union([Type.Literal("view"), Type.Literal("operate"), Type.Literal("admin")], {
  description: "view: reads and previews; operate: also acts; admin: also makes and revokes tokens, and changes the hub's CA",
});

export const TokenCreate = Type.Object(
  {
    description: Type.String({ minLength: 1, maxLength: 200, description: "Whose it is: shown in history and audit log" }),
    access: AccessWord,
    roles: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 63 }), { maxItems: 50, description: "In whose name it approves rollouts; * is all of them" }),
    ),
    lifetimeMs: Type.Optional(Type.Integer({ minimum: 1_000, description: "Default for ever" })),
  },
  { additionalProperties: false },
);
export type TokenCreate = Static<typeof TokenCreate>;

export const TokenCreated = Type.Object({ token: Type.String({ description: "Told once" }) });
export type TokenCreated = Static<typeof TokenCreated>;

export const TokenRow = Type.Object({
  id: Type.String(),
  description: Type.String(),
  access: AccessWord,
  roles: Type.Array(Type.String()),
  createdAt: Time,
  expiresAt: MaybeTime,
  lastUsedAt: MaybeTime,
});
export type TokenRow = Static<typeof TokenRow>;

export const AuthorityWord = Type.Union([Type.Literal("staged"), Type.Literal("active"), Type.Literal("retiring"), Type.Literal("retired")], {
  description: "staged: trusted, signs nothing yet; active: signs; retiring: trusted, another signs; retired: not trusted any more",
});

/** A CA of the hub. */
export const AuthorityRow = Type.Object({
  hash: Type.String({ description: "SHA-256 (hex) of its public key" }),
  certificate: Type.String({ description: "PEM" }),
  state: AuthorityWord,
  createdAt: Time,
  activatedAt: MaybeTime,
  retiredAt: MaybeTime,
  holders: Type.Integer({ description: "Clusters whose agent has a certificate of it" }),
  trusting: Type.Integer({ description: "Clusters whose agent has kept it as trusted" }),
  clusters: Type.Integer({ description: "Clusters whose agent has a certificate that counts" }),
});
export type AuthorityRow = Static<typeof AuthorityRow>;

export const AuthorityAct = Type.Object(
  {
    force: Type.Optional(Type.Boolean({ description: "Whatever hangs on it; takes a reason" })),
    reason: Type.Optional(Type.String({ maxLength: 1_000 })),
  },
  { additionalProperties: false },
);
export type AuthorityAct = Static<typeof AuthorityAct>;

export const AuthorityRetired = Type.Object({
  ...AuthorityRow.properties,
  lockedOut: Type.Array(Type.String(), { description: "Clusters whose agent needs a new token now" }),
});
export type AuthorityRetired = Static<typeof AuthorityRetired>;

export const ForgeKindWord = Type.Union([Type.Literal("github"), Type.Literal("gitlab"), Type.Literal("gitea")]);

export const ForgeSet = Type.Object(
  {
    kind: Type.Optional(ForgeKindWord),
    apiUrl: Type.Optional(Type.String({ maxLength: 500, pattern: "^https?://[^\\s@?#]+$", description: "Default by the repository's host" })),
    project: Type.Optional(Type.String({ maxLength: 500, pattern: "^[^/\\s?#]+(/[^/\\s?#]+)+$", description: "owner/name; default the repository's path" })),
    token: Type.String({ minLength: 1, maxLength: 4_000 }),
    forks: Type.Optional(Type.Boolean({ description: "Whether pull requests from other repositories are previewed; default no" })),
  },
  { additionalProperties: false },
);
export type ForgeSet = Static<typeof ForgeSet>;

/** Where the pull requests of a repository are. */
export const ForgeRow = Type.Object({
  repository: Type.String(),
  fleets: Type.Array(Type.String()),
  kind: ForgeKindWord,
  apiUrl: Type.String(),
  project: Type.String(),
  forks: Type.Boolean(),
  waiting: Type.Integer({ description: "Commit statuses that it has not taken yet" }),
  error: Type.String({ description: "What it refused last; empty since it took something" }),
  errorAt: MaybeTime,
  setAt: Time,
});
export type ForgeRow = Static<typeof ForgeRow>;

/** What a token may do. */
export const ForgeTest = Type.Object({ message: Type.String() });
export type ForgeTest = Static<typeof ForgeTest>;

/** A pull request that was heard of, and what its preview came to for a fleet. */
export const PullRequestRow = Type.Object({
  number: Type.Integer(),
  fleet: Type.String(),
  head: Type.Union([Type.String(), Type.Null()]),
  state: Type.Union([Type.Literal("pending"), Type.Literal("success"), Type.Literal("failure"), Type.Literal("error")]),
  headline: Type.String(),
  preview: Type.Union([Type.String(), Type.Null()]),
  error: Type.String({ description: "Why it could not be said to the forge" }),
  at: MaybeTime,
});
export type PullRequestRow = Static<typeof PullRequestRow>;

export const NotifyHookSet = Type.Object(
  {
    fleet: Type.Optional(Type.String({ minLength: 1, maxLength: 63, description: "Default: of every fleet" })),
    url: Type.String({ maxLength: 2_000, pattern: "^https?://[^\\s@]+$" }),
    secret: Type.String({ minLength: 8, maxLength: 500, description: "Signs what is sent: X-Flotilla-Signature" }),
  },
  { additionalProperties: false },
);
export type NotifyHookSet = Static<typeof NotifyHookSet>;

/** Who is told how rollouts end. */
export const NotifyHookRow = Type.Object({
  fleet: Type.Union([Type.String(), Type.Null()], { description: "null: every fleet" }),
  url: Type.String(),
  waiting: Type.Integer({ description: "Notifications that it has not taken yet" }),
  error: Type.String(),
  errorAt: MaybeTime,
  setAt: Time,
});
export type NotifyHookRow = Static<typeof NotifyHookRow>;

/** What `resume` ended. */
export const Released = Type.Object({ holds: Type.Integer(), pins: Type.Integer(), rollouts: Type.Integer({ description: "Paused ones that go on" }) });
export type Released = Static<typeof Released>;

/** Hub's own record of a revision's path: a tree two levels deep (once per revision, then per cluster). */
export const TracePhase = Type.Object({
  cluster: Type.String({ description: "Empty for what happens once per revision" }),
  phase: Type.String(),
  startedAt: Time,
  endedAt: Time,
  error: Type.String(),
  spanId: Type.String(),
});
export const Trace = Type.Object({
  fleet: Type.String(),
  revision: Type.String(),
  traceId: Type.Union([Type.String(), Type.Null()]),
  subject: Type.String(),
  seenAt: Time,
  phases: Type.Array(TracePhase),
});
export type Trace = Static<typeof Trace>;

export const HubInfo = Type.Object({
  version: Type.String(),
  id: Type.String(),
  apiVersion: Type.Literal("v1"),
  enrolAddress: Type.String(),
  linkAddress: Type.String(),
  caHash: Type.String(),
  clusters: Type.Integer(),
  fleets: Type.Integer(),
  checks: Type.Array(Type.Object({ name: Type.String(), ok: Type.Boolean(), message: Type.String(), hint: Type.Optional(Type.String()) }), {
    description: "database, broker, intake lag, repositories, disk, CA, renderers: what `fleet doctor` prints",
  }),
});
export type HubInfo = Static<typeof HubInfo>;

/** Rendered objects of one cluster's target: exactly what the agent gets. Values of Secrets are replaced by hashes. */
export const Rendered = Type.Object({
  fleet: Type.String(),
  cluster: Type.String(),
  revision: Type.String(),
  generation: Type.Integer(),
  bundles: Type.Array(Type.Object({ name: Type.String(), digest: Type.String(), objects: Type.Array(Type.Record(Type.String(), Type.Unknown())) })),
  problems: Type.Array(ProblemRow),
});
export type Rendered = Static<typeof Rendered>;

/** One (fleet, cluster) whose agent holds deletions until a person approves exactly this list for this revision. */
export const HeldPruneRow = Type.Object({
  fleet: Type.String(),
  cluster: Type.String(),
  clusterPhase: ClusterPhase,
  revision: Type.String(),
  digest: Type.String({ description: "SHA-256 over the sorted object ids: what an approval names" }),
  objects: Type.Integer(),
  whole: Type.Boolean({ description: "Every object of the list came in; an approval before that is refused" }),
  reason: Type.String({ description: "Why it is held" }),
  approvedBy: Type.Union([Type.String(), Type.Null()], { description: "Set once this list is approved and the agent has not told what came of it" }),
  asOf: MaybeTime,
});
export type HeldPruneRow = Static<typeof HeldPruneRow>;

export const PruneApprovalRequest = Type.Object(
  {
    clusters: Type.Array(Type.String({ maxLength: 253 }), { minItems: 1, maxItems: 500 }),
    revision: Type.String({ pattern: "^[0-9a-f]{40,64}$", description: "Full hash" }),
    digest: Type.String({ pattern: "^[0-9a-f]{64}$", description: "Of the list that was seen" }),
    reason: Type.Optional(Type.String({ maxLength: 1_000 })),
  },
  { additionalProperties: false },
);

export type PruneApprovalRequest = Static<typeof PruneApprovalRequest>;

export const PruneApproval = Type.Object({
  id: Type.Integer(),
  fleet: Type.String(),
  cluster: Type.String(),
  revision: Type.String(),
  digest: Type.String(),
  generation: Type.Integer({ description: "Of the target that carries it" }),
  objects: Type.Integer(),
  approvedBy: Type.String(),
});
export type PruneApproval = Static<typeof PruneApproval>;

/** Per cluster: approved, or why not. 409 when none was approved. */
export const PruneApprovals = Type.Object({
  approved: Type.Array(PruneApproval),
  refused: Type.Array(Type.Object({ cluster: Type.String(), code: Type.String(), message: Type.String(), hint: Type.Optional(Type.String()) })),
});
export type PruneApprovals = Static<typeof PruneApprovals>;

/** Clusters that a fleet no longer selects and that are too many to leave without a person. */
export const HeldRemovalAnswer = Type.Object({
  held: Type.Union([
    Type.Object({
      policy: Type.Union([Type.Literal("orphan"), Type.Literal("delete")], { description: "What becomes of their objects" }),
      clusters: Type.Array(Type.String()),
      digest: Type.String({ description: "Of policy and clusters: what an approval names" }),
      of: Type.Integer({ description: "Clusters that the fleet has, these among them, and those that left within the last hour" }),
      leftLately: Type.Integer(),
      allowed: Type.Integer({ description: "How many may leave without a person" }),
    }),
    Type.Null(),
  ]),
});
export type HeldRemovalAnswer = Static<typeof HeldRemovalAnswer>;

export const RemovalApprovalRequest = Type.Object(
  { digest: Type.String({ pattern: "^[0-9a-f]{64}$", description: "Of the list that was seen" }), reason: Type.Optional(Type.String({ maxLength: 1_000 })) },
  { additionalProperties: false },
);
export type RemovalApprovalRequest = Static<typeof RemovalApprovalRequest>;

export const RemovalApproval = Type.Object({
  id: Type.Integer(),
  fleet: Type.String(),
  digest: Type.String(),
  policy: Type.Union([Type.Literal("orphan"), Type.Literal("delete")]),
  clusters: Type.Integer(),
  approvedBy: Type.String(),
});
export type RemovalApproval = Static<typeof RemovalApproval>;

export const ApprovalKind = Type.Union([Type.Literal("prune"), Type.Literal("removal")], { description: "Objects of a cluster; clusters of a fleet" });
export const ApprovalOutcome = Type.Union([Type.Literal("waiting"), Type.Literal("used"), Type.Literal("void")], {
  description: "void: the revision or the list changed before it was used",
});

export const ApprovalRow = Type.Object({
  id: Type.Integer(),
  kind: ApprovalKind,
  fleet: Type.String(),
  cluster: Type.String({ description: "Empty for removals" }),
  revision: Type.String(),
  digest: Type.String(),
  subjects: Type.Array(Type.String(), { description: "The list as it was seen: object ids, or names of clusters" }),
  actor: Type.String({ description: "Id of the token" }),
  approvedBy: Type.String(),
  reason: Type.String(),
  approvedAt: Time,
  outcome: ApprovalOutcome,
  why: Type.String({ description: "Why it is void" }),
  settledAt: MaybeTime,
});
export type ApprovalRow = Static<typeof ApprovalRow>;

/** One act of a person or token. `hash` covers everything else here, and through `previous` all acts before (auditHash in proto/src/audit.ts). */
export const AuditRow = Type.Object({
  seq: Type.Integer({ description: "1, 2, 3 …, without gaps" }),
  at: Time,
  actor: Type.String({ description: "Id of the token; `hub` for a hub's own start, `enrolment` for a cluster's enrolment token" }),
  actorName: Type.String({ description: "The token's description when it acted" }),
  act: Type.String({ description: "fleet.delete, cluster.label, …" }),
  fleet: Type.String(),
  cluster: Type.String(),
  details: Type.Record(Type.String(), Type.Unknown()),
  reason: Type.String(),
  source: Type.String({ description: "Address that the request came from" }),
  outcome: Type.Union([Type.Literal("done"), Type.Literal("refused")]),
  previous: Type.String({ description: "Hash of the act before" }),
  hash: Type.String({ description: "SHA-256, hex" }),
});
export type AuditRow = Static<typeof AuditRow>;

export const AuditVerdict = Type.Object({
  ok: Type.Boolean(),
  acts: Type.Integer({ description: "Acts that follow each other unbroken from the first" }),
  head: Type.Object(
    { seq: Type.Integer(), hash: Type.String() },
    { description: "The last of them: kept elsewhere, it tells later whether the end was cut off" },
  ),
  fault: Type.Union([Type.Object({ seq: Type.Integer(), why: Type.String() }), Type.Null()], { description: "The first act that does not fit" }),
});
export type AuditVerdict = Static<typeof AuditVerdict>;

/** A page: `next` goes into `?cursor=`; null on the last. */
export interface Page<Row> {
  readonly items: readonly Row[];
  readonly next: string | null;
  /** Rows that match the filters, on all pages. */
  readonly total: number;
}

/**
 * Paths. All need `Authorization: Bearer …` except the first three and webhooks.
 *
 *   GET    /healthz /readyz /metrics /openapi.json /schemas/fleet.v1.json
 *   POST   /api/v1/webhooks/{repository id}                       signed by the forge
 *   GET    /api/v1/hub                                            HubInfo
 *   GET    /api/v1/fleets ?name=                                  Page<FleetRow>
 *   POST   /api/v1/fleets                                         FleetCreate → 201 FleetCreated
 *   GET    /api/v1/fleets/{fleet}                                 FleetRow
 *   DELETE /api/v1/fleets/{fleet} ?objects=orphan|delete          202 FleetRow
 *   POST   /api/v1/fleets/{fleet}/sync ?cluster=                  202 {revision: string|null}: fetch now, reconcile now
 *          ?bundle= &object= (again for more) &force=true          one bundle, single objects; also what is unchanged, and hooks that ran
 *   GET    /api/v1/suspensions ?fleet= &cluster=                  Page<Suspension>
 *   POST   /api/v1/suspensions                                    SuspensionCreate → 200 Suspension
 *   DELETE /api/v1/suspensions ?fleet= &cluster= &bundle=         204
 *   GET    /api/v1/window-overrides ?fleet= &cluster=             Page<WindowOverride>
 *   POST   /api/v1/window-overrides                               WindowOverrideCreate → 200 WindowOverride
 *   DELETE /api/v1/window-overrides ?fleet= &cluster= &bundle=    204
 *   GET    /api/v1/fleets/{fleet}/targets ?cluster= &sync= &health=        Page<TargetRow>
 *   GET    /api/v1/fleets/{fleet}/revisions                       Page<RevisionRow>
 *   GET    /api/v1/fleets/{fleet}/revisions/{revision}/trace      Trace; the revision may be a unique prefix of ≥ 4 characters
 *   GET    /api/v1/fleets/{fleet}/rendered/{cluster}              Rendered
 *   GET    /api/v1/fleets/{fleet}/held-prunes ?cluster=           Page<HeldPruneRow>
 *   POST   /api/v1/fleets/{fleet}/prune-approvals                 PruneApprovalRequest → 201 PruneApprovals
 *   GET    /api/v1/fleets/{fleet}/held-removal                    HeldRemovalAnswer
 *   POST   /api/v1/fleets/{fleet}/removal-approvals               RemovalApprovalRequest → 201 RemovalApproval
 *   GET    /api/v1/approvals ?fleet= &cluster= &kind= &outcome=   Page<ApprovalRow>
 *   GET    /api/v1/clusters ?labelSelector= &phase= &fleet=       Page<ClusterRow>
 *   POST   /api/v1/clusters                                       ClusterCreate → 201 Enrolment
 *   GET    /api/v1/clusters/{cluster}                             ClusterRow
 *   PATCH  /api/v1/clusters/{cluster}                             ClusterPatch → ClusterRow
 *   DELETE /api/v1/clusters/{cluster}                             204: revoked within 5 s
 *   POST   /api/v1/clusters/{cluster}/tokens ?lifetimeMs=         201 Enrolment
 *   GET    /api/v1/bundles  ?fleet= &cluster= &bundle= &sync= &health=           Page<BundleRow>
 *   GET    /api/v1/objects  ?fleet= &cluster= &bundle= &kind= &namespace= &name= &sync= &health= &troubled=true &prune=held|waits|terminating   Page<ObjectRow>
 *   GET    /api/v1/drift    ?fleet= &cluster= &bundle= &object= &manager= &healedBy= &open=true|false &since=TIME   Page<DriftRow>
 *   GET    /api/v1/events   ?fleet= &cluster= &reason= &after=ID &order=asc|desc   Page<EventRow>
 *   GET    /api/v1/audit    ?fleet= &cluster= &actor= &act= &order=asc|desc     Page<AuditRow>
 *   GET    /api/v1/audit/verify                                   AuditVerdict
 *   GET    /api/v1/authorities                                    {items: AuthorityRow[]}
 *   POST   /api/v1/authorities                                    201 AuthorityRow: staged
 *   POST   /api/v1/authorities/{hash}/activate                    AuthorityAct → AuthorityRow
 *   POST   /api/v1/authorities/{hash}/retire                      AuthorityAct → AuthorityRetired
 *   GET    /api/v1/watch    ?fleet=                               text/event-stream: `change` {version, fleets, clusters}, `event` EventRow
 *                                                                 (id: the event's id, resumed by Last-Event-ID), `ping` every 15 s
 * A header `flotilla-reason` (percent-encoded UTF-8) on any write tells the audit log why; a `reason` in the body does the same.
 * Every list takes `limit` (1 to 500, default 100) and `cursor`.
 */
export const apiPrefix = "/api/v1";
