import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Problem } from "../domain/problem.ts";
import { tidyAfterMs } from "../limits.ts";
import { writeEmptyRepository } from "./clone.ts";
import { dropClone, fetchRevision, findClone, type CloneShelf, type FetchOutcome, type FetchRequest } from "./fetch-revision.ts";
import { refKey } from "./git-ref.ts";
import { writeGitGuard } from "./git-guard.ts";
import { readFleetTree, type OpenedTree } from "./read-fleet-tree.ts";
import { parseRepositoryUrl, type RepositoryUrlOptions } from "./repository-url.ts";
import { revertPath, type RevertRequest } from "./revert-path.ts";
import { tidyClone } from "./tidy-clone.ts";

export interface SourceOptions extends RepositoryUrlOptions {
  /** Folder for the clones; this process's alone. */
  readonly root: string;
  /** A clone is tidied this long after a fetch, so that the push which caused it does not wait. */
  readonly tidyAfterMs?: number;
}

/** What a fetch needs when a commit is not here yet. */
export type TreeAccess = Pick<FetchRequest, "credentials" | "signal">;

/** Git repositories, as the hub's stories use them. */
export interface GitSource {
  /**
   * Bring the wanted refs of a repository here. Fetches of one repository wait for each other. Never throws on what a
   * person, a server or a disk can do: see FetchOutcome.
   */
  fetchRevision(request: Omit<FetchRequest, "repository"> & { readonly url: string }): Promise<FetchOutcome>;
  /**
   * A commit as a tree. One that is not here (a replica that took over, a clone that was made anew) or that is damaged is fetched,
   * once, with the given access. Reads of the tree throw RefusedPathError (domain/source-tree.ts) or DamagedCloneError: then call
   * `forget` and open again.
   */
  openTree(url: string, revision: string, access?: TreeAccess): Promise<OpenedTree>;
  /** A commit on a new branch in which a folder is as it was: see revertPath. */
  revertPath(request: Omit<RevertRequest, "repository"> & { readonly url: string }): ReturnType<typeof revertPath>;
  /** Throw a repository's clone away: nobody follows it any more, or it is damaged. */
  forget(url: string): Promise<void>;
  /** Ends the processes that read blobs. Fetches are ended by their signals. */
  close(): Promise<void>;
}

/** Prepare the folder of the clones and return what works on them. Clones of an earlier process are used again. */
export async function openSource(options: SourceOptions): Promise<GitSource> {
  const { root } = options;
  const shelf: CloneShelf = { root, guard: "", emptyGitDir: join(root, "empty"), accessFolder: join(root, "access"), clones: new Map() };
  // Keys that a crash left behind.
  await rm(shelf.accessFolder, { recursive: true, force: true });
  await mkdir(shelf.accessFolder, { recursive: true, mode: 0o700 });
  await writeEmptyRepository(shelf.emptyGitDir, "sha1");
  return new Source({ ...shelf, guard: await writeGitGuard(root) }, options);
}

class Source implements GitSource {
  readonly #shelf: CloneShelf;
  readonly #options: SourceOptions;
  /** The last work begun on each repository: the next one follows it. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #tidying = new Map<string, NodeJS.Timeout>();
  readonly #closed = new AbortController();

  constructor(shelf: CloneShelf, options: SourceOptions) {
    this.#shelf = shelf;
    this.#options = options;
  }

  async fetchRevision({ url, ...request }: Omit<FetchRequest, "repository"> & { readonly url: string }): Promise<FetchOutcome> {
    const parsed = parseRepositoryUrl(url, this.#options);
    if (!parsed.ok) return parsed;
    const { repository } = parsed;
    const outcome = await this.#inTurn(repository.url, () => fetchRevision(this.#shelf, { ...request, repository }));
    if (outcome.ok) this.#tidyLater(repository.url);
    return outcome;
  }

  async openTree(url: string, revision: string, access: TreeAccess = {}): Promise<OpenedTree> {
    const parsed = parseRepositoryUrl(url, this.#options);
    if (!parsed.ok) return { ...parsed, damaged: false };
    const { repository } = parsed;
    // What is here is read at once, also while a fetch or tidying goes on.
    if (this.#shelf.clones.get(repository.url)?.current === true) {
      const opened = await this.#openHere(repository.url, revision);
      if (opened.ok) return opened;
    }
    return await this.#inTurn(repository.url, async () => {
      const opened = await this.#openHere(repository.url, revision);
      if (opened.ok || !(opened.damaged || opened.problem.code === "revision-not-here")) return opened;
      const ref = { commit: revision };
      const outcome = await fetchRevision(this.#shelf, { ...access, repository, refs: [ref] });
      if (!outcome.ok) return { ...outcome, damaged: false };
      const found = outcome.revisions.get(refKey(ref));
      return found?.ok === false ? { ...found, damaged: false } : await this.#openHere(repository.url, revision);
    });
  }

  async revertPath({ url, ...request }: Omit<RevertRequest, "repository"> & { readonly url: string }): ReturnType<typeof revertPath> {
    const parsed = parseRepositoryUrl(url, this.#options);
    if (!parsed.ok) return parsed;
    const { repository } = parsed;
    return await this.#inTurn(repository.url, () => revertPath(this.#shelf, { ...request, repository }));
  }

  async #openHere(url: string, revision: string): Promise<OpenedTree> {
    const clone = await findClone(this.#shelf, url);
    if (clone === undefined) return notHere(revision);
    const opened = await readFleetTree(clone, revision);
    if (!opened.ok && opened.damaged) await dropClone(this.#shelf, url);
    return opened;
  }

  async forget(url: string): Promise<void> {
    const parsed = parseRepositoryUrl(url, this.#options);
    if (!parsed.ok) return;
    await this.#inTurn(parsed.repository.url, async () => {
      await findClone(this.#shelf, parsed.repository.url);
      await dropClone(this.#shelf, parsed.repository.url);
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const timer of this.#tidying.values()) clearTimeout(timer);
    await Promise.allSettled(this.#turns.values());
    for (const clone of this.#shelf.clones.values()) clone?.reader.close();
  }

  #tidyLater(url: string): void {
    if (this.#closed.signal.aborted || this.#tidying.has(url)) return;
    const tidy = async (): Promise<void> => {
      this.#tidying.delete(url);
      const clone = this.#shelf.clones.get(url);
      if (clone?.current === true) await tidyClone(clone, this.#closed.signal);
    };
    const timer = setTimeout(() => void this.#inTurn(url, tidy).catch(() => undefined), this.#options.tidyAfterMs ?? tidyAfterMs);
    this.#tidying.set(url, timer.unref());
  }

  async #inTurn<T>(url: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(url) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#turns.set(url, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(url) === turn) this.#turns.delete(url);
    }
  }
}

function notHere(revision: string): OpenedTree {
  const problem: Problem = {
    code: "revision-not-here",
    message: `commit ${revision.slice(0, 64)} is not in the hub's copy of the repository`,
    hint: "it is fetched when a fleet follows it",
  };
  return { ok: false, problem, damaged: false };
}
