import type { Problem } from "../domain/problem.ts";
import { nearestName } from "../domain/nearest-name.ts";
import { highestTag, isCommitId, refKey, type GitRef } from "./git-ref.ts";

/** What `ls-remote` said: full ref name → object id; a tag's peeled commit under "refs/tags/x^{}". */
export type RemoteRefs = ReadonlyMap<string, string>;

/** A ref as the server has it now. */
export interface RemoteTip {
  readonly ref: GitRef;
  /** What is asked for: the commit, or the annotated tag that names it. */
  readonly object: string;
  /** The commit. */
  readonly commit: string;
  /** The tag that a semver range came to. */
  readonly tag?: string;
}

/** What `ls-remote` is asked for: only what is followed. Refs that are commits need no asking. */
export function listPatterns(refs: readonly GitRef[]): string[] {
  const patterns = new Set<string>();
  for (const ref of refs) {
    if ("branch" in ref) patterns.add(branchName(ref.branch));
    else if ("tag" in ref) patterns.add(`refs/tags/${ref.tag}`).add(`refs/tags/${ref.tag}^{}`);
    else if ("semver" in ref) patterns.add("refs/tags/*");
  }
  return [...patterns];
}

/** Full name of a branch at the server; "HEAD" is the one that the server calls its default. */
export function branchName(branch: string): string {
  return branch === "HEAD" ? "HEAD" : `refs/heads/${branch}`;
}

/** "<id>\t<name>" lines; anything else (a banner, a broken server) is left out. */
export function parseRemoteRefs(output: string): RemoteRefs {
  const refs = new Map<string, string>();
  for (const line of output.split("\n")) {
    const tab = line.indexOf("\t");
    const id = line.slice(0, Math.max(0, tab));
    if (isCommitId(id)) refs.set(line.slice(tab + 1), id);
  }
  return refs;
}

/** What a ref is at the server; undefined when it is not there. */
export function findTip(ref: GitRef, remote: RemoteRefs): RemoteTip | undefined {
  if ("commit" in ref) return { ref, object: ref.commit, commit: ref.commit };
  if ("branch" in ref) return tipAt(ref, branchName(ref.branch), remote);
  if ("tag" in ref) return tipAt(ref, `refs/tags/${ref.tag}`, remote);
  const tag = highestTag(tagNames(remote), ref.semver);
  const tip = tag === undefined ? undefined : tipAt(ref, `refs/tags/${tag}`, remote);
  return tip === undefined || tag === undefined ? undefined : { ...tip, tag };
}

function tipAt(ref: GitRef, name: string, remote: RemoteRefs): RemoteTip | undefined {
  const object = remote.get(name);
  return object === undefined ? undefined : { ref, object, commit: remote.get(`${name}^{}`) ?? object };
}

function tagNames(remote: RemoteRefs): string[] {
  return namesUnder(remote, "refs/tags/").filter((name) => !name.endsWith("^{}"));
}

function namesUnder(remote: RemoteRefs, prefix: string): string[] {
  return [...remote.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
}

/** Why a ref is not at the server, seen with all of its branches and tags. */
export function explainMissing(ref: GitRef, remote: RemoteRefs): Problem {
  // Git takes a web page for a repository without refs.
  if (remote.size === 0)
    return {
      code: "empty-repository",
      message: "the repository is empty",
      hint: "push a first commit; if it has some, the address leads to a web page (a sign-in?) instead of the repository",
    };
  const [kind = "", name = ""] = refKey(ref).split(/:(.*)/s);
  const tags = tagNames(remote);
  if (kind === "semver") {
    const versions = tags.filter((tag) => highestTag([tag], ">=0.0.0-0") !== undefined);
    const hint = versions.length === 0 ? "no tag is a version" : `the highest version is ${highestTag(versions, "*") ?? versions.at(-1) ?? ""}`;
    return { code: "unknown-ref", message: `no tag matches the range '${name}'`, hint };
  }
  if (kind === "branch" && name === "HEAD")
    return { code: "unknown-ref", message: "the repository's default branch does not exist", hint: "name a branch, or set the default at the server" };
  const names = kind === "branch" ? namesUnder(remote, "refs/heads/") : tags;
  return { code: "unknown-ref", message: `${kind} '${name}' is not in the repository`, ...hintOf(name, kind, names, remote) };
}

function hintOf(name: string, kind: string, names: readonly string[], remote: RemoteRefs): { hint?: string } {
  const nearest = nearestName(name, names);
  if (nearest !== undefined) return { hint: `did you mean '${nearest}'?` };
  const otherKind = kind === "branch" ? "tag" : "branch";
  if (remote.has(`${otherKind === "tag" ? "refs/tags/" : "refs/heads/"}${name}`)) return { hint: `there is a ${otherKind} of that name` };
  if (names.length === 0) return { hint: `it has no ${kind === "branch" ? "branches" : "tags"}` };
  return { hint: `the ${kind === "branch" ? "branches" : "tags"} are ${names.slice(0, 10).join(", ")}${names.length > 10 ? ", …" : ""}` };
}
