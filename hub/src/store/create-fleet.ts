import { randomBytes } from "node:crypto";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import type { LabelSelector } from "../domain/fleet-spec.ts";
import { inActTransaction } from "./audit-log.ts";
import { notify } from "./listen.ts";
import { saveEvents } from "./save-events.ts";
import type { Sealing } from "./sealing.ts";
import { StoreError } from "./store-error.ts";

/** What Git asks for before it lets a repository be read. */
export type Credentials = { readonly username?: string; readonly password: string } | { readonly sshPrivateKey: string; readonly knownHosts: string };

export interface NewFleet {
  readonly name: string;
  /** Normalised, without credentials: fleets of one repository share a clone, credentials and webhook. */
  readonly url: string;
  readonly ref: Readonly<Record<string, string>>;
  readonly path: string;
  readonly selector: LabelSelector | null;
  /** Take the place of the repository's, when given. */
  readonly credentials?: Credentials;
  readonly webhookSecret?: string;
  readonly pollIntervalMs?: number;
}

export interface CreatedFleet {
  readonly repositoryId: string;
  /** Set once, when the hub made it. */
  readonly webhookSecret: string | undefined;
}

/**
 * Makes a fleet, and its repository when it is the first of it.
 *
 * @throws StoreError `conflict` when there is a fleet of that name.
 */
export async function createFleet(pool: pg.Pool, sealing: Sealing, actor: Actor, fleet: NewFleet): Promise<CreatedFleet> {
  const { url, ref, path, selector, credentials, webhookSecret, pollIntervalMs } = fleet;
  const given = { credentials: credentials !== undefined, webhookSecret: webhookSecret !== undefined };
  const act = { act: "fleet.create", fleet: fleet.name, details: { repository: url, ref, path, selector, pollIntervalMs, given } };
  return inActTransaction(pool, actor, act, async (client) => {
    const repository = await saveRepository(client, sealing, fleet);
    const { rowCount } = await client.query(
      `INSERT INTO fleets (name, repository_id, ref, path, selector, version) VALUES ($1, $2, $3, $4, $5, nextval('change_version')) ON CONFLICT DO NOTHING`,
      [fleet.name, repository.repositoryId, JSON.stringify(fleet.ref), fleet.path, fleet.selector === null ? null : JSON.stringify(fleet.selector)],
    );
    if (rowCount === 0) throw await conflictOf(client, fleet.name);
    await notify(client, "flotilla_repositories", { ids: [repository.repositoryId] });
    await notify(client, "flotilla_changes", { fleets: [fleet.name], clusters: [] });
    await saveEvents(client, [eventOf(fleet.name, "FleetCreated", `created; follows ${fleet.url}`)]);
    return repository;
  });
}

async function conflictOf(client: pg.ClientBase, name: string): Promise<StoreError> {
  const { rows } = await client.query<{ deleting: string | null }>("SELECT deleting FROM fleets WHERE name = $1", [name]);
  if (typeof rows[0]?.deleting !== "string")
    return new StoreError("conflict", `there is a fleet '${name}' already`, { hint: "choose another name, or delete it first" });
  return new StoreError("conflict", `the fleet '${name}' is still being deleted`, {
    hint: "wait until its clusters have let go; remove clusters that will not come back",
  });
}

async function saveRepository(client: pg.ClientBase, sealing: Sealing, fleet: NewFleet): Promise<CreatedFleet> {
  const credentials = fleet.credentials === undefined ? null : sealing.seal(JSON.stringify(fleet.credentials));
  const { rows } = await client.query<{ id: string; has_secret: boolean }>(
    `INSERT INTO repositories AS r (url, sealed_credentials, poll_interval_ms) VALUES ($1, $2, COALESCE($3::integer, 5000))
     ON CONFLICT (url) DO UPDATE SET sealed_credentials = COALESCE(EXCLUDED.sealed_credentials, r.sealed_credentials), poll_interval_ms = COALESCE($3::integer, r.poll_interval_ms)
     RETURNING id, sealed_webhook_secret IS NOT NULL AS has_secret`,
    [fleet.url, credentials, fleet.pollIntervalMs ?? null],
  );
  const [row] = rows;
  if (row === undefined) throw new StoreError("schema", "the repository was not saved");
  const { id, has_secret: hasSecret } = row;
  if (hasSecret && fleet.webhookSecret === undefined) return { repositoryId: id, webhookSecret: undefined };
  const secret = fleet.webhookSecret ?? randomBytes(32).toString("hex");
  await client.query("UPDATE repositories SET sealed_webhook_secret = $2 WHERE id = $1", [id, sealing.seal(secret)]);
  return { repositoryId: id, webhookSecret: fleet.webhookSecret === undefined ? secret : undefined };
}

/** An event about a whole fleet. */
export function eventOf(
  fleet: string,
  reason: string,
  message: string,
  more: { severity?: "Normal" | "Warning"; cluster?: string; revision?: string; traceId?: string } = {},
): Parameters<typeof saveEvents>[1][number] {
  return {
    at: new Date(),
    fleet,
    cluster: more.cluster ?? "",
    bundle: "",
    object_id: "",
    reason,
    severity: more.severity ?? "Normal",
    message,
    revision: more.revision ?? "",
    trace_id: more.traceId ?? "",
  };
}
