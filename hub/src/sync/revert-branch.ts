import type { ProblemRow, RevertBranch } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import type { Actor } from "../domain/actor.ts";
import type { GitSource } from "../source/open-source.ts";
import { beginRevert } from "../store/begin-revert.ts";
import { readCredentials } from "../store/repositories.ts";
import type { Sealing } from "../store/sealing.ts";

export interface RevertPorts {
  readonly pool: pg.Pool;
  readonly sealing: Sealing;
  readonly source: Pick<GitSource, "revertPath">;
}

/**
 * Offers what a rollback is not: a commit that makes Git say what runs. On a new branch, pushed where the credentials may; else its patch.
 *
 * @throws StoreError `not-found`, `conflict`.
 */
export async function revertBranch(
  { pool, sealing, source }: RevertPorts,
  actor: Actor,
  fleet: string,
  wanted: { readonly revision: string; readonly name: string | undefined },
): Promise<RevertBranch | ProblemRow> {
  const { revision } = wanted;
  const name = wanted.name ?? `flotilla/revert-${fleet}-${revision.slice(0, 12)}`;
  const { repositoryId, url, branch, path } = await beginRevert(pool, actor, fleet, { revision, name });
  const why = actor.reason === "" ? "" : `\n${actor.reason}\n`;
  const where = path === "" ? "all files" : path;
  const message = `Revert fleet ${fleet} to ${revision.slice(0, 12)}\n${why}\nMakes ${where} what it was at ${revision}.\n`;
  const credentials = await readCredentials(pool, sealing, repositoryId);
  const reverted = await source.revertPath({ url, branch, path, revision, name, message, credentials });
  if (!reverted.ok) return { ...reverted.problem };
  const { base, commit, patch, problem } = reverted;
  return { name, base, commit, patch, pushed: problem === undefined, problem: problem === undefined ? null : { ...problem } };
}
