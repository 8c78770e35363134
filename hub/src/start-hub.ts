import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino, type Logger } from "pino";
import type pg from "pg";
import type { HubConfig, ListenAddress } from "./config.ts";
import { claimFolder } from "./embedded/claim-folder.ts";
import { startEmbeddedPostgres } from "./embedded/postgres.ts";
import { readHubId } from "./hub-id.ts";
import { bufferPoolBytes, upkeepMs } from "./limits.ts";
import { openPrograms } from "./open-programs.ts";
import { openSource } from "./source/open-source.ts";
import { openAuthorityStore } from "./store/authorities.ts";
import { openEnrolmentStore } from "./store/enrolment-store.ts";
import { openHubSecrets } from "./store/hub-secrets.ts";
import { openLinkStore } from "./store/link-store.ts";
import { listen } from "./store/listen.ts";
import { migrate } from "./store/migrate.ts";
import { openPool } from "./store/pool.ts";
import { checkSealing, openSealing } from "./store/sealing.ts";
import { startUpkeep } from "./store/upkeep.ts";
import { inUrl, isLoopback, nearHost, startBroker } from "./start-broker.ts";
import { startForges } from "./start-forges.ts";
import { type HubApi, startHubApi } from "./start-hub-api.ts";
import { startPreviews } from "./start-previews.ts";
import { startSync } from "./start-sync.ts";
import { type Authorities, openAuthorities } from "./stream/authorities.ts";
import { startEnrolment } from "./stream/enrolment.ts";
import { startLink } from "./stream/link-server.ts";
import { ensureReportStream } from "./stream/report-stream.ts";
import { startIntake } from "./sync/record-report.ts";
import { startTelemetry } from "./telemetry.ts";
import { watchDisk } from "./watch-disk.ts";
import { readVersion } from "./version.ts";

/** Something that was started and must be stopped, in reverse order. */
interface Started {
  close(): Promise<void>;
}

/**
 * Starts a whole hub and serves until SIGTERM or SIGINT; resolves with the exit code. A second signal ends it at once.
 *
 * Order: store, identity, broker, intake, agents, people. What fails on the way stops what was started before.
 */
export async function startHub(config: HubConfig): Promise<number> {
  Buffer.poolSize = bufferPoolBytes;
  // Others may pass through (Postgres runs as somebody else); files inside have modes of their own.
  await mkdir(config.dataDir, { recursive: true, mode: 0o711 });
  const claim = await claimFolder(config.dataDir);
  const hubId = await readHubId(config.dataDir);
  const log = pino({ level: config.logLevel, base: { hub: hubId }, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
  const started: Started[] = [];
  const kept = <T extends Started>(part: T): T => {
    started.unshift(part);
    return part;
  };
  // A fault that nobody caught must not take the other parts down with it silently: say it, and let the supervisor restart us.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "unhandled rejection"));
  try {
    const stopped = stopSignal();
    const { url, authorities, drain } = await startParts({ config, hubId, log, kept });
    await writeEndpoint(config, url, authorities.bundlePem);
    authorities.onChange(() => {
      writeAuthorities(config, authorities.bundlePem).catch((error: unknown) => log.error({ err: error }, "the file of the hub's CAs could not be written"));
    });
    process.stdout.write(readyLines(config, url));
    await stopped;
    log.info({}, "stopping");
    await drain();
    return 0;
  } finally {
    for (const part of started) await part.close().catch((error: unknown) => log.warn({ err: error }, "a part did not stop in order"));
    await claim.release();
  }
}

interface Parts {
  readonly config: HubConfig;
  readonly hubId: string;
  readonly log: Logger;
  kept<T extends Started>(part: T): T;
}

async function startParts({ config, hubId, log, kept }: Parts): Promise<{ url: string; authorities: Authorities; drain: () => Promise<void> }> {
  const version = readVersion();
  const telemetry = startTelemetry({ version, hubId, otlpEndpoint: config.otlpEndpoint });
  kept({ close: () => telemetry.shutdown() });
  const sealing = await openSealing(config.encryptionKeyFile);
  const pool = await openDatabase({ config, hubId, log, kept });
  await checkSealing(pool, sealing);
  const secrets = openHubSecrets(pool, sealing);
  const authorities = kept(await openAuthorities(openAuthorityStore(pool, sealing), log));
  const enrolments = openEnrolmentStore(pool);
  const broker = kept(await startBroker({ config, authorities, secrets, readRevoked: () => enrolments.readRevokedBrokerUsers(), log }));
  kept(watchDisk({ dataDir: config.dataDir, log, couldNotWrite: () => broker.couldNotWrite, onRoom: () => broker.onDiskRoom() }));
  kept(startIntake({ pool, nats: broker.connection, holder: hubId, ensureStream: async () => void (await ensureReportStream(broker.connection)), log }));
  const names = [config.publicAddress, "localhost"];
  const link = kept(
    await startLink({
      host: config.link.host,
      port: config.link.port,
      linkAddress: agentAddress(config, config.link),
      names,
      authorities,
      hubId,
      hubVersion: version,
      store: openLinkStore(pool, sealing),
      credentials: enrolments,
      tracer: telemetry.tracer,
      broker,
      hints: (channels, onHint) => listen(pool, channels, onHint, log),
      onRevoked: () => broker.onRevoked(),
      log,
    }),
  );
  kept(
    await startEnrolment({
      tracer: telemetry.tracer,
      host: config.enrol.host,
      port: config.enrol.port,
      perSecond: config.enrolPerSecond,
      authorities,
      store: enrolments,
      names,
      linkAddress: agentAddress(config, config.link),
      log,
    }),
  );
  const source = await openSource({ root: join(config.dataDir, "clones"), allowLocalRepositories: config.allowLocalRepositories });
  kept(source);
  const renderTools = openPrograms({ builds: true });
  kept({ close: async () => renderTools.close() });
  kept(startSync({ pool, sealing, source, telemetry, holder: hubId, renderTools, log }));
  const previews = kept(startPreviews({ pool, sealing, source, folder: join(config.dataDir, "previews"), renderTools, log }));
  kept(startForges({ pool, sealing, previews, holder: hubId, log }));
  const api = kept(
    await startHubApi({
      config,
      hubId,
      version,
      pool,
      sealing,
      authorities,
      broker,
      telemetry,
      source,
      previews,
      addresses: { link: agentAddress(config, config.link), enrol: agentAddress(config, config.enrol) },
      log,
    }),
  );
  return { url: localUrl(config, api), authorities, drain: () => link.drain() };
}

async function openDatabase({ config, hubId, log, kept }: Parts): Promise<pg.Pool> {
  let url = config.databaseUrl;
  if (url === undefined) {
    const server = await startEmbeddedPostgres({ dataFolder: join(config.dataDir, "postgres"), log });
    kept({ close: () => server.stop() });
    url = server.url;
  }
  const pool = openPool({ url, applicationName: `flotilla-hub/${hubId}`, log });
  kept({ close: () => pool.end() });
  await migrate(pool);
  kept(
    startUpkeep(pool, upkeepMs, (error) =>
      log.warn({ error: error instanceof Error ? error.message : String(error) }, "upkeep of Postgres failed; it is tried again"),
    ),
  );
  return pool;
}

/** host:port of a listener as agents reach it. */
function agentAddress(config: HubConfig, { port }: ListenAddress): string {
  const host = config.publicAddress.includes(":") ? `[${config.publicAddress}]` : config.publicAddress;
  return `${host}:${port}`;
}

/** As this machine reaches the API: under a name that is in the certificate. */
function localUrl({ api: { host }, tls }: HubConfig, api: HubApi): string {
  if (isLoopback(host)) return api.url;
  return `https://${inUrl(tls === undefined ? nearHost(host) : host)}:${api.address.port}`;
}

/** Where `fleet` on this machine finds the hub by itself, and the authority that it may trust for it. */
async function writeEndpoint(config: HubConfig, url: string, bundlePem: string): Promise<void> {
  const caFile = config.tls?.certFile ?? authoritiesFile(config);
  await writeAuthorities(config, bundlePem);
  const file = join(config.dataDir, "endpoint.json");
  const part = `${file}.${process.pid}`;
  await writeFile(part, `${JSON.stringify({ url, pid: process.pid, ...(url.startsWith("https:") ? { caFile } : {}) })}\n`, { mode: 0o600 });
  await rename(part, file);
}

const authoritiesFile = ({ dataDir }: HubConfig): string => join(dataDir, "ca.crt");

/** The CAs that `fleet` on this machine may trust; a reader never sees half of them. */
async function writeAuthorities(config: HubConfig, bundlePem: string): Promise<void> {
  if (config.tls !== undefined) return;
  const file = authoritiesFile(config);
  const part = `${file}.${process.pid}`;
  await writeFile(part, bundlePem);
  await rename(part, file);
}

function readyLines(config: HubConfig, url: string): string {
  const own = [config.databaseUrl === undefined ? "Postgres" : "", config.natsUrl === undefined ? "NATS" : ""].filter((part) => part !== "");
  return [
    `Flotilla hub ready at ${url}${own.length === 0 ? "" : ` (with its own ${own.join(" and ")})`}`,
    `  data   ${config.dataDir}`,
    `  token  ${join(config.dataDir, "admin-token")}`,
    `  agents link ${agentAddress(config, config.link)}, enrol ${agentAddress(config, config.enrol)}`,
    `Next: fleet cluster add NAME   (Ctrl-C stops the hub; clusters keep running)`,
    "",
  ].join("\n");
}

/** Resolves at the first SIGTERM or SIGINT; the second ends the process. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = (): void => {
      if (isStopping) process.exit(130);
      isStopping = true;
      resolve();
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
}
