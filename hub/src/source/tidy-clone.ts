import { commitsKeptPerClone, gitMaintenanceMs, packsPerCloneMax } from "../limits.ts";
import { countPacks, runLocal, sweepParts, type Clone } from "./clone.ts";

/**
 * Forget commits and refs beyond what is kept, and pack anew what fetches have left in many packs. Readers are not disturbed: Git looks
 * again for what moved. Its failure is the next fetch's to find.
 */
export async function tidyClone(clone: Clone, signal: AbortSignal | undefined): Promise<void> {
  const lines = [...staleSeen(clone), ...staleTracked(clone)].map((name) => `delete ${name}\n`);
  if (lines.length > 0) {
    const deleted = await runLocal(clone, ["update-ref", "--stdin"], { stdin: lines.join(""), signal });
    if (deleted.ok) forgetRefs(clone, lines);
  }
  if ((await countPacks(clone.gitDir)) <= packsPerCloneMax) return;
  const packed = await runLocal(clone, ["gc", "--quiet", "--prune=now"], { timeoutMs: gitMaintenanceMs, signal });
  if (!packed.ok) await sweepParts(clone.gitDir);
}

/** Names of seen commits: each commit once, the newest few. They begin with the time. */
function staleSeen(clone: Clone): string[] {
  const newestFirst = [...clone.refs.keys()]
    .filter((name) => name.startsWith("refs/flotilla/seen/"))
    .toSorted()
    .toReversed();
  const kept = new Set<string>();
  return newestFirst.filter((name) => {
    const commit = clone.refs.get(name) ?? "";
    if (kept.has(commit) || kept.size >= commitsKeptPerClone) return true;
    kept.add(commit);
    return false;
  });
}

/** Refs that were followed once, or commits that were opened once; those followed now stand last. */
function staleTracked(clone: Clone): string[] {
  const tracked = [...clone.refs.keys()].filter((name) => name.startsWith("refs/flotilla/tracked/"));
  return tracked.slice(0, Math.max(0, tracked.length - commitsKeptPerClone));
}

function forgetRefs(clone: Clone, lines: readonly string[]): void {
  for (const line of lines) clone.refs.delete(line.slice("delete ".length).trimEnd());
  const kept = new Set(clone.refs.values());
  for (const commit of clone.facts.keys()) {
    if (!kept.has(commit)) clone.facts.delete(commit);
  }
}
