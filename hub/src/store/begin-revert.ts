import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import { inActTransaction } from "./audit-log.ts";
import { StoreError } from "./store-error.ts";

/** Where a fleet's files are. */
export interface RevertPlace {
  readonly repositoryId: string;
  readonly url: string;
  readonly branch: string;
  readonly path: string;
}

/**
 * Writes down who asks for a revert branch, and says where the fleet is.
 *
 * @throws StoreError `not-found`; `conflict` when the fleet follows no branch.
 */
export async function beginRevert(
  pool: pg.Pool,
  actor: Actor,
  fleet: string,
  details: { readonly revision: string; readonly name: string },
): Promise<RevertPlace> {
  return inActTransaction(pool, actor, { act: "fleet.revert-branch", fleet, details: { ...details } }, async (client) => {
    const { rows } = await client.query<{ repositoryId: string; url: string; branch: string | null; path: string }>(
      `SELECT r.id::text AS "repositoryId", r.url, f.ref ->> 'branch' AS branch, f.path FROM fleets f JOIN repositories r ON r.id = f.repository_id WHERE f.name = $1`,
      [fleet],
    );
    const [row] = rows;
    if (!row) throw new StoreError("not-found", `there is no fleet '${fleet}'`, { hint: "`fleet list` shows those there are" });
    const { branch, ...place } = row;
    if (branch === null)
      throw new StoreError("conflict", `fleet ${fleet} follows no branch: there is nothing to merge a revert into`, {
        hint: "move its tag, or name another commit",
      });
    return { ...place, branch };
  });
}
