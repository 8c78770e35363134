import type { Problem } from "../domain/problem.ts";
import type { GitOutput } from "./run-git.ts";

type GitFailure = Extract<GitOutput, { ok: false }>;

/** What a failed Git command means for its caller. */
export interface GitDiagnosis {
  readonly problem: Problem;
  /** The clone itself is broken: throw it away and make it anew. */
  readonly damaged: boolean;
}

interface Rule {
  readonly pattern: RegExp;
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly damaged?: true;
}

/** First match wins: causes stand before the consequences that Git prints after them. */
const rules: readonly Rule[] = [
  {
    pattern: /No space left on device|Disk quota exceeded/i,
    code: "disk-full",
    message: "the hub's disk is full",
    hint: "free space in the hub's data folder; the last good revision stays",
  },
  {
    pattern: /File too large|File size limit exceeded|out of memory|Cannot allocate memory|mmap failed/i,
    code: "repository-too-big",
    message: "the repository is larger than the hub takes",
    hint: "keep large files out of the repository (packages belong in a registry)",
  },
  {
    pattern: /Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key is known|host key .*(differs|changed)/i,
    code: "host-key",
    message: "the SSH server's host key is not among the known hosts given for this repository",
    hint: "check the key with the server's owner, then give it: ssh-keyscan HOST",
  },
  {
    pattern: /invalid format|error in libcrypto|incorrect passphrase|bad permissions/i,
    code: "auth-refused",
    message: "the SSH key cannot be read",
    hint: "give an OpenSSH private key without a passphrase",
  },
  {
    pattern: /returned error: 30\d|unable to update url base from redirection|redirect/i,
    code: "repository-moved",
    message: "the server answers with a redirect, which is not followed: it could carry the credentials elsewhere",
    hint: "use the final URL; on GitLab it ends in .git",
  },
  {
    pattern:
      /Authentication failed|could not read (Username|Password)|terminal prompts disabled|returned error: 40[13]|HTTP 40[13]|Permission denied|Access denied|invalid credentials|publickey/i,
    code: "auth-refused",
    message: "the server refused the credentials",
    hint: "give a token or key that may read this repository (fleet create --password-stdin, --ssh-key); it may have expired or been revoked",
  },
  {
    pattern:
      /repository '.*' not found|Repository not found|returned error: 404|does not appear to be a git repository|project you were looking for could not be found/i,
    code: "repository-not-found",
    message: "the server has no such repository, or does not show it to these credentials",
    hint: "check the URL; for a private repository give a token or key",
  },
  {
    pattern: /SSL certificate problem|certificate verif|unable to get local issuer|SSL_ERROR|gnutls|OpenSSL.*alert|SSL peer|SSL: no alternative/i,
    code: "tls-refused",
    message: "the server's certificate is not trusted",
    hint: "for a company's own authority, start the hub with GIT_SSL_CAINFO=/path/ca.pem",
  },
  { pattern: /early EOF|RPC failed|unexpected disconnect/i, code: "connection-cut", message: "the connection broke off in the middle" },
  {
    pattern: /Could not resolve (host|hostname|proxy)|Name or service not known|Temporary failure in name resolution/i,
    code: "unreachable",
    message: "the server's name cannot be resolved",
    hint: "check the URL and the hub's DNS",
  },
  {
    pattern:
      /Failed to connect|Couldn't connect|Connection refused|Connection timed out|timed out|Network is unreachable|No route to host|Connection closed by remote|Connection reset|Empty reply|banner exchange/i,
    code: "unreachable",
    message: "the server cannot be reached",
    hint: "check the address and the way there (proxy, firewall)",
  },
  { pattern: /returned error: 5\d\d|returned error: 429/i, code: "unreachable", message: "the server answers with an error of its own" },
  { pattern: /Operation too slow|less than \d+ bytes\/sec/i, code: "git-timeout", message: "the server stopped sending" },
  {
    pattern: /not our ref|unadvertised object|couldn't find remote ref|no such remote ref/i,
    code: "unknown-ref",
    message: "the server does not have this commit or ref",
  },
  {
    pattern: /fsck error|error in object|badTree|hasDot|hasNullSha1|gitmodules/i,
    code: "object-refused",
    message: "the repository holds an object that Git's checks refuse",
    hint: "'git fsck' in the repository names it",
  },
  {
    pattern:
      /\.lock'?: File exists|not a git repository|(loose|packed) object .*corrupt|is corrupt|object file .* is empty|bad object|unable to read (tree|sha1|[0-9a-f]{40})|unable to parse object|did not match index|data stream error|packfile .* (invalid|cannot be accessed|is far too short)|missing (blob|tree|commit)|bad config|index file .* (is too small|corrupt)|invalid sha1 pointer|bad signature|shallow file has changed/i,
    code: "clone-damaged",
    message: "the hub's copy of the repository is damaged; it is being made anew",
    damaged: true,
  },
  {
    pattern:
      /did not send all necessary objects|Could not read from remote repository|hung up|index-pack|bad line length|protocol error|bad pack header|unexpected flush|invalid content|valid git service|expected .* got/i,
    code: "connection-cut",
    message: "the connection broke off, or the server does not speak Git",
  },
];

/** What a failed command means, in words for people. Detail lines are Git's own, without the hub's paths and without secrets. */
export function diagnoseGit(failure: GitFailure, secrets: Secrets): GitDiagnosis {
  if (failure.stopped === "timeout") return plain("git-timeout", "Git did not end in time and was stopped", "the server may be overloaded or the line slow");
  if (failure.stopped === "aborted") return plain("git-stopped", "Git was stopped because the hub ends or lost its lease");
  if (failure.stopped === "too-big")
    return plain(
      "repository-too-big",
      "the server sends more than the hub takes, and was stopped",
      "keep large files out of the repository (packages belong in a registry)",
    );
  if (failure.exitCode === 127 || /spawn \S+ ENOENT/.test(failure.stderr))
    return plain("git-missing", "Git cannot be started on the hub's machine", "install git 2.31 or newer");
  const rule = rules.find(({ pattern }) => pattern.test(failure.stderr));
  const detail = detailOf(failure.stderr, secrets);
  if (rule === undefined) return plain("git-failed", detail === "" ? `Git failed with status ${failure.exitCode ?? "unknown"}` : `Git failed: ${detail}`);
  const message = detail === "" ? rule.message : `${rule.message} (${detail})`;
  return { problem: { code: rule.code, message, ...(rule.hint === undefined ? {} : { hint: rule.hint }) }, damaged: rule.damaged === true };
}

function plain(code: string, message: string, hint?: string): GitDiagnosis {
  return { problem: { code, message, ...(hint === undefined ? {} : { hint }) }, damaged: false };
}

export interface Secrets {
  /** Folders of the hub's machine. */
  readonly folders: readonly string[];
  /** Passwords and tokens. */
  readonly words: readonly string[];
}

/** The line that says most, cut to 200 characters. */
function detailOf(stderr: string, secrets: Secrets): string {
  const lines = stderr.split(/[\r\n]+/).map((line) => line.trim());
  const line =
    lines.find((candidate) => /^(remote: )?(fatal|error|ERROR):/.test(candidate)) ??
    lines.find((candidate) => candidate !== "" && !candidate.startsWith("@")) ??
    "";
  return scrub(line.replace(/^(fatal|error): /, ""), secrets).slice(0, 200);
}

/** A text without the hub's folders, without secrets, without credentials in URLs and without control characters. */
export function scrub(text: string, { folders, words }: Secrets): string {
  let clean = text
    .replace(/\p{C}+/gu, " ")
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi, (whole, scheme: string) =>
      /^ssh/i.test(scheme) && !whole.slice(scheme.length).includes(":") ? whole : `${scheme}***@`,
    );
  for (const word of words) {
    if (word.length >= 4)
      clean = clean.replaceAll(word, "***").replaceAll(Buffer.from(word).toString("base64"), "***").replaceAll(encodeURIComponent(word), "***");
  }
  for (const folder of folders) clean = clean.replaceAll(folder, "(hub)");
  return clean;
}
