import { commentMarker, type CheckState } from "../domain/forge.ts";
import { forgePagesMax } from "../limits.ts";
import { ForgeError } from "./forge-error.ts";
import { type ForgeAccess, forgeRequest } from "./forge-request.ts";
import { listOf, maybeText, textOf } from "./json-reader.ts";
import type { Forge, ForgeOptions } from "./open-forge.ts";

const states: Readonly<Record<CheckState, string>> = { pending: "running", success: "success", failure: "failed", error: "failed" };
const descriptionChars = 255;
const pageSize = 100;
/** GitLab's access levels: Developer. */
const developer = 30;

/** GitLab's REST API (v4): commit statuses, merge requests, notes. */
export function gitlabForge({ apiUrl, project, token, signal }: ForgeOptions): Forge {
  const access: ForgeAccess = { apiUrl, headers: { authorization: `Bearer ${token}` }, signal };
  const home = `/projects/${encodeURIComponent(project)}`;
  return {
    async setStatus(commit, { state, context, description, url }) {
      const body = { state: states[state], name: context, description: description.slice(0, descriptionChars), ...(url !== undefined && { target_url: url }) };
      try {
        await forgeRequest(access, "POST", `${home}/statuses/${commit}`, { body });
      } catch (error) {
        // It refuses a status that is what it is already.
        if (!(error instanceof ForgeError && error.status === 400 && /cannot transition status/i.test(error.message))) throw error;
      }
    },
    async readPullRequest(number) {
      const { status, json } = await forgeRequest(access, "GET", `${home}/merge_requests/${number}`, { expected: [404] });
      if (status === 404) {
        // The same answer is given to a token that does not see the project: that is no merge request that was closed.
        await forgeRequest(access, "GET", home);
        return undefined;
      }
      return {
        number,
        isOpen: textOf(json, "state") === "opened",
        head: textOf(json, "sha"),
        base: textOf(json, "target_branch"),
        isFork: maybeText(json, "source_project_id") !== textOf(json, "target_project_id"),
      };
    },
    async findComment(number, fleet) {
      for (let page = 1; page <= forgePagesMax; page += 1) {
        const notes = listOf((await forgeRequest(access, "GET", `${home}/merge_requests/${number}/notes?per_page=${pageSize}&page=${page}`)).json);
        const found = notes.find((note) => maybeText(note, "body")?.startsWith(commentMarker(fleet)));
        if (found !== undefined) return textOf(found, "id");
        if (notes.length < pageSize) return undefined;
      }
      return undefined;
    },
    async addComment(number, body) {
      return textOf((await forgeRequest(access, "POST", `${home}/merge_requests/${number}/notes`, { body: { body } })).json, "id");
    },
    async editComment(number, id, body) {
      const { status } = await forgeRequest(access, "PUT", `${home}/merge_requests/${number}/notes/${id}`, { body: { body }, expected: [404] });
      return status !== 404;
    },
    async describe() {
      const { json } = await forgeRequest(access, "GET", home);
      const levels = [maybeText(json, "permissions", "project_access", "access_level"), maybeText(json, "permissions", "group_access", "access_level")];
      const level = Math.max(0, ...levels.map((text) => Number(text ?? 0)));
      const may = level >= developer ? "may write" : "may not set statuses: it needs the role Developer";
      return `${textOf(json, "path_with_namespace")}: the token ${may}`;
    },
  };
}
