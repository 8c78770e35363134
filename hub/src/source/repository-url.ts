import { isIP } from "node:net";
import type { Problem } from "../domain/problem.ts";
import { repositoryUrlCharsMax } from "../limits.ts";

export type RepositoryTransport = "https" | "http" | "ssh" | "file";

/** Where a repository is, checked: safe to hand to Git behind `--end-of-options`. */
export interface RepositoryUrl {
  /** Normalised: the identity of the clone. */
  readonly url: string;
  readonly transport: RepositoryTransport;
  /** Lower case; "" for a folder. */
  readonly host: string;
}

export interface RepositoryUrlOptions {
  /** Plain http to hosts other than this machine. */
  readonly allowHttp?: boolean;
  /** file:// and plain paths, for tests and development: everyone who may create a fleet could read them. */
  readonly allowLocalRepositories?: boolean;
}

export type ParsedRepositoryUrl = { readonly ok: true; readonly repository: RepositoryUrl } | { readonly ok: false; readonly problem: Problem };

const hostPattern = /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?$/i;
const userPattern = /^[a-z0-9_][a-z0-9._-]{0,63}$/i;
/** What a path in a URL may hold: nothing that a shell on the other side, a terminal or Git reads as more than a name. */
const pathPattern = /^[\w.~/+@:%=,!-]+$/u;

/**
 * Check and normalise a repository's URL: https://, ssh:// and user@host:path; http:// to this machine; folders where allowed.
 * Everything else (other schemes, credentials, options, control characters) is a problem that says what to write instead.
 */
export function parseRepositoryUrl(text: string, options: RepositoryUrlOptions = {}): ParsedRepositoryUrl {
  const refusal = refuseText(text);
  if (refusal !== undefined) return refuse(refusal);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme === "https" || scheme === "http") return parseHttp(text, options);
  if (scheme === "ssh") return parseSsh(text);
  if (scheme === "file") return parseFolder(text.slice("file://".length), options);
  if (scheme !== undefined) return refuse(`'${scheme}://' is not a transport that the hub uses`, useInstead);
  if (text.startsWith("/")) return parseFolder(text, options);
  return parseScp(text);
}

const useInstead = "write https://host/path.git or ssh://git@host/path.git";

/** How two URLs of one repository are compared: host and path, whatever the transport, user, port and ending. */
export function repositoryKey(url: string): string | undefined {
  const parsed = parseRepositoryUrl(url, { allowHttp: true, allowLocalRepositories: true });
  if (!parsed.ok) return undefined;
  const { repository } = parsed;
  return `${repository.host}/${pathOf(repository)}`.toLowerCase();
}

function pathOf({ url, transport }: RepositoryUrl): string {
  const path = transport === "ssh" && !url.startsWith("ssh://") ? url.slice(url.indexOf(":") + 1) : new URL(url).pathname;
  return path
    .replace(/^\/+/, "")
    .replace(/\/+$/, "")
    .replace(/\.git$/i, "");
}

/** What no URL may be, before its form is looked at. */
function refuseText(text: string): string | undefined {
  if (text === "") return "the repository's URL is empty";
  if (text.length > repositoryUrlCharsMax) return `the repository's URL is longer than ${repositoryUrlCharsMax} characters`;
  if (text.startsWith("-")) return "the repository's URL begins with '-': that would be an option";
  if (/[\s\p{C}]/u.test(text)) return "the repository's URL holds a space or a control character";
  if (/^[a-z0-9+.-]*::/i.test(text)) return "'helper::address' URLs run programs and are not used";
  if (/[\\'"`$;&|<>(){}*]/.test(text)) return "the repository's URL holds a character that does not belong in one";
  return undefined;
}

function parseHttp(text: string, options: RepositoryUrlOptions): ParsedRepositoryUrl {
  if (!URL.canParse(text)) return refuse("the repository's URL cannot be read", useInstead);
  const url = new URL(text);
  const transport = url.protocol === "https:" ? "https" : "http";
  if (url.username !== "" || url.password !== "") return refuseCredentials();
  if (url.search !== "" || url.hash !== "" || /[?#]/.test(text))
    return refuse("the repository's URL has a query or a fragment", "remove what begins with '?' or '#'");
  const host = url.hostname.replace(/\.$/, "");
  const wrong = refuseHost(host) ?? refusePath(url.pathname);
  if (wrong !== undefined) return refuse(wrong);
  if (transport === "http" && !isLoopback(host) && options.allowHttp !== true) {
    return refuse(
      `plain http to '${host}' would show credentials and content to the network`,
      "write https://, or start the hub so that plain http is allowed",
    );
  }
  url.hostname = host;
  return accept(`${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, "")}`, transport, host);
}

function parseSsh(text: string): ParsedRepositoryUrl {
  const match = /^ssh:\/\/(?:([^@/]*)@)?(\[[0-9a-f:]+\]|[^:/[\]@]+)(?::(\d{1,5}))?(\/.*)$/i.exec(text);
  if (match === null) return refuse("the ssh URL cannot be read", "write ssh://git@host/path.git");
  const [, user, host = "", port, path = ""] = match;
  if (user?.includes(":") === true) return refuseCredentials();
  const wrong =
    refuseUser(user) ?? refuseHost(host) ?? refusePath(path) ?? (Number(port ?? 22) > 65_535 || Number(port ?? 22) === 0 ? "the port is not one" : undefined);
  if (wrong !== undefined) return refuse(wrong);
  const name = host.toLowerCase();
  const at = port === undefined || Number(port) === 22 ? "" : `:${Number(port)}`;
  return accept(`ssh://${user === undefined ? "" : `${user}@`}${name}${at}${path.replace(/\/+$/, "")}`, "ssh", name);
}

/** user@host:path, as forges print it. */
function parseScp(text: string): ParsedRepositoryUrl {
  const match = /^(?:([^@:/]*)@)?(\[[0-9a-f:]+\]|[^:/[\]@]+):(.+)$/i.exec(text);
  if (match === null) return refuse("this is not a repository's URL", useInstead);
  const [, user, host = "", path = ""] = match;
  // Without a user it could be meant as "scheme:…" or as a drive; forges always print one.
  if (user === undefined) return refuse("this is not a repository's URL", useInstead);
  const wrong = refuseUser(user) ?? refuseHost(host) ?? refusePath(path);
  if (wrong !== undefined) return refuse(wrong);
  return accept(`${user}@${host.toLowerCase()}:${path.replace(/\/+$/, "")}`, "ssh", host.toLowerCase());
}

function parseFolder(path: string, options: RepositoryUrlOptions): ParsedRepositoryUrl {
  if (options.allowLocalRepositories !== true) {
    return refuse(
      "repositories in a folder of the hub's machine are not allowed",
      `${useInstead}; for development, start the hub with --allow-local-repositories`,
    );
  }
  if (!path.startsWith("/") || path.split("/").includes("..") || !pathPattern.test(path))
    return refuse("the folder is not an absolute path of plain characters");
  return accept(`file://${path.replace(/(?<=.)\/+$/, "")}`, "file", "");
}

function refuseUser(user: string | undefined): string | undefined {
  return user === undefined || userPattern.test(user) ? undefined : "the user in the repository's URL is not a plain name";
}

function refuseHost(host: string): string | undefined {
  const bare = host.replace(/^\[|\]$/g, "");
  if (isIP(bare) === 0 && !hostPattern.test(host)) return "the host in the repository's URL is not a name or an address";
  if (isLinkLocal(bare)) return `'${bare}' is a link-local address: cloud metadata lives there, repositories do not`;
  return undefined;
}

function refusePath(path: string): string | undefined {
  const plain = path.replace(/^\/+/, "");
  if (plain === "") return "the repository's URL has no path";
  if (plain.startsWith(":")) return "the path in the repository's URL begins with ':'";
  if (plain.startsWith("-")) return "the path in the repository's URL begins with '-': that would be an option";
  if (!pathPattern.test(path) || /%(0|1|2[27]|5c|7f)/i.test(path)) return "the path in the repository's URL holds a character that does not belong in one";
  if (plain.split("/").includes("..")) return "the path in the repository's URL holds '..'";
  return undefined;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function isLinkLocal(address: string): boolean {
  const lower = address.toLowerCase();
  return (
    lower.startsWith("169.254.") ||
    /^fe[89ab][0-9a-f]:/.test(lower) ||
    /^::ffff:(169\.254\.|a9fe:)/.test(lower) ||
    lower === "fd00:ec2::254" ||
    lower === "metadata.google.internal"
  );
}

function accept(url: string, transport: RepositoryTransport, host: string): ParsedRepositoryUrl {
  return { ok: true, repository: { url, transport, host: host.toLowerCase() } };
}

function refuseCredentials(): ParsedRepositoryUrl {
  return {
    ok: false,
    problem: {
      code: "credentials-in-url",
      message: "the repository's URL holds credentials, which would be shown wherever the URL is",
      hint: "remove them from the URL and give them apart (fleet create --password-stdin or --ssh-key); and change that password",
    },
  };
}

function refuse(message: string, hint?: string): ParsedRepositoryUrl {
  return { ok: false, problem: { code: "bad-repository-url", message, ...(hint === undefined ? {} : { hint }) } };
}
