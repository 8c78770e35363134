import type { Problem } from "../domain/problem.ts";
import { fetchMs, gitLocalMs } from "../limits.ts";
import { type CloneShelf, fetchRevision, findClone } from "./fetch-revision.ts";
import { openAccess } from "./git-access.ts";
import { gitEnvironment, type GitCredentials } from "./git-environment.ts";
import { diagnoseGit } from "./git-problem.ts";
import { refKey, refuseRef } from "./git-ref.ts";
import type { RepositoryUrl } from "./repository-url.ts";
import { runGit } from "./run-git.ts";

export interface RevertRequest {
  readonly repository: RepositoryUrl;
  readonly credentials?: GitCredentials | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The branch that is to be reverted; it is only read. */
  readonly branch: string;
  /** The folder that is to be as it was; "" is all of it. */
  readonly path: string;
  /** As it was then: full hash. */
  readonly revision: string;
  /** The new branch. */
  readonly name: string;
  readonly message: string;
}

/** A commit on top of the branch in which the folder is as it was. */
export interface Reverted {
  readonly base: string;
  readonly commit: string;
  /** As `git am` takes it. */
  readonly patch: string;
  /** Why the new branch could not be pushed; undefined when it is there. */
  readonly problem: Problem | undefined;
}

class Failed extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/**
 * Commits, on top of a branch, a folder as it was at an older revision, and pushes that as a new branch. What else is in the repository stays as it is on
 * the branch. Never pushes to the branch itself, nor over one that is there. Call it for one repository at a time.
 */
export async function revertPath(
  shelf: CloneShelf,
  request: RevertRequest,
): Promise<({ readonly ok: true } & Reverted) | { readonly ok: false; readonly problem: Problem }> {
  const { branch, revision, name, repository, credentials, signal } = request;
  const refused = refuseRef({ branch: name }) ?? (name === branch ? { code: "bad-ref", message: `'${name}' is the branch that the fleet follows` } : undefined);
  if (refused) return { ok: false, problem: refused };
  const refs = [{ branch }, { commit: revision }];
  const fetched = await fetchRevision(shelf, { repository, refs, credentials, signal });
  if (!fetched.ok) return fetched;
  for (const ref of refs) {
    const found = fetched.revisions.get(refKey(ref));
    if (found?.ok === false) return found;
  }
  const tip = fetched.revisions.get(refKey({ branch }));
  const clone = await findClone(shelf, repository.url);
  if (!tip?.ok || !clone) return { ok: false, problem: { code: "unknown-ref", message: `the repository has no branch '${branch}'` } };
  const base = tip.revision.revision;
  const git = async (args: readonly string[], stdin?: string): Promise<string> => {
    const env = { ...gitEnvironment({ gitDir: clone.gitDir }), ...identity };
    const output = await runGit({ args, env, guard: shelf.guard, timeoutMs: gitLocalMs, ...(stdin !== undefined && { stdin }), signal });
    if (!output.ok) throw new Failed(diagnoseGit(output, { folders: [shelf.root], words: [] }).problem);
    return output.stdout;
  };
  try {
    const tree = await treeOf(git, request, base);
    if (tree === (await git(["rev-parse", "--verify", `${base}^{tree}`])).trim())
      throw new Failed({ code: "nothing-to-revert", message: `'${branch}' is what ${revision.slice(0, 12)} was: there is nothing to revert` });
    const commit = (await git(["commit-tree", tree, "-p", base], request.message)).trim();
    const patch = await git(["format-patch", "--stdout", "-1", "--no-signature", "--end-of-options", commit]);
    return { ok: true, base, commit, patch, problem: await push(shelf, clone.gitDir, request, commit) };
  } catch (error) {
    if (error instanceof Failed) return { ok: false, problem: error.problem };
    throw error;
  }
}

/** Who made the commit; the person is in its message. */
const identity = {
  GIT_AUTHOR_NAME: "Flotilla",
  GIT_AUTHOR_EMAIL: "flotilla@localhost",
  GIT_COMMITTER_NAME: "Flotilla",
  GIT_COMMITTER_EMAIL: "flotilla@localhost",
};

/** The branch's tree with the folder of the older revision in place of its own: each tree above it is made anew, the rest is shared. */
async function treeOf(git: (args: readonly string[], stdin?: string) => Promise<string>, { path, revision }: RevertRequest, base: string): Promise<string> {
  if (path === "") return (await git(["rev-parse", "--verify", `${revision}^{tree}`])).trim();
  const [found = ""] = (await git(["ls-tree", "-z", revision, "--", path])).split("\0");
  let entry = found.split("\t")[0] ?? "";
  const names = path.split("/");
  for (let depth = names.length - 1; depth >= 0; depth -= 1) {
    const above = names
      .slice(0, depth)
      .map((name) => `${name}/`)
      .join("");
    const listed = (await git(["ls-tree", "-z", base, ...(above === "" ? [] : ["--", above])])).split("\0").filter((line) => line !== "");
    const others = listed.map((line) => line.replace(`\t${above}`, "\t")).filter((line) => !line.endsWith(`\t${names[depth]}`));
    const lines = entry === "" ? others : [...others, `${entry}\t${names[depth]}`];
    // A folder that is empty is none.
    entry = lines.length === 0 && depth > 0 ? "" : `040000 tree ${(await git(["mktree", "-z"], lines.map((line) => `${line}\0`).join(""))).trim()}`;
  }
  return entry.split(" ")[2] ?? "";
}

async function push(shelf: CloneShelf, gitDir: string, request: RevertRequest, commit: string): Promise<Problem | undefined> {
  const access = await openAccess(shelf.accessFolder, request);
  if (!access.ok) return access.problem;
  try {
    const output = await runGit({
      // Only where there is no such branch yet.
      args: [
        "push",
        "--no-verify",
        `--force-with-lease=refs/heads/${request.name}:`,
        "--end-of-options",
        request.repository.url,
        `${commit}:refs/heads/${request.name}`,
      ],
      env: access.env(gitDir),
      guard: shelf.guard,
      timeoutMs: fetchMs,
      signal: request.signal,
    });
    if (output.ok) return undefined;
    if (/\[rejected\]|stale info|already exists/i.test(output.stderr))
      return { code: "branch-exists", message: `there is a branch '${request.name}' already`, hint: "give another name, or delete it" };
    const { problem } = diagnoseGit(output, { folders: [shelf.root], words: access.secrets });
    return {
      ...problem,
      message: `the branch could not be pushed: ${problem.message}`,
      hint: "give the fleet credentials that may write, or apply the patch by hand: git am",
    };
  } finally {
    await access.close();
  }
}
