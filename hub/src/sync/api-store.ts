import { commandLifetimeMs } from "@flotilla/proto/limits";
import type pg from "pg";
import type { ApiStore } from "../api/ports.ts";
import { checkApiToken } from "../store/api-tokens.ts";
import { changeLabels, createCluster, removeCluster } from "../store/change-clusters.ts";
import { countRows, readChangeMarks, readEvents, readEventsAfter, readDrifts, readRevisions, readTrace } from "../store/read-history.ts";
import { createFleet } from "../store/create-fleet.ts";
import { deleteFleet } from "../store/delete-fleet.ts";
import { readCluster, readClusters } from "../store/read-clusters.ts";
import { readFleet, readFleets, readTallies } from "../store/read-fleets.ts";
import { readRendered } from "../store/read-rendered.ts";
import { readBundles, readObjects, readTargets } from "../store/read-targets.ts";
import { markWanted, readWebhook, wantSync } from "../store/repositories.ts";
import { asStoreError } from "../store/store-error.ts";
import type { Sealing } from "../store/sealing.ts";

/** The API's rows over Postgres. */
export function apiStore(pool: pg.Pool, sealing: Sealing): ApiStore {
  const store: ApiStore = {
    ping: async () => void (await pool.query("SELECT 1")),
    checkToken: (token) => checkApiToken(pool, token),
    readFleets: (query) => readFleets(pool, query),
    readFleet: (name) => readFleet(pool, name),
    createFleet: (fleet) => createFleet(pool, sealing, fleet),
    deleteFleet: (name, policy) => deleteFleet(pool, name, policy),
    wantSync: (fleet, cluster) => wantSync(pool, fleet, cluster, commandLifetimeMs, null),
    readTargets: (query) => readTargets(pool, query),
    readRevisions: (query) => readRevisions(pool, query),
    readTrace: (fleet, revision) => readTrace(pool, fleet, revision),
    readRendered: (fleet, cluster) => readRendered(pool, sealing, fleet, cluster),
    readClusters: (query) => readClusters(pool, query),
    readCluster: (name) => readCluster(pool, name),
    createCluster: (name, labels) => createCluster(pool, name, labels),
    changeLabels: (name, labels) => changeLabels(pool, name, labels),
    removeCluster: (name) => removeCluster(pool, name),
    readBundles: (query) => readBundles(pool, query),
    readObjects: (query) => readObjects(pool, query),
    readDrifts: (query) => readDrifts(pool, query),
    readEvents: (query) => readEvents(pool, query),
    readEventsAfter: (id, fleet, limit) => readEventsAfter(pool, id, fleet, limit),
    readChangeMarks: () => readChangeMarks(pool),
    readTallies: () => readTallies(pool),
    countRows: () => countRows(pool),
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
