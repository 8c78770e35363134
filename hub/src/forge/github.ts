import { commentMarker, type CommitStatus } from "../domain/forge.ts";
import { forgePagesMax } from "../limits.ts";
import { type ForgeAccess, forgeRequest } from "./forge-request.ts";
import { isTrue, listOf, maybeText, textOf } from "./json-reader.ts";
import type { Forge, ForgeOptions } from "./open-forge.ts";

/** GitHub's REST API (2022-11-28): commit statuses, pulls, issue comments. */
export function githubForge({ apiUrl, project, token, signal }: ForgeOptions): Forge {
  const headers = { accept: "application/vnd.github+json", "x-github-api-version": "2022-11-28", authorization: `Bearer ${token}` };
  return likeGithub({ apiUrl, headers, signal }, project, { descriptionChars: 140, pageSize: 100 });
}

/** The part of the API that GitHub and Gitea share, shape by shape. */
export function likeGithub(access: ForgeAccess, project: string, limits: { readonly descriptionChars: number; readonly pageSize: number }): Forge {
  const repository = `/repos/${project.split("/").map(encodeURIComponent).join("/")}`;
  return {
    async setStatus(commit, { state, context, description, url }: CommitStatus) {
      const body = { state, context, description: description.slice(0, limits.descriptionChars), ...(url !== undefined && { target_url: url }) };
      await forgeRequest(access, "POST", `${repository}/statuses/${commit}`, { body });
    },
    async readPullRequest(number) {
      const { status, json } = await forgeRequest(access, "GET", `${repository}/pulls/${number}`, { expected: [404] });
      if (status === 404) {
        // The same answer is given to a token that does not see the repository: that is no pull request that was closed.
        await forgeRequest(access, "GET", repository);
        return undefined;
      }
      return {
        number,
        isOpen: textOf(json, "state") === "open",
        head: textOf(json, "head", "sha"),
        base: textOf(json, "base", "ref"),
        // A fork that was deleted has no repository any more.
        isFork: maybeText(json, "head", "repo", "full_name") !== textOf(json, "base", "repo", "full_name"),
      };
    },
    async findComment(number, fleet) {
      for (let page = 1; page <= forgePagesMax; page += 1) {
        const { json } = await forgeRequest(
          access,
          "GET",
          `${repository}/issues/${number}/comments?per_page=${limits.pageSize}&limit=${limits.pageSize}&page=${page}`,
        );
        const comments = listOf(json);
        const found = comments.find((comment) => maybeText(comment, "body")?.startsWith(commentMarker(fleet)));
        if (found !== undefined) return textOf(found, "id");
        if (comments.length < limits.pageSize) return undefined;
      }
      return undefined;
    },
    async addComment(number, body) {
      return textOf((await forgeRequest(access, "POST", `${repository}/issues/${number}/comments`, { body: { body } })).json, "id");
    },
    async editComment(_number, id, body) {
      const { status } = await forgeRequest(access, "PATCH", `${repository}/issues/comments/${id}`, { body: { body }, expected: [404] });
      return status !== 404;
    },
    async describe() {
      const { json } = await forgeRequest(access, "GET", repository);
      const may = isTrue(json, "permissions", "push") ? "may write" : "may only read: statuses need write access";
      return `${textOf(json, "full_name")}: the token ${may}`;
    },
  };
}
