import { likeGithub } from "./github.ts";
import type { Forge, ForgeOptions } from "./open-forge.ts";

/** Gitea's and Forgejo's REST API (v1), which has GitHub's shapes for what is used here. */
export function giteaForge({ apiUrl, project, token, signal }: ForgeOptions): Forge {
  return likeGithub({ apiUrl, headers: { authorization: `token ${token}` }, signal }, project, { descriptionChars: 255, pageSize: 50 });
}
