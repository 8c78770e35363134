export type ForgeKind = "github" | "gitlab" | "gitea";

/** What a commit's status says: every forge has these four in words of its own. */
export type CheckState = "pending" | "success" | "failure" | "error";

export interface CommitStatus {
  readonly state: CheckState;
  /** Names the status: one for each fleet. */
  readonly context: string;
  readonly description: string;
  /** A page to look at; undefined when there is none. */
  readonly url?: string | undefined;
}

/** A pull request (GitLab: merge request) as it is now. */
export interface PullRequest {
  readonly number: number;
  readonly isOpen: boolean;
  /** Full hash of its newest commit. */
  readonly head: string;
  /** The branch it is to be merged into. */
  readonly base: string;
  /** Its commits come from another repository. */
  readonly isFork: boolean;
}

/** Where a forge has a repository. */
export interface ForgePlace {
  readonly kind: ForgeKind;
  /** Without a trailing slash. */
  readonly apiUrl: string;
  /** owner/name; GitLab: group/sub/name. */
  readonly project: string;
}

const publicForges: Readonly<Record<string, Omit<ForgePlace, "project">>> = {
  "github.com": { kind: "github", apiUrl: "https://api.github.com" },
  "gitlab.com": { kind: "gitlab", apiUrl: "https://gitlab.com/api/v4" },
  "codeberg.org": { kind: "gitea", apiUrl: "https://codeberg.org/api/v1" },
};

const apiPaths: Readonly<Record<ForgeKind, string>> = { github: "/api/v3", gitlab: "/api/v4", gitea: "/api/v1" };

/**
 * Where the API of a repository's forge is, from the repository's URL (https or ssh) and what a person says. Undefined: the host says nothing, so
 * that the kind has to be given.
 */
export function forgePlaceOf(
  repositoryUrl: string,
  given: { readonly kind?: ForgeKind | undefined; readonly apiUrl?: string | undefined; readonly project?: string | undefined },
): ForgePlace | undefined {
  const url = new URL(repositoryUrl);
  const path = decodeURIComponent(url.pathname)
    .replace(/^\/+/, "")
    .replace(/\.git$/, "");
  const project = given.project ?? path;
  const known = publicForges[url.hostname];
  const kind = given.kind ?? known?.kind;
  if (kind === undefined) return undefined;
  const isHttp = url.protocol === "http:" || url.protocol === "https:";
  const home = isHttp ? url.origin : `https://${url.hostname}`;
  const apiUrl = given.apiUrl ?? (known?.kind === kind ? known.apiUrl : `${home}${apiPaths[kind]}`);
  return { kind, apiUrl: apiUrl.replace(/\/+$/, ""), project };
}

/** The one comment of a fleet on a pull request is known by this line; it is not shown. */
export function commentMarker(fleet: string): string {
  return `<!-- flotilla fleet=${fleet} -->`;
}

/** `flotilla/shop` */
export function statusContext(fleet: string): string {
  return `flotilla/${fleet}`;
}
