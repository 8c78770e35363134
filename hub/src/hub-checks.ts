import { X509Certificate } from "node:crypto";
import { statfs } from "node:fs/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { reportStream } from "@flotilla/proto/subjects";
import type { AuthorityRow, HubInfo } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { findToolWithoutBuild, type ToolName } from "./embedded/tools.ts";
import { caExpiryWarnedMs, diskFreeBytesMin } from "./limits.ts";
import { hasNetworkTakenAway } from "./render/sandbox.ts";
import { readAuthorities } from "./store/authorities.ts";

type Check = HubInfo["checks"][number];

/** More reports than this in the broker and not in Postgres is a backlog that people should hear of. */
const lagWarned = 1_000;
const checkMs = 3_000;

/** What `fleet doctor` prints of the hub: each check bounded in time, a failing one never hides another. */
export async function checkHub(pool: pg.Pool, nats: NatsConnection, dataDir: string): Promise<Check[]> {
  const checks: readonly [string, string, () => Promise<Omit<Check, "name">>][] = [
    ["database", "is Postgres up, and does --database-url reach it?", () => checkDatabase(pool)],
    ["broker", "is nats-server up, and does --nats-url reach it?", () => checkBroker(nats)],
    ["intake", "is any replica running? The owner of the lease 'intake' records reports", () => checkIntake(pool, nats)],
    ["repositories", "fleet show NAME says what Git answered", () => checkRepositories(pool)],
    ["disk", "free space on the volume of the data folder; the hub goes on by itself, and agents keep their reports meanwhile", () => checkDisk(dataDir)],
    ["CA", "fleet ca list", async () => checkAuthorities(await readAuthorities(pool), new Date())],
    ["renderers", "put them on the PATH, or set FLOTILLA_HELM and FLOTILLA_KUSTOMIZE; they are built with Go when first needed", checkRenderers],
  ];
  return Promise.all(checks.map(async ([name, hint, run]) => ({ name, ...(await bounded(run, hint)) })));
}

async function bounded(run: () => Promise<Omit<Check, "name">>, hint: string): Promise<Omit<Check, "name">> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${checkMs / 1000} s`)), checkMs);
  });
  try {
    const result = await Promise.race([run(), late]);
    return result.ok ? result : { hint, ...result };
  } catch (error) {
    return { ok: false, message: (error as Error).message, hint };
  } finally {
    clearTimeout(timer);
  }
}

async function checkDatabase(pool: pg.Pool): Promise<Omit<Check, "name">> {
  const { rows } = await pool.query<{ version: string; bytes: string }>(
    "SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes",
  );
  return { ok: true, message: `Postgres ${rows[0]?.version ?? ""}, ${Math.round(Number(rows[0]?.bytes) / 1024 ** 2)} MiB` };
}

async function checkBroker(nats: NatsConnection): Promise<Omit<Check, "name">> {
  const roundTripMs = await nats.rtt();
  return { ok: true, message: `nats-server ${nats.info?.version ?? ""}, ${roundTripMs} ms` };
}

async function checkIntake(pool: pg.Pool, nats: NatsConnection): Promise<Omit<Check, "name">> {
  const { rows: leases } = await pool.query<{ holder: string; held: boolean }>(
    "SELECT holder, until > clock_timestamp() AS held FROM leases WHERE name = 'intake'",
  );
  if (leases[0]?.held !== true) return { ok: false, message: "no replica records reports" };
  const { rows } = await pool.query<{ seq: string }>("SELECT stream_seq AS seq FROM intake_position");
  const { state } = await (await jetstreamManager(nats, { checkAPI: false })).streams.info(reportStream);
  const lag = Math.max(0, state.last_seq - Number(rows[0]?.seq ?? 0));
  return { ok: lag < lagWarned, message: `${lag} reports behind, recorded by ${leases[0].holder}` };
}

async function checkRepositories(pool: pg.Pool): Promise<Omit<Check, "name">> {
  const { rows } = await pool.query<{ url: string; error: string | null }>("SELECT url, error FROM repositories ORDER BY id LIMIT 1000");
  const failing = rows.filter(({ error }) => error !== null);
  const first = failing[0];
  if (first === undefined) return { ok: true, message: `${rows.length} followed` };
  return { ok: false, message: `${failing.length} of ${rows.length} cannot be followed; ${first.url}: ${first.error ?? ""}` };
}

/** Whether the data folder's volume has room: clones lie there, and the embedded Postgres and NATS. */
export async function checkDisk(dataDir: string): Promise<Omit<Check, "name">> {
  const { bavail, bsize } = await statfs(dataDir);
  const freeMiB = Math.floor((bavail * bsize) / 1024 ** 2);
  if (bavail * bsize >= diskFreeBytesMin) return { ok: true, message: `${freeMiB} MiB free` };
  return { ok: false, message: `the disk that holds ${dataDir} is full: ${freeMiB} MiB free, ${diskFreeBytesMin / 1024 ** 2} MiB wanted` };
}

/** How long the CA that signs goes on; a change of it that somebody began is told, and is no fault. */
export function checkAuthorities(rows: readonly Pick<AuthorityRow, "hash" | "certificate" | "state" | "holders">[], now: Date): Omit<Check, "name"> {
  const active = rows.find(({ state }) => state === "active");
  if (active === undefined) return { ok: false, message: "none signs" };
  const until = new Date(new X509Certificate(active.certificate).validTo);
  const others = rows
    .filter(({ state }) => state === "staged" || state === "retiring")
    .map(({ hash, state, holders }) => `; ${hash.slice(0, 12)} is ${state}${state === "retiring" ? `, and ${holders} agents have a certificate of it` : ""}`);
  const message = `${active.hash.slice(0, 12)} signs until ${until.toISOString().slice(0, 10)}${others.join("")}`;
  if (until.getTime() - now.getTime() > caExpiryWarnedMs) return { ok: true, message };
  return { ok: false, message, hint: "change it in good time, without an outage: fleet ca stage" };
}

async function checkRenderers(): Promise<Omit<Check, "name">> {
  const names: readonly ToolName[] = ["helm", "kustomize"];
  const found = await Promise.all(names.map(async (name) => [name, await findToolWithoutBuild(name)] as const));
  const missing = found.filter(([, file]) => file === undefined).map(([name]) => name);
  if (missing.length > 0) return { ok: false, message: `${missing.join(" and ")} not built yet` };
  if (!hasNetworkTakenAway())
    return {
      ok: false,
      message: "helm and kustomize run with the network: this system forbids network namespaces",
      hint: "allow user namespaces, or run the hub where it has CAP_SYS_ADMIN",
    };
  return { ok: true, message: "helm and kustomize found; they run without network" };
}
