import { setTimeout as delay } from "node:timers/promises";
import type {
  AuthorityAct,
  AuthorityRetired,
  AuthorityRow,
  BundleRow,
  ClusterCreate,
  ClusterRow,
  DriftRow,
  Enrolment,
  EventRow,
  FleetCreate,
  FleetCreated,
  FleetRow,
  HeldRemovalAnswer,
  HoldCreate,
  HoldRow,
  HubInfo,
  ObjectRow,
  Page,
  PruneApprovalRequest,
  PruneApprovals,
  Released,
  ReleaseRow,
  RemovalApproval,
  RemovalApprovalRequest,
  Rendered,
  RevisionRow,
  Preview,
  PreviewCreate,
  RollbackAnswer,
  RollbackCreate,
  RolloutAct,
  RolloutClusterRow,
  RolloutDecisionRow,
  RolloutRow,
  RolloutStatus,
  ForgeRow,
  ForgeSet,
  ForgeTest,
  NotifyHookRow,
  NotifyHookSet,
  PullRequestRow,
  RevertBranch,
  RevertBranchCreate,
  Suspension,
  SuspensionCreate,
  TokenCreate,
  TokenCreated,
  TokenRow,
  TargetRow,
  Trace,
  WindowOverride,
  WindowOverrideCreate,
} from "@flotilla/proto/rest/contract";
import { readEventStream, type StreamMessage } from "./connect/event-stream.ts";
import { type HubRequest, openRequest, readAnswer } from "./connect/hub-request.ts";
import { refusal } from "./connect/refusal.ts";
import type { HubEndpoint } from "./connect/resolve-hub.ts";
import { exitCodes } from "./exit-codes.ts";
import { FleetError } from "./fleet-error.ts";
import { maxRows, pageRows, readAttempts, readRetryMs, streamIdleMs } from "./limits.ts";

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

const prefix = "/api/v1";

/** The hub's REST API, typed by the contract. Every method throws FleetError with its exit status and remedy. */
export class HubClient {
  readonly endpoint: HubEndpoint;
  readonly #signal: AbortSignal | undefined;

  constructor(endpoint: HubEndpoint, options: { signal?: AbortSignal } = {}) {
    this.endpoint = endpoint;
    this.#signal = options.signal;
  }

  hub(): Promise<HubInfo> {
    return this.#read("/hub");
  }

  fleets(query: Query = {}): Promise<FleetRow[]> {
    return this.all("/fleets", query);
  }

  fleet(name: string): Promise<FleetRow> {
    return this.#read(fleetPath(name));
  }

  createFleet(fleet: FleetCreate): Promise<FleetCreated> {
    return this.#write("POST", "/fleets", fleet);
  }

  deleteFleet(name: string, objects: "orphan" | "delete", reason?: string): Promise<FleetRow> {
    return this.#write("DELETE", `${fleetPath(name)}?objects=${objects}`, undefined, reason);
  }

  /** All of a fleet, or what the choice narrows it to. */
  syncFleet(
    name: string,
    choice: { cluster?: string | undefined; bundle?: string | undefined; objects?: readonly string[]; force?: boolean } = {},
  ): Promise<{
    revision: string | null;
  }> {
    const { objects = [], force = false, ...narrowed } = choice;
    const query = queryText({ ...narrowed, force: force || undefined });
    const many = objects.map((object) => `object=${encodeURIComponent(object)}`).join("&");
    return this.#write("POST", `${fleetPath(name)}/sync${many === "" ? query : `${query === "" ? "?" : `${query}&`}${many}`}`);
  }

  rollouts(query: Query = {}, limit?: number): Promise<RolloutRow[]> {
    return this.all("/rollouts", query, limit);
  }

  rollout(fleet: string): Promise<RolloutStatus> {
    return this.#read(`${fleetPath(fleet)}/rollout`);
  }

  rolloutDecisions(id: number): Promise<RolloutDecisionRow[]> {
    return this.all(`/rollouts/${id}/decisions`);
  }

  rolloutClusters(id: number): Promise<RolloutClusterRow[]> {
    return this.all(`/rollouts/${id}/clusters`);
  }

  actOnRollout(fleet: string, act: string, body: RolloutAct): Promise<RolloutStatus> {
    return this.#write("POST", `${fleetPath(fleet)}/rollout/${act}`, body);
  }

  createPreview(fleet: string, preview: PreviewCreate): Promise<Preview> {
    return this.#write("POST", `${fleetPath(fleet)}/previews`, preview);
  }

  /** Answers when there is news after `mark`, or a while later. */
  preview(id: string, mark: string): Promise<Preview> {
    return this.#read(`/previews/${encodeURIComponent(id)}${queryText({ after: mark })}`);
  }

  async apiTokens(): Promise<readonly TokenRow[]> {
    return (await this.#read<{ items: TokenRow[] }>("/tokens")).items;
  }

  createApiToken(token: TokenCreate, reason?: string): Promise<TokenCreated> {
    return this.#write("POST", "/tokens", token, reason);
  }

  async revokeApiToken(id: string, reason?: string): Promise<void> {
    await this.#write("DELETE", `/tokens/${encodeURIComponent(id)}`, undefined, reason);
  }

  async authorities(): Promise<readonly AuthorityRow[]> {
    return (await this.#read<{ items: AuthorityRow[] }>("/authorities")).items;
  }

  stageAuthority(reason?: string): Promise<AuthorityRow> {
    return this.#write("POST", "/authorities", undefined, reason);
  }

  activateAuthority(hash: string, choice: AuthorityAct): Promise<AuthorityRow> {
    return this.#write("POST", `/authorities/${encodeURIComponent(hash)}/activate`, choice);
  }

  retireAuthority(hash: string, choice: AuthorityAct): Promise<AuthorityRetired> {
    return this.#write("POST", `/authorities/${encodeURIComponent(hash)}/retire`, choice);
  }

  revertBranch(fleet: string, revert: RevertBranchCreate): Promise<RevertBranch> {
    return this.#write("POST", `${fleetPath(fleet)}/revert-branch`, revert);
  }

  setForge(fleet: string, forge: ForgeSet): Promise<ForgeRow> {
    return this.#write("PUT", `${fleetPath(fleet)}/forge`, forge);
  }

  async removeForge(fleet: string, reason?: string): Promise<void> {
    await this.#write("DELETE", `${fleetPath(fleet)}/forge`, undefined, reason);
  }

  testForge(fleet: string): Promise<ForgeTest> {
    return this.#write("POST", `${fleetPath(fleet)}/forge/test`);
  }

  async forges(): Promise<readonly ForgeRow[]> {
    return (await this.#read<{ items: ForgeRow[] }>("/forges")).items;
  }

  async pullRequests(fleet: string): Promise<readonly PullRequestRow[]> {
    return (await this.#read<{ items: PullRequestRow[] }>(`${fleetPath(fleet)}/pull-requests`)).items;
  }

  async checkPullRequest(fleet: string, number: number): Promise<void> {
    await this.#write("POST", `${fleetPath(fleet)}/pull-requests/${number}/check`);
  }

  setNotifyHook(hook: NotifyHookSet): Promise<NotifyHookRow> {
    return this.#write("PUT", "/notify-hooks", hook);
  }

  async notifyHooks(): Promise<readonly NotifyHookRow[]> {
    return (await this.#read<{ items: NotifyHookRow[] }>("/notify-hooks")).items;
  }

  async removeNotifyHook(fleet: string | undefined, reason?: string): Promise<void> {
    await this.#write("DELETE", `/notify-hooks${queryText({ fleet })}`, undefined, reason);
  }

  rollBack(fleet: string, rollback: RollbackCreate): Promise<RollbackAnswer> {
    return this.#write("POST", `${fleetPath(fleet)}/rollback`, rollback);
  }

  letGo(fleet: string, cluster: string | undefined, reason?: string): Promise<Released> {
    return this.#write("DELETE", `${fleetPath(fleet)}/keeps${queryText({ cluster })}`, undefined, reason);
  }

  hold(hold: HoldCreate): Promise<HoldRow> {
    return this.#write("POST", "/holds", hold);
  }

  async unfreeze(reason?: string): Promise<void> {
    await this.#write("DELETE", "/holds", undefined, reason);
  }

  releases(query: Query, limit?: number): Promise<ReleaseRow[]> {
    return this.all("/releases", query, limit);
  }

  suspensions(query: Query = {}): Promise<Suspension[]> {
    return this.all("/suspensions", query);
  }

  suspend(suspension: SuspensionCreate): Promise<Suspension> {
    return this.#write("POST", "/suspensions", suspension);
  }

  async resume(scope: Query, reason?: string): Promise<void> {
    await this.#write("DELETE", `/suspensions${queryText(scope)}`, undefined, reason);
  }

  overrideWindows(override: WindowOverrideCreate): Promise<WindowOverride> {
    return this.#write("POST", "/window-overrides", override);
  }

  async endOverride(scope: Query, reason?: string): Promise<void> {
    await this.#write("DELETE", `/window-overrides${queryText(scope)}`, undefined, reason);
  }

  approvePrunes(fleet: string, request: PruneApprovalRequest): Promise<PruneApprovals> {
    return this.#write("POST", `${fleetPath(fleet)}/prune-approvals`, request);
  }

  heldRemoval(fleet: string): Promise<HeldRemovalAnswer> {
    return this.#read(`${fleetPath(fleet)}/held-removal`);
  }

  approveRemoval(fleet: string, request: RemovalApprovalRequest): Promise<RemovalApproval> {
    return this.#write("POST", `${fleetPath(fleet)}/removal-approvals`, request);
  }

  targets(fleet: string, query: Query = {}): Promise<TargetRow[]> {
    return this.all(`${fleetPath(fleet)}/targets`, query);
  }

  revisions(fleet: string, rows?: number): Promise<RevisionRow[]> {
    return this.all(`${fleetPath(fleet)}/revisions`, {}, rows);
  }

  trace(fleet: string, revision: string): Promise<Trace> {
    return this.#read(`${fleetPath(fleet)}/revisions/${encodeURIComponent(revision)}/trace`);
  }

  /** What a cluster gets; with a revision, what it got then. */
  rendered(fleet: string, cluster: string, revision?: string): Promise<Rendered> {
    return this.#read(`${fleetPath(fleet)}/rendered/${encodeURIComponent(cluster)}${queryText({ revision })}`);
  }

  clusters(query: Query = {}): Promise<ClusterRow[]> {
    return this.all("/clusters", query);
  }

  cluster(name: string): Promise<ClusterRow> {
    return this.#read(clusterPath(name));
  }

  createCluster(cluster: ClusterCreate): Promise<Enrolment> {
    return this.#write("POST", "/clusters", cluster);
  }

  createToken(cluster: string, lifetimeMs?: number): Promise<Enrolment> {
    return this.#write("POST", `${clusterPath(cluster)}/tokens${queryText({ lifetimeMs })}`);
  }

  labelCluster(name: string, labels: Readonly<Record<string, string | null>>, reason?: string): Promise<ClusterRow> {
    return this.#write("PATCH", clusterPath(name), { labels }, reason);
  }

  async removeCluster(name: string, reason?: string): Promise<void> {
    await this.#write("DELETE", clusterPath(name), undefined, reason);
  }

  bundles(query: Query): Promise<BundleRow[]> {
    return this.all("/bundles", query);
  }

  objects(query: Query): Promise<ObjectRow[]> {
    return this.all("/objects", query);
  }

  drift(query: Query): Promise<DriftRow[]> {
    return this.all("/drift", query);
  }

  /** The newest `rows` events that match, oldest first. */
  async recentEvents(query: Query, rows: number): Promise<EventRow[]> {
    return (await this.all<EventRow>("/events", { ...query, order: "desc" }, rows)).toReversed();
  }

  /** Rows of every page, up to `rows`. */
  async all<Row>(path: string, query: Query = {}, rows: number = maxRows): Promise<Row[]> {
    const found: Row[] = [];
    for await (const page of this.pages<Row>(path, query, Math.min(rows, pageRows))) {
      found.push(...page.items);
      if (found.length >= rows) break;
    }
    return found.slice(0, rows);
  }

  /** Pages in order. A cursor that comes again would be a loop without end, so it is an error. */
  async *pages<Row>(path: string, query: Query, limit: number = pageRows): AsyncGenerator<Page<Row>> {
    const seen = new Set<string>();
    let cursor: string | undefined;
    do {
      const page: Page<Row> = await this.#read(`${path}${queryText({ ...query, limit, cursor })}`);
      yield page;
      cursor = page.next ?? undefined;
      if (cursor !== undefined && seen.has(cursor))
        throw new FleetError("the hub's pages go in a circle", exitCodes.failed, { hint: "report it; narrow the list with a filter meanwhile" });
      if (cursor !== undefined) seen.add(cursor);
    } while (cursor !== undefined);
  }

  /** One connection to the hub's stream of changes and events; throws FleetError when it breaks, returns when the hub ends it. */
  async *watch(
    options: { fleet?: string | undefined; lastEventId?: string | undefined; signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<StreamMessage> {
    const headers = { accept: "text/event-stream", ...(options.lastEventId !== undefined && { "last-event-id": options.lastEventId }) };
    const answer = await this.#open({ method: "GET", path: `${prefix}/watch${queryText({ fleet: options.fleet })}`, headers }, options.signal);
    if (answer.statusCode !== 200) throw refusal(answer.statusCode ?? 0, await readAnswer(this.endpoint, answer));
    const idle = setTimeout(() => answer.destroy(new Error("the stream is silent")), streamIdleMs);
    answer.on("data", () => idle.refresh());
    try {
      yield* readEventStream(answer as AsyncIterable<Buffer>);
    } catch (error) {
      if (this.#signal?.aborted || options.signal?.aborted) return;
      throw new FleetError(`the hub's stream broke: ${(error as Error).message}`, exitCodes.unreachable, { cause: error });
    } finally {
      clearTimeout(idle);
      answer.destroy();
    }
  }

  /** A read, tried again on a broken connection and on answers that say "not now". */
  async #read<T>(path: string): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#send<T>({ method: "GET", path: prefix + path });
      } catch (error) {
        if (attempt >= readAttempts || !mayPass(error) || this.#signal?.aborted) throw error;
        await delay(readRetryMs * attempt);
      }
    }
  }

  /** `reason` goes into the audit log; writes whose body has a reason of its own need none. */
  #write<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown, reason?: string): Promise<T> {
    const headers = reason === undefined ? undefined : { "flotilla-reason": encodeURIComponent(reason.toWellFormed()) };
    return this.#send<T>({ method, path: prefix + path, ...(body !== undefined && { body }), ...(headers && { headers }) });
  }

  async #send<T>(request: HubRequest): Promise<T> {
    const answer = await this.#open(request);
    const text = await readAnswer(this.endpoint, answer);
    const status = answer.statusCode ?? 0;
    if (status < 200 || status >= 300) throw refusal(status, text);
    try {
      return (text === "" ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      throw new FleetError(`${this.endpoint.url} does not answer as a hub does`, exitCodes.unreachable, {
        hint: "check the URL: it is the hub's API, not its enrolment or link address",
        cause: error,
      });
    }
  }

  #open(request: HubRequest, also?: AbortSignal): ReturnType<typeof openRequest> {
    const signals = [this.#signal, also].filter((signal) => signal !== undefined);
    return openRequest(this.endpoint, { ...request, ...(signals.length > 0 && { signal: AbortSignal.any(signals) }) });
  }
}

function mayPass(error: unknown): boolean {
  if (!(error instanceof FleetError)) return false;
  if (error.status !== undefined) return [429, 502, 503, 504].includes(error.status);
  // Where nothing listens, or the certificate is wrong, a second try says the same.
  return (
    error.exitCode === exitCodes.unreachable && ["ECONNRESET", "EPIPE", "ETIMEDOUT"].includes((error.cause as NodeJS.ErrnoException | undefined)?.code ?? "")
  );
}

function fleetPath(name: string): string {
  return `/fleets/${encodeURIComponent(name)}`;
}

function clusterPath(name: string): string {
  return `/clusters/${encodeURIComponent(name)}`;
}

function queryText(query: Query): string {
  const given = Object.entries(query).filter((entry): entry is [string, string | number | boolean] => entry[1] !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)])).toString()}`;
}
