import { devNull } from "node:os";
import { gitLowSpeedBytes, gitLowSpeedS } from "../limits.ts";
import type { RepositoryTransport } from "./repository-url.ts";

/** Who we are to the server. Never part of an argument or a URL. */
export type GitCredentials = { readonly username?: string; readonly password: string } | { readonly sshPrivateKey: string; readonly knownHosts: string };

export interface GitEnvironmentOptions {
  /** Folder of the clone (GIT_DIR). */
  readonly gitDir: string;
  readonly transport?: RepositoryTransport;
  readonly password?: { readonly username?: string; readonly password: string };
  /** Files that a fetch over SSH reads; both were written by us. */
  readonly ssh?: { readonly keyFile?: string; readonly knownHostsFile: string };
}

/** Variables of the hub's own that a fetch needs: the way out, and the authorities of a company. */
const passedOn = [
  "PATH",
  "HTTPS_PROXY",
  "https_proxy",
  "NO_PROXY",
  "no_proxy",
  "ALL_PROXY",
  "all_proxy",
  "http_proxy",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "TMPDIR",
];

/**
 * The whole environment of a Git command: nothing of the hub's own configuration, no hooks, no helpers, no prompts, one transport.
 * Configuration goes by GIT_CONFIG_COUNT, so that a token is on no command line.
 */
export function gitEnvironment(options: GitEnvironmentOptions): Record<string, string> {
  const { gitDir, transport, password, ssh } = options;
  const env: Record<string, string> = {};
  for (const name of passedOn) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  Object.assign(env, {
    HOME: gitDir,
    LANG: "C",
    LC_ALL: "C",
    GIT_DIR: gitDir,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: devNull,
    GIT_ATTR_NOSYSTEM: "1",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ALLOW_PROTOCOL: transport ?? "none",
    GIT_PROTOCOL_FROM_USER: "0",
    GIT_SSH_VARIANT: "ssh",
    ...(process.env.GIT_SSL_CAINFO === undefined ? {} : { GIT_SSL_CAINFO: process.env.GIT_SSL_CAINFO }),
  });
  env.GIT_SSH_COMMAND = ssh === undefined ? "false" : sshCommand(ssh);
  const config = [...pinnedConfig, ...(password === undefined ? [] : [["http.extraHeader", `Authorization: Basic ${basic(password)}`] as const])];
  env.GIT_CONFIG_COUNT = String(config.length);
  for (const [index, [key, value]] of config.entries()) {
    env[`GIT_CONFIG_KEY_${index}`] = key;
    env[`GIT_CONFIG_VALUE_${index}`] = value;
  }
  return env;
}

const pinnedConfig: readonly (readonly [string, string])[] = [
  ["core.hooksPath", devNull],
  ["core.fsmonitor", "false"],
  ["core.askPass", ""],
  ["core.symlinks", "false"],
  ["core.protectHFS", "true"],
  ["core.protectNTFS", "true"],
  ["credential.helper", ""],
  ["submodule.recurse", "false"],
  ["fetch.recurseSubmodules", "false"],
  ["transfer.credentialsInUrl", "die"],
  // What comes is checked before it is used. Three faults that old, harmless repositories have are let through.
  ["fetch.fsckObjects", "true"],
  ["fetch.fsck.zeroPaddedFilemode", "ignore"],
  ["fetch.fsck.missingSpaceBeforeDate", "ignore"],
  ["fetch.fsck.badTimezone", "ignore"],
  // Everything lands in packs: one place to measure while a fetch runs, and a pack comes into being by one rename.
  ["fetch.unpackLimit", "1"],
  ["transfer.unpackLimit", "1"],
  // Cleaning up is ours to time: not in the middle of a push's path.
  ["gc.auto", "0"],
  ["maintenance.auto", "false"],
  // Memory: large blobs are streamed, packs are mapped piecemeal, one thread.
  ["core.bigFileThreshold", "16m"],
  ["core.packedGitLimit", "256m"],
  ["pack.threads", "1"],
  ["pack.windowMemory", "256m"],
  // A redirect could carry the token to another host.
  ["http.followRedirects", "false"],
  ["http.lowSpeedLimit", String(gitLowSpeedBytes)],
  ["http.lowSpeedTime", String(gitLowSpeedS)],
];

function basic({ username, password }: { readonly username?: string; readonly password: string }): string {
  // Forges take a token as the password of any user; "git" is what most of their pages say.
  return Buffer.from(`${username ?? "git"}:${password}`).toString("base64");
}

/** OpenSSH with nothing of the machine's own: given key, given host keys, no agent, no forwarding, no configuration. */
function sshCommand({ keyFile, knownHostsFile }: { readonly keyFile?: string; readonly knownHostsFile: string }): string {
  const options = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    `UserKnownHostsFile="${knownHostsFile}"`,
    `GlobalKnownHostsFile=${devNull}`,
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "IdentityAgent=none",
    "IdentitiesOnly=yes",
    `IdentityFile=${keyFile === undefined ? "none" : `"${keyFile}"`}`,
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "ProxyCommand=none",
    "PermitLocalCommand=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ConnectTimeout=15",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
  ];
  return ["ssh", "-F", devNull, ...options.flatMap((option) => ["-o", option])].map(quoteForShell).join(" ");
}

/** Git hands GIT_SSH_COMMAND to a shell. */
function quoteForShell(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
