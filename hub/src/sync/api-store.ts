import { commandLifetimeMs } from "@flotilla/proto/limits";
import type pg from "pg";
import type { ApiStore } from "../api/ports.ts";
import { checkApiToken, createApiToken, readApiTokens, recordDeniedToken, recordExpiredToken, revokeApiToken } from "../store/api-tokens.ts";
import { approveRemoval } from "../store/approve-removal.ts";
import { approvePrunes } from "../store/approve-prunes.ts";
import { readAuditLog } from "../store/audit-log.ts";
import { activateAuthority, readAuthorities, retireAuthority, stageAuthority } from "../store/authorities.ts";
import { changeLabels, createCluster, removeCluster } from "../store/change-clusters.ts";
import { readEvents, readEventsAfter } from "../store/read-events.ts";
import { countRows, readChangeMarks, readDrifts, readRevisions, readTrace } from "../store/read-history.ts";
import { actOnRollout, hold, letGo, rollBack, unfreeze } from "../store/change-rollouts.ts";
import { readDecisions, readHolds, readReleases, readRolloutClusters, readRollouts, readRolloutStatus } from "../store/read-rollouts.ts";
import { createFleet } from "../store/create-fleet.ts";
import { deleteFleet } from "../store/delete-fleet.ts";
import {
  askForCheck,
  hearPullRequest,
  readForges,
  readNotifyHooks,
  readPullRequests,
  removeForge,
  removeNotifyHook,
  setForge,
  setNotifyHook,
} from "../store/forges.ts";
import { readApprovals, readHeldPrunes } from "../store/read-approvals.ts";
import { readCluster, readClusters } from "../store/read-clusters.ts";
import { hasFleet, readFleet, readFleets, readHeldRemoval, readTallies } from "../store/read-fleets.ts";
import { readPreview } from "../store/previews.ts";
import { readRendered } from "../store/read-rendered.ts";
import { readBundles, readObjects, readTargets } from "../store/read-targets.ts";
import { markWanted, readWebhook, wantSync } from "../store/repositories.ts";
import { endOverride, overrideWindows, readOverrides, readSuspensions, resume, suspend } from "../store/suspensions.ts";
import { asStoreError } from "../store/store-error.ts";
import { verifyAuditLog } from "../store/verify-audit-log.ts";
import type { Sealing } from "../store/sealing.ts";
import { createAuthority } from "../stream/certificate-authority.ts";

/** The API's rows over Postgres. */
export function apiStore(pool: pg.Pool, sealing: Sealing): ApiStore {
  const store: ApiStore = {
    ping: async () => void (await pool.query("SELECT 1")),
    checkToken: (token) => checkApiToken(pool, token),
    readTokens: () => readApiTokens(pool),
    createToken: (actor, { description, expiresAt, ...rights }) => createApiToken(pool, actor, description, expiresAt, rights),
    revokeToken: (actor, id) => revokeApiToken(pool, actor, id),
    readAuthorities: () => readAuthorities(pool),
    stageAuthority: async (actor) => stageAuthority(pool, sealing, actor, await createAuthority()),
    activateAuthority: (actor, wanted) => activateAuthority(pool, actor, wanted),
    retireAuthority: (actor, wanted) => retireAuthority(pool, actor, wanted),
    recordExpiredToken: (token, source, request) => recordExpiredToken(pool, token, source, request),
    recordDeniedToken: (id, denied) => recordDeniedToken(pool, id, denied),
    readFleets: (query) => readFleets(pool, query),
    hasFleet: (name) => hasFleet(pool, name),
    readFleet: (name) => readFleet(pool, name),
    createFleet: (actor, fleet) => createFleet(pool, sealing, actor, fleet),
    deleteFleet: (actor, name, policy) => deleteFleet(pool, actor, name, policy),
    wantSync: (actor, fleet, choice) => wantSync(pool, actor, fleet, choice, commandLifetimeMs, null),
    readRollouts: (query) => readRollouts(pool, query),
    readRolloutStatus: (fleet) => readRolloutStatus(pool, fleet),
    readDecisions: (rollout, query) => readDecisions(pool, rollout, query),
    readRolloutClusters: (rollout, query) => readRolloutClusters(pool, rollout, query),
    readReleases: (query) => readReleases(pool, query),
    readHolds: async () => [...(await readHolds(pool))],
    actOnRollout: (actor, fleet, act, choice) => actOnRollout(pool, actor, fleet, act, choice),
    readPreview: (id) => readPreview(pool, id),
    rollBack: async (actor, fleet, wanted) => [...(await rollBack(pool, sealing, actor, fleet, wanted))],
    hold: (actor, fleet, until) => hold(pool, actor, fleet, until),
    unfreeze: (actor) => unfreeze(pool, actor),
    letGo: (actor, fleet, cluster) => letGo(pool, actor, fleet, cluster),
    suspend: (actor, scope) => suspend(pool, actor, scope),
    resume: (actor, scope) => resume(pool, actor, scope),
    readSuspensions: (query) => readSuspensions(pool, query),
    overrideWindows: (actor, scope, until) => overrideWindows(pool, actor, scope, until),
    endOverride: (actor, scope) => endOverride(pool, actor, scope),
    readOverrides: (query) => readOverrides(pool, query),
    readTargets: (query) => readTargets(pool, query),
    readRevisions: (query) => readRevisions(pool, query),
    readTrace: (fleet, revision) => readTrace(pool, fleet, revision),
    readRendered: (fleet, cluster, revision) => readRendered(pool, sealing, fleet, cluster, revision),
    readClusters: (query) => readClusters(pool, query),
    readCluster: (name) => readCluster(pool, name),
    createCluster: (actor, name, labels) => createCluster(pool, actor, name, labels),
    changeLabels: (actor, name, labels) => changeLabels(pool, actor, name, labels),
    removeCluster: (actor, name) => removeCluster(pool, actor, name),
    readBundles: (query) => readBundles(pool, query),
    readObjects: (query) => readObjects(pool, query),
    readDrifts: (query) => readDrifts(pool, query),
    readEvents: (query) => readEvents(pool, query),
    readEventsAfter: (id, fleet, limit) => readEventsAfter(pool, id, fleet, limit),
    readChangeMarks: () => readChangeMarks(pool),
    readHeldPrunes: (query) => readHeldPrunes(pool, query),
    approvePrunes: (actor, wanted) => approvePrunes(pool, actor, wanted),
    readHeldRemoval: (fleet) => readHeldRemoval(pool, fleet),
    approveRemoval: (actor, wanted) => approveRemoval(pool, actor, wanted),
    readApprovals: (query) => readApprovals(pool, query),
    readAuditLog: (query) => readAuditLog(pool, query),
    verifyAuditLog: () => verifyAuditLog(pool),
    readTallies: () => readTallies(pool),
    countRows: () => countRows(pool),
    setForge: (actor, fleet, wanted) => setForge(pool, sealing, actor, fleet, wanted),
    removeForge: (actor, fleet) => removeForge(pool, actor, fleet),
    readForges: () => readForges(pool),
    readPullRequests: (fleet) => readPullRequests(pool, fleet),
    askForCheck: (actor, fleet, number) => askForCheck(pool, actor, fleet, number),
    hearPullRequest: (id, number) => hearPullRequest(pool, id, number),
    setNotifyHook: (actor, hook) => setNotifyHook(pool, sealing, actor, hook),
    removeNotifyHook: (actor, fleet) => removeNotifyHook(pool, actor, fleet),
    readNotifyHooks: () => readNotifyHooks(pool),
    readWebhook: (id) => readWebhook(pool, sealing, id),
    markWanted: (id) => markWanted(pool, [id], null),
  };
  return tellingStoreErrors(store);
}

/** The driver's errors become the store's, which the API knows how to answer. */
function tellingStoreErrors(store: ApiStore): ApiStore {
  const wrapped = Object.entries(store as unknown as Record<string, (...parameters: unknown[]) => Promise<unknown>>).map(([name, call]) => [
    name,
    (...parameters: unknown[]) =>
      call(...parameters).catch((error: unknown) => {
        throw asStoreError(error);
      }),
  ]);
  return Object.fromEntries(wrapped) as ApiStore;
}
