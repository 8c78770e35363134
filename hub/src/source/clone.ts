import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cloneBytesMax, gitLocalMs, openTreesPerClone } from "../limits.ts";
import { gitEnvironment } from "./git-environment.ts";
import { type ListedTree, nothingListed } from "./list-tree.ts";
import { type CommitText, DamagedObjectError, LargeObjectError, ObjectReader } from "./object-reader.ts";
import { runGit, type GitOutput } from "./run-git.ts";

/** What is known of one commit. */
export interface CommitFacts {
  readonly commit: string;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: string;
  readonly subject: string;
  readonly committedAt: Date | null;
}

/** One bare clone: a folder of Git's, and what we remember of it while the process lives. */
export interface Clone {
  readonly url: string;
  /** Where all of this repository's clones lie. */
  readonly home: string;
  readonly gitDir: string;
  readonly guard: string;
  readonly reader: ObjectReader;
  /** Our own refs: full name → commit. */
  readonly refs: Map<string, string>;
  readonly facts: Map<string, CommitFacts>;
  /** Trees that are open, oldest first. */
  readonly trees: Map<string, Promise<unknown>>;
  /** What the tree opened last is made of: the next one has most of it. */
  listed: ListedTree;
  /** False until a fetch succeeded and `current` names this folder. */
  current: boolean;
}

/** A repository's folder under the hub's: named by its URL's hash, since URLs are not file names. */
export function cloneHome(root: string, url: string): string {
  return join(root, createHash("sha256").update(url).digest("hex").slice(0, 32));
}

/**
 * Open the clone that `current` names, or undefined when there is none that can be used. Whatever else lies there was left by a
 * crash (or belongs to a Git that outlived one, which then writes where nobody looks) and is removed.
 */
export async function openClone(root: string, url: string, guard: string): Promise<Clone | undefined> {
  const home = cloneHome(root, url);
  await mkdir(home, { recursive: true, mode: 0o700 });
  const name = await readFile(join(home, "current"), "utf8").catch(() => "");
  await sweep(home, name);
  if (!/^clone-[0-9a-f]{16}$/.test(name)) return undefined;
  const clone = cloneAt(url, home, name, guard, true);
  const loaded = await loadRefs(clone, "refs/flotilla/");
  if (!loaded.ok) {
    await discardClone(clone);
    return undefined;
  }
  await sweepParts(clone.gitDir);
  return clone;
}

/** A new, empty clone beside the current one; it takes the current one's place by `settleClone`. */
export async function createClone(root: string, url: string, guard: string, hash: "sha1" | "sha256"): Promise<Clone> {
  const home = cloneHome(root, url);
  await mkdir(home, { recursive: true, mode: 0o700 });
  const clone = cloneAt(url, home, `clone-${randomBytes(8).toString("hex")}`, guard, false);
  await writeEmptyRepository(clone.gitDir, hash);
  return clone;
}

/** A bare repository written by hand rather than by `git init`: no template, no hooks, and the hash that the server uses. */
export async function writeEmptyRepository(gitDir: string, hash: "sha1" | "sha256"): Promise<void> {
  for (const folder of ["objects/info", "objects/pack", "refs/heads", "info"]) await mkdir(join(gitDir, folder), { recursive: true, mode: 0o700 });
  const format =
    hash === "sha256" ? "repositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = sha256\n" : "repositoryformatversion = 0\n\tbare = true\n";
  await writeFile(join(gitDir, "config"), `[core]\n\t${format}`);
  await writeFile(join(gitDir, "HEAD"), "ref: refs/heads/unborn\n");
}

/** Make a clone the current one, in one rename. */
export async function settleClone(clone: Clone): Promise<void> {
  if (clone.current) return;
  const part = join(clone.home, `current.${randomBytes(4).toString("hex")}`);
  await writeFile(part, clone.gitDir.slice(clone.home.length + 1));
  await rename(part, join(clone.home, "current"));
  clone.current = true;
}

/** Throw a clone away: from now on nothing finds it, and its space comes back. */
export async function discardClone(clone: Clone): Promise<void> {
  clone.reader.close();
  if (clone.current) await rm(join(clone.home, "current"), { force: true });
  clone.current = false;
  await rm(clone.gitDir, { recursive: true, force: true });
}

/** Run a Git command in a clone that asks no server. */
export function runLocal(
  clone: Clone,
  args: readonly string[],
  options: { stdin?: string; timeoutMs?: number; signal?: AbortSignal | undefined } = {},
): Promise<GitOutput> {
  return runGit({
    args,
    env: gitEnvironment({ gitDir: clone.gitDir }),
    guard: clone.guard,
    timeoutMs: options.timeoutMs ?? gitLocalMs,
    ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
    signal: options.signal,
  });
}

const factsFormat = ["%(refname)", "%(objectname)", "%(tree)", "%(parent)", "%(authorname) %(authoremail)", "%(committerdate:unix)", "%(subject)"];
const peeledFormat = ["%(*objectname)", "%(*tree)", "%(*parent)", "%(*authorname) %(*authoremail)", "%(*committerdate:unix)", "%(*subject)"];

/** Read our refs and the commits that they name, annotated tags peeled, into memory. Refs to anything but commits are left out. */
export async function loadRefs(clone: Clone, ...patterns: readonly string[]): Promise<GitOutput> {
  const format = [...factsFormat, ...peeledFormat].join("%1f");
  const output = await runLocal(clone, ["for-each-ref", `--format=${format}`, "--end-of-options", ...patterns]);
  if (!output.ok) return output;
  for (const line of output.stdout.split("\n")) {
    const [ref = "", ...fields] = line.split("\u001f");
    const facts = readFacts(fields.slice(6)) ?? readFacts(fields.slice(0, 6));
    if (facts !== undefined) remember(clone, ref, facts);
  }
  return output;
}

/**
 * loadRefs for single refs, without starting a process: in the path of every push.
 *
 * @returns false when that was not the way: one of them is not there, or the clone could not be read.
 */
export async function loadNamedRefs(clone: Clone, names: readonly string[]): Promise<boolean> {
  try {
    const commits = await clone.reader.readCommits(names);
    const facts = commits.map((commit) => (commit === undefined ? undefined : factsOf(commit)));
    if (facts.includes(undefined)) return false;
    for (const [index, name] of names.entries()) remember(clone, name, facts[index] as CommitFacts);
    return true;
  } catch (error) {
    if (error instanceof DamagedObjectError || error instanceof LargeObjectError) return false;
    throw error;
  }
}

function remember(clone: Clone, ref: string, facts: CommitFacts): void {
  clone.refs.set(ref, facts.commit);
  clone.facts.set(facts.commit, facts);
}

/** The lines above a commit's message, and the first paragraph of that. */
function factsOf({ id, text }: CommitText): CommitFacts | undefined {
  const end = text.indexOf("\n\n");
  const lines = (end < 0 ? text : text.slice(0, end)).split("\n");
  const message = end < 0 ? "" : text.slice(end + 2).replace(/^\n+/, "");
  const written = (word: string): string[] => lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  const signed = /^(.*?) ?(-?\d+) [+-]\d+$/;
  const [author = ""] = written("author").map((line) => signed.exec(line)?.[1] ?? line);
  const [seconds = ""] = written("committer").map((line) => signed.exec(line)?.[2] ?? "");
  const [subject = ""] = message.split(/\n\s*\n/);
  return readFacts([id, written("tree")[0] ?? "", written("parent").join(" "), author, seconds, subject.replaceAll("\n", " ")]);
}

function readFacts([commit = "", tree = "", parents = "", author = "", seconds = "", subject = ""]: readonly string[]): CommitFacts | undefined {
  if (commit === "" || tree === "") return undefined;
  const committedAt = seconds === "" ? null : new Date(Number(seconds) * 1_000);
  return {
    commit,
    tree,
    parents: parents === "" ? [] : parents.split(" "),
    author: oneLine(author),
    subject: oneLine(subject),
    committedAt: committedAt === null || Number.isNaN(committedAt.getTime()) ? null : committedAt,
  };
}

function oneLine(text: string): string {
  return text
    .replace(/\p{C}+/gu, " ")
    .trim()
    .slice(0, 200);
}

/** "12 GiB" when a clone takes more than it may; measured by its packs, since nothing is unpacked. */
export async function oversize(gitDir: string, bytesMax = cloneBytesMax): Promise<string | undefined> {
  const folder = join(gitDir, "objects", "pack");
  const names = await readdir(folder).catch(() => []);
  let bytes = 0;
  for (const name of names)
    bytes += await stat(join(folder, name)).then(
      (found) => found.size,
      () => 0,
    );
  return bytes > bytesMax ? `${Math.ceil(bytes / 1024 ** 2)} MiB` : undefined;
}

/** Number of packs; each fetch adds one. */
export async function countPacks(gitDir: string): Promise<number> {
  const names = await readdir(join(gitDir, "objects", "pack")).catch(() => []);
  return names.filter((name) => name.endsWith(".pack")).length;
}

/** Keep a map of promises to the newest few. */
export function forgetOldTrees(clone: Clone): void {
  while (clone.trees.size > openTreesPerClone) clone.trees.delete(clone.trees.keys().next().value as string);
}

function cloneAt(url: string, home: string, name: string, guard: string, current: boolean): Clone {
  const gitDir = join(home, name);
  const reader = new ObjectReader(gitEnvironment({ gitDir }));
  return { url, home, gitDir, guard, reader, refs: new Map(), facts: new Map(), trees: new Map(), listed: nothingListed, current };
}

async function sweep(home: string, current: string): Promise<void> {
  for (const name of await readdir(home)) {
    if (name !== "current" && name !== current) await rm(join(home, name), { recursive: true, force: true });
  }
}

/** What a killed Git leaves: half packs, and locks that would stop the next one. */
export async function sweepParts(gitDir: string): Promise<void> {
  const packs = join(gitDir, "objects", "pack");
  for (const name of await readdir(packs).catch(() => [])) {
    if (/^(tmp_|\.tmp-)/.test(name)) await rm(join(packs, name), { force: true });
  }
  for (const name of await readdir(gitDir).catch(() => [])) {
    if (name.endsWith(".lock")) await rm(join(gitDir, name), { force: true });
  }
  const refs = join(gitDir, "refs");
  for (const name of await readdir(refs, { recursive: true }).catch(() => [])) {
    if (name.endsWith(".lock")) await rm(join(refs, name), { force: true });
  }
}
