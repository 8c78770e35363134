import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type pg from "pg";
import type { ApiOptions } from "./api/ports.ts";
import { type RunningApi, startApi } from "./api/start-api.ts";
import { revertBranch } from "./sync/revert-branch.ts";
import { apiStore } from "./sync/api-store.ts";
import type { HubConfig } from "./config.ts";
import { fleetJsonSchema } from "./domain/fleet-schema.ts";
import { unsignedWebhookBurst, unsignedWebhooksPerSecond } from "./limits.ts";
import { checkHub } from "./hub-checks.ts";
import type { GitSource } from "./source/open-source.ts";
import { parseRepositoryUrl } from "./source/repository-url.ts";
import { TokenBuckets } from "./source/token-bucket.ts";
import { concernsRepository, verifyWebhook } from "./source/webhook.ts";
import { ForgeError } from "./forge/forge-error.ts";
import { testForge } from "./start-forges.ts";
import { type Broker, isLoopback, nearHost } from "./start-broker.ts";
import { ensureAdminToken } from "./store/api-tokens.ts";
import { mintEnrolToken } from "./store/enrolment-store.ts";
import { listen, namesIn } from "./store/listen.ts";

import type { Sealing } from "./store/sealing.ts";
import type { Authorities } from "./stream/authorities.ts";
import type { Telemetry } from "./telemetry.ts";

export interface HubApiOptions {
  readonly config: HubConfig;
  readonly hubId: string;
  readonly version: string;
  readonly pool: pg.Pool;
  readonly sealing: Sealing;
  readonly authorities: Authorities;
  readonly broker: Broker;
  readonly telemetry: Telemetry;
  readonly addresses: { readonly link: string; readonly enrol: string };
  readonly source: Pick<GitSource, "revertPath">;
  readonly previews: ApiOptions["previews"];
  readonly log: Logger;
}

export type HubApi = Pick<RunningApi, "url" | "address" | "close">;

/** Binds the API to the rest of the hub and serves it. */
export async function startHubApi(options: HubApiOptions): Promise<HubApi> {
  const { config, pool, sealing, authorities, broker, telemetry, addresses, log } = options;
  await ensureAdminToken(pool, { file: join(config.dataDir, "admin-token") });
  const webhooks = new TokenBuckets();
  const unsigned = new TokenBuckets(unsignedWebhookBurst, unsignedWebhooksPerSecond);
  const api = await startApi({
    host: config.api.host,
    port: config.api.port,
    tls: await apiCertificate(config, authorities),
    store: apiStore(pool, sealing),
    listenChanges: (onChange) =>
      listen(pool, "flotilla_changes", (hint) => onChange({ fleets: namesIn(hint, "fleets"), clusters: namesIn(hint, "clusters") }), log),
    hub: {
      version: options.version,
      id: options.hubId,
      enrolAddress: addresses.enrol,
      linkAddress: addresses.link,
      get caHash() {
        return authorities.active.caHash;
      },
    },
    checks: () => checkHub(pool, broker.connection, config.dataDir),
    mintToken: (actor, cluster, lifetimeMs) => mintEnrolToken(pool, actor, cluster, lifetimeMs),
    checkRepositoryUrl(url) {
      const parsed = parseRepositoryUrl(url, { allowLocalRepositories: config.allowLocalRepositories });
      return parsed.ok ? { ok: true, url: parsed.repository.url } : parsed;
    },
    verifyWebhook({ headers, rawBody, secret, url }) {
      const verdict = verifyWebhook({ headers, rawBody, secret });
      if (!verdict.ok) return verdict;
      const { event, pullRequest } = verdict;
      return { ok: true, event, concerns: concernsRepository(verdict, url), ...(pullRequest !== undefined && { pullRequest }) };
    },
    takeWebhook: (repositoryId) => webhooks.take(repositoryId),
    takeUnsignedWebhook: (address, repositoryId) => unsigned.take(`${address} ${repositoryId}`),
    previews: options.previews,
    revertBranch: (actor, fleet, wanted) => revertBranch({ pool, sealing, source: options.source }, actor, fleet, wanted),
    async testForge(fleet) {
      try {
        return { message: await testForge({ pool, sealing }, fleet) };
      } catch (error) {
        if (error instanceof ForgeError) return { message: error.message, hint: error.hint };
        throw error;
      }
    },
    renderMetrics: () => telemetry.renderMetrics(),
    fleetSchema: fleetJsonSchema(),
    log,
  });
  const renew = () => {
    void apiCertificate(config, authorities)
      .then((certificate) => certificate && api.renewCertificate(certificate))
      .catch((error: unknown) => log.error({ err: error }, "the API's certificate could not be renewed"));
  };
  const renewing = setInterval(renew, certificateRenewMs);
  renewing.unref();
  const forget = authorities.onChange(renew);
  return {
    url: api.url,
    address: api.address,
    async close() {
      forget();
      clearInterval(renewing);
      await api.close();
    },
  };
}

/** Server certificates of the hub's own authority live 30 days; given files are read again, because whoever gives them renews them there. */
const certificateRenewMs = 24 * 3_600_000;

/**
 * Given files; else one of the hub's own CA where others can reach the API; plain HTTP on loopback. Of the oldest that is trusted: logins that pinned
 * it work until it is retired.
 */
async function apiCertificate({ api, tls, publicAddress }: HubConfig, { trusted, active }: Authorities): Promise<{ cert: string; key: string } | undefined> {
  if (tls !== undefined) return { cert: await readFile(tls.certFile, "utf8"), key: await readFile(tls.keyFile, "utf8") };
  if (isLoopback(api.host)) return undefined;
  const { chainPem, keyPem } = await (trusted[0] ?? active).issueServer([publicAddress, "localhost", nearHost(api.host)]);
  return { cert: chainPem, key: keyPem };
}
