import { pathCharsMax, pathDepthMax } from "../limits.ts";

/** Characters that HFS+ leaves out when it compares names: ".g\u200cit" is ".git" there. */
const ignoredByHfs = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/**
 * Why a path from a Git tree is not used, or undefined: it must be plain names, of bounded length and depth, that mean the same on
 * every file system.
 */
export function refusePath(path: string): string | undefined {
  const reason = refuseLength(path);
  if (reason !== undefined) return reason;
  if (path.startsWith("/")) return "its path is absolute";
  return path
    .split("/")
    .map((part) => refuseName(part))
    .find((found) => found !== undefined);
}

/** What the names in a path do not tell. */
export function refuseLength(path: string): string | undefined {
  if (path.length > pathCharsMax) return `its path is longer than ${pathCharsMax} characters`;
  let depth = 1;
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) depth += 1;
  return depth > pathDepthMax ? `it lies deeper than ${pathDepthMax} folders` : undefined;
}

/** Why no path may have this name in it. */
export function refuseName(name: string): string | undefined {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(name)) return "its name holds a control character";
  if (name.includes("\\")) return "its name holds a backslash, which separates folders elsewhere";
  if (name.includes("\ufffd")) return "its name is not UTF-8";
  if (name === "") return "its path has an empty part";
  if (name.includes("/")) return "its name holds a slash, which separates folders";
  if (name === "." || name === "..") return `its path holds '${name}'`;
  if (name.length > 255) return "its name is longer than 255 characters";
  if (isDotGit(name)) return "it is a '.git' of its own, in one of the forms that file systems know";
  return undefined;
}

/** ".git" as HFS+ and NTFS read it: any case, ignored characters, trailing dots and spaces, short name, stream. */
function isDotGit(name: string): boolean {
  const plain = name.replace(ignoredByHfs, "").toLowerCase().split(":")[0] ?? "";
  return /^(\.git|git~\d+)[. ]*$/.test(plain);
}
