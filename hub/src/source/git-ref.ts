import { createHash } from "node:crypto";
import semver from "semver";
import type { Problem } from "../domain/problem.ts";
import { refNameCharsMax } from "../limits.ts";

/** What a fleet follows in its repository; branch "HEAD" is the server's default branch. */
export type GitRef = { readonly branch: string } | { readonly tag: string } | { readonly commit: string } | { readonly semver: string };

/** One text per ref: key of maps over refs. */
export function refKey(ref: GitRef): string {
  const [kind, value] = Object.entries(ref)[0] as [string, string];
  return `${kind}:${value}`;
}

/** Name of our own ref in the clone that holds what a ref of theirs was last seen at. */
export function trackedRef(ref: GitRef): string {
  return `refs/flotilla/tracked/${createHash("sha256").update(refKey(ref)).digest("hex").slice(0, 32)}`;
}

/** Why a ref is refused before Git hears of it; undefined when it is sound. */
export function refuseRef(ref: GitRef): Problem | undefined {
  const kinds = Object.keys(ref);
  if (kinds.length !== 1) return { code: "bad-ref", message: "a fleet follows exactly one of branch, tag, commit and semver" };
  if ("commit" in ref) return refuseCommit(ref.commit);
  if ("semver" in ref) return refuseRange(ref.semver);
  const [kind, name] = Object.entries(ref)[0] as [string, string];
  if (!["branch", "tag"].includes(kind)) return { code: "bad-ref", message: `'${kind}' is not a kind of ref`, hint: "follow a branch, tag, commit or semver" };
  return isRefName(name)
    ? undefined
    : { code: "bad-ref", message: `'${shown(name)}' cannot be the name of a ${kind}`, hint: "see 'git help check-ref-format' for what names may hold" };
}

function refuseCommit(commit: unknown): Problem | undefined {
  if (typeof commit === "string" && isCommitId(commit)) return undefined;
  return {
    code: "bad-ref",
    message: `'${shown(commit)}' is not a full commit hash`,
    hint: "write all 40 hexadecimal digits: a short hash can come to mean another commit",
  };
}

function refuseRange(range: unknown): Problem | undefined {
  if (typeof range === "string" && range.length <= refNameCharsMax && range.trim() !== "" && semver.validRange(range) !== null) return undefined;
  return { code: "bad-ref", message: `'${shown(range)}' is not a semver range`, hint: "write e.g. 1.x, ^1.4.0, ~2.1 or '>=1.0.0 <2.0.0'" };
}

export function isCommitId(text: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

/** The rules of `git check-ref-format`, and no name that begins like an option. */
export function isRefName(name: unknown): boolean {
  if (typeof name !== "string" || name === "" || name === "@" || name.length > refNameCharsMax) return false;
  if (/[\s\p{C}~^:?*[\\]|\.\.|@\{|\/\/|^[-/]|[/.]$/u.test(name)) return false;
  return name.split("/").every((part) => !part.startsWith(".") && !part.endsWith(".lock"));
}

/**
 * The tag of the highest version in a range. `v1.2.3` counts as 1.2.3; prereleases match only where the range names one of the
 * same version (npm's rule). Undefined when none matches.
 */
export function highestTag(tags: Iterable<string>, range: string): string | undefined {
  let best: { tag: string; version: semver.SemVer } | undefined;
  for (const tag of tags) {
    const version = semver.parse(tag.replace(/^v(?=\d)/, ""));
    if (version === null || !semver.satisfies(version, range)) continue;
    // Equal versions (build metadata, with and without 'v') are told apart by name, so that the answer is always the same.
    const order = best === undefined ? 1 : semver.compare(version, best.version) || (tag > best.tag ? 1 : -1);
    if (order > 0) best = { tag, version };
  }
  return best?.tag;
}

/** Whether going from one tag to another goes back. */
export function isOlderTag(tag: string, than: string): boolean {
  const [left, right] = [semver.parse(tag.replace(/^v(?=\d)/, "")), semver.parse(than.replace(/^v(?=\d)/, ""))];
  return left !== null && right !== null && semver.lt(left, right);
}

function shown(text: unknown): string {
  return String(text)
    .replace(/[\s\p{C}]+/gu, " ")
    .slice(0, 80);
}
