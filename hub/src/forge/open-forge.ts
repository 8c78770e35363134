import { commentMarker, type CommitStatus, type ForgePlace, type PullRequest } from "../domain/forge.ts";
import { giteaForge } from "./gitea.ts";
import { githubForge } from "./github.ts";
import { gitlabForge } from "./gitlab.ts";

/** What is done with a repository on a forge. Every call throws ForgeError when it is not done. */
export interface Forge {
  setStatus(commit: string, status: CommitStatus): Promise<void>;
  /** Undefined when there is no such pull request. */
  readPullRequest(number: number): Promise<PullRequest | undefined>;
  /** Finds the comment of the fleet by its marker. */
  findComment(number: number, fleet: string): Promise<string | undefined>;
  /** Returns its id. */
  addComment(number: number, body: string): Promise<string>;
  /** False when it is not there any more. */
  editComment(number: number, id: string, body: string): Promise<boolean>;
  /** Who the token is, and what it may do, in a sentence. */
  describe(): Promise<string>;
}

export interface ForgeOptions extends ForgePlace {
  readonly token: string;
  readonly signal?: AbortSignal | undefined;
}

export function openForge(options: ForgeOptions): Forge {
  switch (options.kind) {
    case "github":
      return githubForge(options);
    case "gitlab":
      return gitlabForge(options);
    case "gitea":
      return giteaForge(options);
  }
}

/**
 * Writes the one comment of a fleet on a pull request: in place of the one that is there, found by its id or its marker; a new one when a person
 * deleted it. Returns its id.
 */
export async function putComment(forge: Forge, wanted: { number: number; fleet: string; body: string; known: string | undefined }): Promise<string> {
  const { number, fleet, known } = wanted;
  const body = `${commentMarker(fleet)}\n${wanted.body}`;
  if (known !== undefined && (await forge.editComment(number, known, body))) return known;
  const found = await forge.findComment(number, fleet);
  if (found !== undefined && found !== known && (await forge.editComment(number, found, body))) return found;
  return await forge.addComment(number, body);
}
