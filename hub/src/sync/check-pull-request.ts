import type { Preview } from "@flotilla/proto/rest/contract";
import { checkPreview } from "../domain/check-preview.ts";
import { type CommitStatus, type PullRequest, statusContext } from "../domain/forge.ts";
import { commentCharsMax } from "../limits.ts";

/** A pull request of which something was heard. */
export interface HeardPullRequest {
  readonly repositoryId: string;
  readonly number: number;
  /** Counts what was heard. */
  readonly heard: string;
}

/** What is said about it, fleet by fleet. */
export interface SaidCheck {
  readonly fleet: string;
  readonly head: string;
  /** Null while it is being made. */
  readonly state: "success" | "failure" | "error" | null;
  readonly headline: string;
  readonly preview: string | null;
  readonly comment: string | null;
}

/** What the story needs of a forge. */
export interface CheckForge {
  readPullRequest(number: number): Promise<PullRequest | undefined>;
  setStatus(commit: string, status: CommitStatus): Promise<void>;
  putComment(wanted: { number: number; fleet: string; body: string; known: string | undefined }): Promise<string>;
}

export interface CheckPorts {
  /** Undefined when the repository has none any more. */
  openForge(repositoryId: string, signal: AbortSignal): Promise<{ readonly forge: CheckForge; readonly forks: boolean } | undefined>;
  listCheckedFleets(
    repositoryId: string,
    number: number,
    base: string,
  ): Promise<readonly Pick<SaidCheck, "fleet" | "state" | "comment">[] & readonly { readonly head: string | null }[]>;
  saveCheck(heard: HeardPullRequest, check: SaidCheck): Promise<void>;
  /** Whether nothing new was heard of it since. */
  isNewestWord(heard: HeardPullRequest): Promise<boolean>;
  /** Makes a preview and waits for its end. */
  preview(fleet: string, revision: string, signal: AbortSignal): Promise<Preview>;
}

export type Checked = "done" | "closed" | "superseded";

/**
 * Tells a pull request what it would do to every fleet that follows its branch: one status on its newest commit and one comment for each fleet, written
 * over the next time. What the webhook said is not believed: the forge is asked. What was said already for this commit is not said again.
 *
 * @throws ForgeError, StoreError: it is tried again later.
 */
export async function checkPullRequest(ports: CheckPorts, heard: HeardPullRequest, signal: AbortSignal): Promise<Checked> {
  const { repositoryId, number } = heard;
  const opened = await ports.openForge(repositoryId, signal);
  if (!opened) return "closed";
  const { forge, forks } = opened;
  const pullRequest = await forge.readPullRequest(number);
  if (!pullRequest?.isOpen) return "closed";
  // A stranger's change is rendered, and what clusters say of it is published, only where somebody wants that.
  if (pullRequest.isFork && !forks) return "done";
  const { head, base } = pullRequest;
  for (const said of await ports.listCheckedFleets(repositoryId, number, base)) {
    if (said.head === head && said.state !== null) continue;
    const { fleet, comment } = said;
    const context = statusContext(fleet);
    await ports.saveCheck(heard, { fleet, head, state: null, headline: "", preview: null, comment });
    await forge.setStatus(head, { state: "pending", context, description: "finding out what it would do to every cluster" });
    const preview = await ports.preview(fleet, head, signal);
    // A newer commit is told instead.
    if (!(await ports.isNewestWord(heard))) return "superseded";
    const verdict = checkPreview(preview, commentCharsMax);
    const id = await forge.putComment({ number, fleet, body: verdict.markdown, known: comment ?? undefined });
    await forge.setStatus(head, { state: verdict.state, context, description: verdict.headline });
    await ports.saveCheck(heard, { fleet, head, state: verdict.state, headline: verdict.headline, preview: preview.id, comment: id });
  }
  return "done";
}
