import type {
  ApprovalRow,
  AuditRow,
  AuditVerdict,
  AuthorityRow,
  BundleRow,
  ClusterRow,
  DriftRow,
  EventRow,
  FleetCreate,
  FleetRow,
  HeldPruneRow,
  HoldRow,
  HubInfo,
  ObjectRow,
  Page,
  PinRow,
  ProblemRow,
  PruneApproval,
  Ref,
  Released,
  ReleaseRow,
  RemovalApproval,
  Rendered,
  RollbackCreate,
  RolloutClusterRow,
  RolloutDecisionRow,
  RolloutRow,
  RolloutStatus,
  RevisionRow,
  ForgeRow,
  ForgeSet,
  NotifyHookRow,
  PullRequestRow,
  RevertBranch,
  Suspension,
  TokenRow,
  TargetRow,
  Tally,
  Trace,
  WindowOverride,
} from "@flotilla/proto/rest/contract";
import type { PreviewFound } from "../domain/preview.ts";
import type { Actor } from "../domain/actor.ts";
import type { HeldRemoval } from "../domain/plan-removals.ts";
import type { TokenHolder } from "../domain/access.ts";
import type { ActScope } from "../domain/suspension.ts";
import type { LabelExpression, LabelSelector } from "../domain/fleet-spec.ts";

/** What every list takes. */
export interface Bounds {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** Filters of one list; what is undefined does not filter. */
export type Filters<Names extends string> = Bounds & { readonly [Name in Names]?: string | undefined };

/**
 * The rows, read and written. Expected failures are errors with a `code` of the store's: not-found, conflict, ambiguous, bad-cursor,
 * unreachable, disk-full; their messages are for people.
 */
export interface ApiStore {
  ping(): Promise<void>;
  /** Who a valid token stands for, or undefined. */
  checkToken(token: string): Promise<TokenHolder | undefined>;
  readTokens(): Promise<TokenRow[]>;
  createToken(
    actor: Actor,
    wanted: { readonly description: string; readonly access: TokenHolder["access"]; readonly roles: readonly string[]; readonly expiresAt: Date | null },
  ): Promise<string>;
  revokeToken(actor: Actor, id: string): Promise<void>;
  readAuthorities(): Promise<AuthorityRow[]>;
  /** Gives the new CA's hash, as activateAuthority does. */
  stageAuthority(actor: Actor): Promise<string>;
  activateAuthority(actor: Actor, wanted: AuthorityChoice): Promise<string>;
  retireAuthority(actor: Actor, wanted: AuthorityChoice): Promise<{ readonly hash: string; readonly lockedOut: readonly string[] }>;
  /** Somebody tried to act with a token that was valid once: for the audit log. Nothing for any other token. */
  recordExpiredToken(token: string, source: string, request: string): Promise<void>;
  /** A valid token was used for what it does not allow. */
  recordDeniedToken(id: string, denied: { readonly source: string; readonly request: string; readonly refusal: string }): Promise<void>;
  readFleets(query: Filters<"name">): Promise<Page<FleetRow>>;
  hasFleet(name: string): Promise<boolean>;
  readFleet(name: string): Promise<FleetRow | undefined>;
  createFleet(actor: Actor, fleet: NewFleet): Promise<{ readonly repositoryId: string; readonly webhookSecret: string | undefined }>;
  deleteFleet(actor: Actor, name: string, policy: "orphan" | "delete"): Promise<void>;
  wantSync(actor: Actor, fleet: string, choice: SyncChoice): Promise<{ readonly revision: string | null }>;
  readRollouts(query: Filters<"fleet">): Promise<Page<RolloutRow>>;
  readRolloutStatus(fleet: string): Promise<RolloutStatus>;
  readDecisions(rollout: number, query: Bounds): Promise<Page<RolloutDecisionRow>>;
  readRolloutClusters(rollout: number, query: Filters<"mark">): Promise<Page<RolloutClusterRow>>;
  readReleases(query: Filters<"fleet" | "cluster" | "at">): Promise<Page<ReleaseRow>>;
  readHolds(): Promise<HoldRow[]>;
  actOnRollout(
    actor: Actor,
    fleet: string,
    act: "pause" | "resume" | "approve" | "abort" | "restart",
    choice: { readonly wave: string | undefined },
  ): Promise<void>;
  readPreview(id: string): Promise<KeptPreview>;
  rollBack(actor: Actor, fleet: string, wanted: Omit<RollbackCreate, "reason">): Promise<PinRow[]>;
  /** Nothing new is released to the fleet, or to any. */
  hold(actor: Actor, fleet: string | undefined, until: Date | undefined): Promise<HoldRow>;
  unfreeze(actor: Actor): Promise<void>;
  /** Ends what keeps a fleet, or one cluster of it, from following Git. */
  letGo(actor: Actor, fleet: string, cluster: string | undefined): Promise<Released>;
  suspend(actor: Actor, scope: ActScope): Promise<Suspension>;
  resume(actor: Actor, scope: ActScope): Promise<void>;
  readSuspensions(query: Filters<"fleet" | "cluster">): Promise<Page<Suspension>>;
  overrideWindows(actor: Actor, scope: ActScope, until: Date): Promise<WindowOverride>;
  endOverride(actor: Actor, scope: ActScope): Promise<void>;
  readOverrides(query: Filters<"fleet" | "cluster">): Promise<Page<WindowOverride>>;
  readTargets(query: Filters<"cluster" | "sync" | "health"> & { readonly fleet: string }): Promise<Page<TargetRow>>;
  readRevisions(query: Bounds & { readonly fleet: string }): Promise<Page<RevisionRow>>;
  readTrace(fleet: string, revision: string): Promise<Trace>;
  readRendered(fleet: string, cluster: string, revision?: string): Promise<Rendered | undefined>;
  readClusters(query: Filters<"name" | "phase" | "fleet"> & { readonly labels?: readonly LabelExpression[] | undefined }): Promise<Page<ClusterRow>>;
  readCluster(name: string): Promise<ClusterRow | undefined>;
  createCluster(actor: Actor, name: string, labels: Readonly<Record<string, string>>): Promise<void>;
  changeLabels(actor: Actor, name: string, labels: Readonly<Record<string, string | null>>): Promise<void>;
  removeCluster(actor: Actor, name: string): Promise<void>;
  readBundles(query: Filters<"fleet" | "cluster" | "bundle" | "sync" | "health">): Promise<Page<BundleRow>>;
  readObjects(
    query: Filters<"fleet" | "cluster" | "bundle" | "kind" | "namespace" | "name" | "sync" | "health"> & {
      readonly troubled?: boolean | undefined;
      readonly prune?: string | undefined;
    },
  ): Promise<Page<ObjectRow>>;
  readDrifts(
    query: Filters<"fleet" | "cluster" | "bundle" | "object" | "manager" | "since"> & {
      readonly healedBy?: string | undefined;
      readonly open?: boolean | undefined;
    },
  ): Promise<Page<DriftRow>>;
  readEvents(
    query: Filters<"fleet" | "cluster" | "reason"> & { readonly after?: number | undefined; readonly order?: "asc" | "desc" | undefined },
  ): Promise<Page<EventRow>>;
  /** Oldest first; ids become visible in order. */
  readEventsAfter(id: number, fleet: string | undefined, limit: number): Promise<readonly EventRow[]>;
  readHeldPrunes(query: Filters<"cluster"> & { readonly fleet: string }): Promise<Page<HeldPruneRow>>;
  approvePrunes(
    actor: Actor,
    wanted: { readonly fleet: string; readonly cluster: string; readonly revision: string; readonly digest: string },
  ): Promise<PruneApproval>;
  readHeldRemoval(fleet: string): Promise<HeldRemoval | null>;
  approveRemoval(actor: Actor, wanted: { readonly fleet: string; readonly digest: string }): Promise<RemovalApproval>;
  readApprovals(query: Filters<"fleet" | "cluster" | "kind" | "outcome">): Promise<Page<ApprovalRow>>;
  readAuditLog(query: Filters<"fleet" | "cluster" | "actor" | "act"> & { readonly order?: "asc" | "desc" | undefined }): Promise<Page<AuditRow>>;
  verifyAuditLog(): Promise<AuditVerdict>;
  readChangeMarks(): Promise<ChangeMarks>;
  readTallies(): Promise<readonly { readonly fleet: string; readonly tally: Tally }[]>;
  countRows(): Promise<{ readonly fleets: number; readonly clusters: number; readonly connected: number }>;
  setForge(actor: Actor, fleet: string, wanted: Omit<ForgeSet, "forks"> & { readonly forks: boolean }): Promise<ForgeRow>;
  removeForge(actor: Actor, fleet: string): Promise<void>;
  readForges(): Promise<ForgeRow[]>;
  readPullRequests(fleet: string): Promise<PullRequestRow[]>;
  askForCheck(actor: Actor, fleet: string, number: number): Promise<void>;
  /** Something was heard of a pull request; false when its repository has no forge. */
  hearPullRequest(repositoryId: string, number: number): Promise<boolean>;
  setNotifyHook(actor: Actor, hook: { readonly fleet: string | undefined; readonly url: string; readonly secret: string }): Promise<NotifyHookRow>;
  removeNotifyHook(actor: Actor, fleet: string | undefined): Promise<void>;
  readNotifyHooks(): Promise<NotifyHookRow[]>;
  readWebhook(repositoryId: string): Promise<{ readonly url: string; readonly secret: string } | undefined>;
  markWanted(repositoryId: string): Promise<void>;
}

/** A CA by its hash or the beginning of one; forced whatever hangs on it. */
export interface AuthorityChoice {
  readonly hash: string;
  readonly force: boolean;
}

/** What of a fleet is to be reconciled now; what is not said is not narrowed. */
export interface SyncChoice {
  readonly cluster?: string | undefined;
  readonly bundle?: string | undefined;
  readonly objects?: readonly string[] | undefined;
  readonly force?: boolean | undefined;
}

/** What tells that something changed without being told. */
export interface ChangeMarks {
  readonly eventId: number;
  readonly version: number;
  /** Clusters whose lease holds: a lease that runs out is a change that nobody writes. */
  readonly connected: number;
}

export interface NewFleet {
  readonly name: string;
  readonly url: string;
  readonly ref: Ref;
  readonly path: string;
  readonly selector: LabelSelector | null;
  readonly credentials?: NonNullable<FleetCreate["credentials"]>;
  readonly webhookSecret?: string;
  readonly pollIntervalMs?: number;
}

/** What a webhook's check came to; see source/webhook.ts. */
export type WebhookCheck =
  | { readonly ok: true; readonly event: "push" | "pull-request" | "other"; readonly concerns: boolean; readonly pullRequest?: number }
  | { readonly ok: false; readonly status: 400 | 401 | 413; readonly reason: string };

export interface ApiLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Everything else that the API says comes from elsewhere in the hub; main binds it. */
/** What a preview is of: something in the fleet's repository, or files. */
export type PreviewedChange =
  | { readonly kind: "branch"; readonly branch: string }
  | { readonly kind: "revision"; readonly revision: string }
  | { readonly kind: "files"; readonly files: readonly { readonly path: string; readonly content: Uint8Array }[] };

/** A preview as it is kept. */
export interface KeptPreview {
  readonly id: string;
  readonly fleet: string;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
  readonly found: PreviewFound;
}

export interface ApiOptions {
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** PEM. Needed on any address but loopback. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly store: ApiStore;
  /** Calls back when `flotilla_changes` was heard; empty lists say that anything may have changed. */
  listenChanges(onChange: (change: { readonly fleets: readonly string[]; readonly clusters: readonly string[] }) => void): { close(): Promise<void> };
  readonly hub: Pick<HubInfo, "version" | "id" | "enrolAddress" | "linkAddress" | "caHash">;
  /** What `fleet doctor` prints. */
  checks(): Promise<HubInfo["checks"]>;
  /** A new enrolment token of a cluster that exists. */
  mintToken(actor: Actor, cluster: string, lifetimeMs: number): Promise<{ readonly token: string; readonly expiresAt: Date }>;
  /** Normalises a repository's URL, or says why it is refused. */
  checkRepositoryUrl(url: string): { readonly ok: true; readonly url: string } | { readonly ok: false; readonly problem: ProblemRow };
  verifyWebhook(request: {
    readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
    readonly rawBody: Uint8Array;
    readonly secret: string;
    readonly url: string;
  }): WebhookCheck;
  /** Takes one signed webhook of a repository's rate; 0, or the milliseconds to wait. */
  takeWebhook(repositoryId: string): number;
  /** The same for webhooks that are not signed, of one sender for one repository: a rate of its own, so that a stranger uses up nobody's. */
  takeUnsignedWebhook(address: string, repositoryId: string): number;
  readonly previews: {
    begin(
      actor: Actor,
      request: { readonly fleet: string; readonly change: PreviewedChange; readonly clusters: readonly string[]; readonly withinMs: number },
    ): Promise<string>;
  };
  /** A commit that makes a fleet's folder what it was, on a new branch; or why there is none. */
  revertBranch(actor: Actor, fleet: string, wanted: { readonly revision: string; readonly name: string | undefined }): Promise<RevertBranch | ProblemRow>;
  /** Who a fleet's forge takes us for, in a sentence; with a hint (which may be empty) when it refuses us. */
  testForge(fleet: string): Promise<{ readonly message: string; readonly hint?: string }>;
  /** Prometheus text. */
  renderMetrics(): Promise<string>;
  /** JSON Schema of fleet.yaml. */
  readonly fleetSchema: object;
  readonly log: ApiLog;
}
