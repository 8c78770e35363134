import type { Problem } from "../domain/problem.ts";
import { cloneBytesMax, cloneSizeCheckMs, fetchMs, listRemoteMs, packsPerCloneMax, rewoundDeepen } from "../limits.ts";
import {
  countPacks,
  createClone,
  discardClone,
  loadNamedRefs,
  loadRefs,
  openClone,
  oversize,
  runLocal,
  settleClone,
  sweepParts,
  type Clone,
  type CommitFacts,
} from "./clone.ts";
import { openAccess } from "./git-access.ts";
import type { GitCredentials } from "./git-environment.ts";
import { diagnoseGit, type GitDiagnosis } from "./git-problem.ts";
import { isOlderTag, refKey, refuseRef, trackedRef, type GitRef } from "./git-ref.ts";
import { branchName, explainMissing, findTip, listPatterns, parseRemoteRefs, type RemoteRefs, type RemoteTip } from "./list-remote.ts";
import type { RepositoryUrl } from "./repository-url.ts";
import { runGit, type GitOutput } from "./run-git.ts";
import { tidyClone } from "./tidy-clone.ts";

/** What a fleet had before: to tell whether its ref went forward. */
export interface PreviousRevision {
  readonly commit: string;
  /** The tag that a semver range came to. */
  readonly tag?: string;
}

export interface FetchRequest {
  readonly repository: RepositoryUrl;
  readonly refs: readonly GitRef[];
  readonly credentials?: GitCredentials | undefined;
  /** By refKey. */
  readonly previous?: ReadonlyMap<string, PreviousRevision> | undefined;
  /** A webhook said that something changed: fetch at once instead of asking first. Saves a round trip when it is true. */
  readonly changeExpected?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Tests lower it. */
  readonly cloneBytesMax?: number | undefined;
}

/** One commit that a ref names now. */
export interface FetchedRevision {
  readonly ref: GitRef;
  /** Full hash of the commit; an annotated tag is peeled. */
  readonly revision: string;
  readonly tree: string;
  readonly author: string;
  readonly subject: string;
  readonly committedAt: Date | null;
  /** The tag that a semver range came to. */
  readonly tag?: string;
  /** The ref went back or aside (force push, moved tag): what was there before is not an ancestor. */
  readonly rewound: boolean;
}

export type RefOutcome = { readonly ok: true; readonly revision: FetchedRevision } | { readonly ok: false; readonly problem: Problem };

/** By refKey: one bad ref does not stop the others. `ok: false` means that the repository as a whole could not be asked. */
export type FetchOutcome = { readonly ok: true; readonly revisions: ReadonlyMap<string, RefOutcome> } | { readonly ok: false; readonly problem: Problem };

/** Clones of one hub process, by URL. */
export interface CloneShelf {
  readonly root: string;
  readonly guard: string;
  /** An empty repository for commands that need no clone yet: Git must not find another one around it. */
  readonly emptyGitDir: string;
  /** Keys of fetches that run. */
  readonly accessFolder: string;
  readonly clones: Map<string, Clone | undefined>;
}

interface Fetch {
  readonly shelf: CloneShelf;
  readonly request: FetchRequest;
  readonly refs: readonly GitRef[];
  readonly env: (gitDir: string) => Record<string, string>;
  readonly secrets: readonly string[];
}

class GitFailed extends Error {
  readonly diagnosis: GitDiagnosis;

  constructor(diagnosis: GitDiagnosis) {
    super(diagnosis.problem.message);
    this.diagnosis = diagnosis;
  }
}

/**
 * Bring the wanted refs of one repository here: ask what they are, fetch what is new, read what was fetched. A poll that finds
 * nothing new costs one `ls-remote`. A clone found damaged is thrown away and made anew, once. Call it for one repository at a time.
 *
 * The first fetch of a ref takes one commit without its history; later ones take what came since, so that the clone grows with what is
 * pushed and still shows whether a new commit descends from the old one.
 *
 * Problem codes: docs/problems.md, "Repositories".
 */
export async function fetchRevision(shelf: CloneShelf, request: FetchRequest): Promise<FetchOutcome> {
  const refused = new Map<string, RefOutcome>();
  const refs: GitRef[] = [];
  for (const ref of request.refs) {
    const problem = refuseRef(ref);
    if (problem === undefined) refs.push(ref);
    else refused.set(refKey(ref), { ok: false, problem });
  }
  const access = await openAccess(shelf.accessFolder, request);
  if (!access.ok) return access;
  try {
    const fetch: Fetch = { shelf, request, refs, env: access.env, secrets: access.secrets };
    const revisions = await fetchTwice(fetch);
    return { ok: true, revisions: new Map([...refused, ...revisions]) };
  } catch (error) {
    if (error instanceof GitFailed) return { ok: false, problem: error.diagnosis.problem };
    return { ok: false, problem: diskProblem(error) };
  } finally {
    await access.close();
  }
}

async function fetchTwice(fetch: Fetch): Promise<ReadonlyMap<string, RefOutcome>> {
  try {
    return await fetchOnce(fetch);
  } catch (error) {
    if (!(error instanceof GitFailed) || !error.diagnosis.damaged) throw error;
    await dropClone(fetch.shelf, fetch.request.repository.url);
    return await fetchOnce(fetch);
  }
}

async function fetchOnce(fetch: Fetch): Promise<ReadonlyMap<string, RefOutcome>> {
  const known = await findClone(fetch.shelf, fetch.request.repository.url);
  if (known !== undefined) touchRefs(known, fetch.refs);
  if (known !== undefined && fetch.request.changeExpected === true) {
    const outcome = await fetchByName(fetch, known);
    if (outcome !== undefined) return outcome;
  }
  const { tips, missing } = await findTips(fetch, known);
  const clone = known ?? (await newClone(fetch, tips));
  try {
    if (clone !== undefined) await fetchTips(fetch, clone, tips, missing);
  } catch (error) {
    // A clone that never got its first commit is nobody's; what is left of a broken fetch in a good one is swept away.
    if (known === undefined && clone !== undefined) await discardClone(clone);
    else if (clone !== undefined) await sweepParts(clone.gitDir);
    throw error;
  }
  if (clone === undefined) return missing;
  return new Map([...missing, ...(await describeTips(fetch, clone, tips, missing))]);
}

/** The refs that are followed stand last in the map: tidying forgets from its beginning. */
function touchRefs(clone: Clone, refs: readonly GitRef[]): void {
  for (const name of refs.map(trackedRef)) {
    const commit = clone.refs.get(name);
    if (commit === undefined) continue;
    clone.refs.delete(name);
    clone.refs.set(name, commit);
  }
}

/** Branches and tags by their names, without asking first. Undefined when that is not the way (other kinds of ref, a ref that is gone). */
async function fetchByName(fetch: Fetch, clone: Clone): Promise<ReadonlyMap<string, RefOutcome> | undefined> {
  if (fetch.refs.some((ref) => !("branch" in ref || "tag" in ref) || !clone.refs.has(trackedRef(ref)))) return undefined;
  const stamp = String(Date.now()).padStart(13, "0");
  const refspecs = fetch.refs.flatMap((ref, index) => {
    const name = "branch" in ref ? branchName(ref.branch) : `refs/tags/${"tag" in ref ? ref.tag : ""}`;
    return [`+${name}:${trackedRef(ref)}`, `+${name}:refs/flotilla/seen/${stamp}-${index}`];
  });
  const output = await runRemote(fetch, clone.gitDir, [...fetchArgs, "--end-of-options", fetch.request.repository.url, ...refspecs], fetchMs);
  if (!output.ok) {
    await sweepParts(clone.gitDir);
    const { problem } = diagnose(fetch, output);
    // Whatever went wrong, asking first finds out with better words; only what would fail the same way ends here.
    if (["unknown-ref", "clone-damaged", "git-failed", "object-refused"].includes(problem.code)) return undefined;
    throw new GitFailed(diagnose(fetch, output));
  }
  const named = [...fetch.refs.map(trackedRef), ...fetch.refs.map((_ref, index) => `refs/flotilla/seen/${stamp}-${index}`)];
  if (!(await loadNamedRefs(clone, named))) must(fetch, await loadRefs(clone, ...named));
  const tips = fetch.refs.flatMap((ref) => {
    const commit = clone.refs.get(trackedRef(ref));
    return commit === undefined ? [] : [{ ref, object: commit, commit }];
  });
  if (tips.length < fetch.refs.length) return undefined;
  return await describeTips(fetch, clone, tips, new Map());
}

interface FoundTips {
  readonly tips: readonly RemoteTip[];
  readonly missing: Map<string, RefOutcome>;
}

async function findTips(fetch: Fetch, known: Clone | undefined): Promise<FoundTips> {
  const patterns = listPatterns(fetch.refs);
  // Pinned commits never change: once here, the server need not be asked.
  const remote: RemoteRefs = patterns.length === 0 ? new Map() : await listRemote(fetch, known, patterns);
  const tips: RemoteTip[] = [];
  const lost: GitRef[] = [];
  for (const ref of fetch.refs) {
    const tip = findTip(ref, remote);
    if (tip === undefined) lost.push(ref);
    else tips.push(tip);
  }
  const all = lost.length === 0 ? remote : await listRemote(fetch, known, ["refs/heads/*", "refs/tags/*"]);
  const missing = new Map<string, RefOutcome>(lost.map((ref) => [refKey(ref), { ok: false, problem: explainMissing(ref, all) }]));
  return { tips, missing };
}

async function listRemote(fetch: Fetch, known: Clone | undefined, patterns: readonly string[]): Promise<RemoteRefs> {
  const gitDir = known?.gitDir ?? fetch.shelf.emptyGitDir;
  const output = await runRemote(fetch, gitDir, ["ls-remote", "--end-of-options", fetch.request.repository.url, ...patterns], listRemoteMs);
  return parseRemoteRefs(must(fetch, output));
}

const fetchArgs = ["fetch", "--atomic", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--no-show-forced-updates"];

/** Fetch the tips that are not here, and name each by our own refs: what is tracked, and what was seen. */
async function fetchTips(fetch: Fetch, clone: Clone, tips: readonly RemoteTip[], missing: Map<string, RefOutcome>): Promise<void> {
  const moved = tips.filter(({ ref, commit }) => clone.refs.get(trackedRef(ref)) !== commit || !clone.facts.has(commit));
  if (moved.length === 0) return;
  const here = moved.filter(({ commit }) => clone.facts.has(commit));
  const away = moved.filter(({ commit }) => !clone.facts.has(commit));
  // Refs that were followed before come with what is new since; new ones come alone, without history.
  const followed = away.filter(({ ref }) => clone.refs.has(trackedRef(ref)));
  const first = away.filter(({ ref }) => !clone.refs.has(trackedRef(ref)));
  await fetchObjects(fetch, clone, followed, [], missing);
  await fetchObjects(fetch, clone, first, ["--depth=1"], missing);
  if (here.length > 0) await nameHere(fetch, clone, here);
  must(fetch, await loadRefs(clone, "refs/flotilla/"));
  await settleClone(clone);
  if ((await countPacks(clone.gitDir)) > packsPerCloneMax * 4) await tidyClone(clone, fetch.request.signal);
}

async function fetchObjects(fetch: Fetch, clone: Clone, tips: readonly RemoteTip[], depth: readonly string[], missing: Map<string, RefOutcome>): Promise<void> {
  if (tips.length === 0) return;
  const stamp = String(Date.now()).padStart(13, "0");
  const refspecs = tips.flatMap(({ ref, object }) => [`+${object}:${trackedRef(ref)}`, `+${object}:refs/flotilla/seen/${stamp}-${object}`]);
  const output = await runRemote(
    fetch,
    clone.gitDir,
    [...fetchArgs, ...depth, "--end-of-options", fetch.request.repository.url, ...new Set(refspecs)],
    fetchMs,
  );
  if (output.ok) return;
  const diagnosis = diagnose(fetch, output);
  if (diagnosis.problem.code !== "unknown-ref") throw new GitFailed(diagnosis);
  // One unknown commit fails the whole command: find out which it is.
  await sweepParts(clone.gitDir);
  if (tips.length > 1) {
    for (const tip of tips) await fetchObjects(fetch, clone, [tip], depth, missing);
    return;
  }
  for (const { ref, commit } of tips) {
    missing.set(refKey(ref), {
      ok: false,
      problem: { code: "unknown-ref", message: `commit ${commit} is not in the repository`, hint: "it may have been removed by a force push" },
    });
  }
}

/** A ref that came to a commit which is here already: only our names for it change. */
async function nameHere(fetch: Fetch, clone: Clone, tips: readonly RemoteTip[]): Promise<void> {
  const stamp = String(Date.now()).padStart(13, "0");
  const lines = tips.flatMap(({ ref, commit }) => [`update ${trackedRef(ref)} ${commit}\n`, `update refs/flotilla/seen/${stamp}-${commit} ${commit}\n`]);
  must(fetch, await runLocal(clone, ["update-ref", "--stdin"], { stdin: [...new Set(lines)].join(""), signal: fetch.request.signal }));
}

async function newClone(fetch: Fetch, tips: readonly RemoteTip[]): Promise<Clone | undefined> {
  const [tip] = tips;
  if (tip === undefined) return undefined;
  const clone = await createClone(fetch.shelf.root, fetch.request.repository.url, fetch.shelf.guard, tip.object.length === 64 ? "sha256" : "sha1");
  fetch.shelf.clones.set(fetch.request.repository.url, clone);
  return clone;
}

async function describeTips(
  fetch: Fetch,
  clone: Clone,
  tips: readonly RemoteTip[],
  missing: ReadonlyMap<string, RefOutcome>,
): Promise<Map<string, RefOutcome>> {
  const outcomes = new Map<string, RefOutcome>();
  for (const tip of tips) {
    const key = refKey(tip.ref);
    if (missing.has(key)) continue;
    const facts = clone.facts.get(tip.commit);
    if (facts === undefined)
      outcomes.set(key, {
        ok: false,
        problem: {
          code: "not-a-commit",
          message: `${key.replace(":", " '")}' does not name a commit`,
          hint: "it names a file or a folder of Git's; point it at a commit",
        },
      });
    else outcomes.set(key, { ok: true, revision: describe(tip, facts, await isRewound(fetch, clone, tip)) });
  }
  return outcomes;
}

function describe(tip: RemoteTip, facts: CommitFacts, rewound: boolean): FetchedRevision {
  const { tree, author, subject, committedAt } = facts;
  return { ref: tip.ref, revision: facts.commit, tree, author, subject, committedAt, ...(tip.tag === undefined ? {} : { tag: tip.tag }), rewound };
}

/** A branch or tag is rewound when its new commit does not descend from the old one; a range, when it goes to a lower version or its tag moved. */
async function isRewound(fetch: Fetch, clone: Clone, tip: RemoteTip): Promise<boolean> {
  const previous = fetch.request.previous?.get(refKey(tip.ref));
  if (previous === undefined || previous.commit === tip.commit || "commit" in tip.ref) return false;
  if (tip.tag !== undefined) return previous.tag !== undefined && (previous.tag === tip.tag || isOlderTag(tip.tag, previous.tag));
  if (await descends(clone, tip.commit, previous.commit)) return false;
  // The clone may have been made anew, or begin at the new commit: look further back once, so far as the server helps.
  const deeper = await runRemote(
    fetch,
    clone.gitDir,
    [...fetchArgs, `--deepen=${rewoundDeepen}`, "--end-of-options", fetch.request.repository.url, tip.object],
    fetchMs,
  );
  return !(deeper.ok && (await descends(clone, tip.commit, previous.commit)));
}

async function descends(clone: Clone, commit: string, from: string): Promise<boolean> {
  // What a push mostly is needs no process.
  if (clone.facts.get(commit)?.parents.includes(from) === true) return true;
  const output = await runLocal(clone, ["rev-list", "--count", "--max-count=1", "--end-of-options", from, `^${commit}`]);
  return output.ok && output.stdout.trim() === "0";
}

/** The repository's clone in this process; opened from disk when this process has not seen it yet. */
export async function findClone(shelf: CloneShelf, url: string): Promise<Clone | undefined> {
  const held = shelf.clones.get(url);
  if (held?.current === true) return held;
  const opened = await openClone(shelf.root, url, shelf.guard);
  shelf.clones.set(url, opened);
  return opened;
}

/** Throw a repository's clone away; the next fetch makes it anew. */
export async function dropClone(shelf: CloneShelf, url: string): Promise<void> {
  const clone = shelf.clones.get(url);
  shelf.clones.delete(url);
  if (clone !== undefined) await discardClone(clone);
}

async function runRemote(fetch: Fetch, gitDir: string, args: readonly string[], timeoutMs: number): Promise<GitOutput> {
  const bytesMax = fetch.request.cloneBytesMax ?? cloneBytesMax;
  return runGit({
    args,
    env: fetch.env(gitDir),
    guard: fetch.shelf.guard,
    timeoutMs,
    signal: fetch.request.signal,
    watch: { everyMs: cloneSizeCheckMs, tooBig: () => oversize(gitDir, bytesMax) },
  });
}

function must(fetch: Fetch, output: GitOutput): string {
  if (output.ok) return output.stdout;
  throw new GitFailed(diagnose(fetch, output));
}

function diagnose(fetch: Fetch, failure: Extract<GitOutput, { ok: false }>): GitDiagnosis {
  const diagnosis = diagnoseGit(failure, { folders: [fetch.shelf.root], words: fetch.secrets });
  if (diagnosis.problem.code !== "auth-refused" || fetch.request.credentials !== undefined) return diagnosis;
  return { ...diagnosis, problem: { ...diagnosis.problem, message: "the server asks for credentials and none were given" } };
}

/** What the file system says when Git was not even asked. */
function diskProblem(error: unknown): Problem {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOSPC" || code === "EDQUOT")
    return { code: "disk-full", message: "the hub's disk is full", hint: "free space in the hub's data folder; the last good revision stays" };
  return {
    code: "git-failed",
    message: `the clone's folder cannot be used (${code ?? "unexpected error"})`,
    hint: "check the hub's data folder and its owner",
  };
}
