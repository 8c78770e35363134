import { setTimeout as delay } from "node:timers/promises";
import Type from "typebox";
import { apiPrefix, Preview, PreviewCreate } from "@flotilla/proto/rest/contract";
import { previewFilesMax, previewLookMs, previewMs, previewMsMax, previewUploadBytesMax } from "../limits.ts";
import { previewRow } from "../domain/preview.ts";
import { actorOf } from "./actor-of.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, nameParameter } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

const tags = ["previews"];
/** How long a question for a preview may wait for news. */
const longestWaitMs = 20_000;

/** What a change would do. */
export function addPreviewRoutes(app: ApiApp, { store, previews }: ApiOptions): void {
  app.post(
    `${apiPrefix}/fleets/:fleet/previews`,
    {
      // It changes nothing.
      config: { access: "view" },
      bodyLimit: previewUploadBytesMax,
      schema: {
        operationId: "createPreview",
        summary: "Find out what a branch, a revision or a working copy would do to every cluster; nothing is written anywhere",
        tags,
        params: Type.Object({ fleet: nameParameter }),
        body: PreviewCreate,
        response: answers({ 202: Preview }),
      },
    },
    async (request, reply) => {
      const { clusters = [], timeoutMs = previewMs } = request.body;
      const { fleet } = request.params;
      const id = await previews.begin(actorOf(request), { fleet, change: changeOf(request.body), clusters, withinMs: Math.min(timeoutMs, previewMsMax) });
      return reply.code(202).send(previewRow(await store.readPreview(id)));
    },
  );
  app.get(
    `${apiPrefix}/previews/:preview`,
    {
      schema: {
        operationId: "readPreview",
        summary: "How a preview stands; with `after` not before that has changed, or 20 s later",
        tags,
        params: Type.Object({ preview: Type.String({ minLength: 1, maxLength: 64 }) }),
        querystring: Type.Object({ after: Type.Optional(Type.String({ maxLength: 64 })) }, { additionalProperties: false }),
        response: answers({ 200: Preview }),
      },
    },
    async (request) => {
      const until = Date.now() + longestWaitMs;
      for (;;) {
        const row = previewRow(await store.readPreview(request.params.preview));
        if (row.mark !== request.query.after || row.endedAt !== null || Date.now() >= until || request.raw.destroyed) return row;
        await delay(previewLookMs);
      }
    },
  );
}

/** @throws ApiProblem 400. */
function changeOf({ branch, revision, files }: PreviewCreate) {
  if ([branch, revision, files].filter((given) => given !== undefined).length !== 1)
    throw new ApiProblem(400, "invalid-request", "a preview is of one thing", { hint: "give a branch, a revision or files" });
  if (branch !== undefined) return { kind: "branch" as const, branch };
  if (revision !== undefined) return { kind: "revision" as const, revision };
  const given = files ?? [];
  if (given.length > previewFilesMax)
    throw new ApiProblem(413, "too-large", `${given.length} files; a preview takes ${previewFilesMax}`, {
      hint: "give the fleet's own folder, or push a branch",
    });
  return { kind: "files" as const, files: given.map(({ path, content }) => ({ path, content: Buffer.from(content, "base64") })) };
}
