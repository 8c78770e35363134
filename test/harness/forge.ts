import { createHmac } from "node:crypto";
import { type GitChanges, type CommitOptions, type GitRepository } from "./git-server.ts";
import type { HubProcess } from "./hub-process.ts";

/** A repository whose forge sends the hub a signed webhook after every push, as a person would set it up. */
export interface Forge {
  readonly repository: GitRepository;
  /** Commits, then calls the webhook; returns the commit's hash and when the push was done. */
  push(changes: GitChanges, options?: CommitOptions): Promise<{ revision: string; pushedAt: number }>;
}

export function forgeOf(hub: HubProcess, repository: GitRepository, webhook: { path: string; secret: string }): Forge {
  return {
    repository,
    async push(changes, options) {
      const revision = await repository.commit(changes, options);
      const pushedAt = performance.now();
      const body = JSON.stringify({ repository: repository.url, ref: "refs/heads/main", commit: revision });
      const signature = `sha256=${createHmac("sha256", webhook.secret).update(body).digest("hex")}`;
      const response = await fetch(`${hub.url}${webhook.path}`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-flotilla-signature": signature },
        body,
      });
      if (!response.ok) throw new Error(`webhook refused: ${response.status} ${await response.text()}`);
      return { revision, pushedAt };
    },
  };
}
