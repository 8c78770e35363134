import Type from "typebox";
import { apiPrefix } from "@flotilla/proto/rest/contract";
import { webhookBodyBytesMax } from "../limits.ts";
import { ApiProblem } from "./api-problem.ts";
import type { ApiOptions } from "./ports.ts";
import { answers } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";

/** Where forges push to: only ever causes a fetch. An unknown repository is answered like a bad signature. */
export async function addWebhookRoute(app: ApiApp, options: ApiOptions): Promise<void> {
  const { store } = options;
  await app.register(async (scope) => {
    // The signature is over the bytes: nothing is parsed before it holds.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: webhookBodyBytesMax }, (_request, body, done) => done(null, body));
    (scope as unknown as ApiApp).post(
      `${apiPrefix}/webhooks/:repository`,
      {
        config: { isPublic: true },
        bodyLimit: webhookBodyBytesMax,
        schema: {
          operationId: "receiveWebhook",
          summary: "A forge's push notification, signed with the repository's webhook secret",
          tags: ["webhooks"],
          security: [],
          params: Type.Object({ repository: Type.String({ pattern: "^[0-9]{1,18}$" }) }),
          response: answers({ 202: Type.Object({ fetching: Type.Boolean() }) }),
        },
      },
      async (request, reply) => {
        const { repository } = request.params as { repository: string };
        const known = await store.readWebhook(repository);
        const rawBody = Buffer.isBuffer(request.body) ? request.body : new Uint8Array();
        const check = options.verifyWebhook({ headers: request.headers, rawBody, secret: known?.secret ?? "", url: known?.url ?? "" });
        // Only what is signed counts against the repository's rate: strangers have one of their own.
        const waitMs = check.ok ? options.takeWebhook(repository) : options.takeUnsignedWebhook(request.ip, repository);
        if (waitMs > 0) {
          void reply.header("retry-after", String(Math.ceil(waitMs / 1_000)));
          throw tooMany(check.ok);
        }
        if (!check.ok)
          throw new ApiProblem(
            check.status,
            check.status === 401 ? "webhook-unsigned" : "webhook-unreadable",
            known === undefined ? "the webhook is not signed with the secret of a repository here" : check.reason,
          );
        if (check.pullRequest !== undefined && check.concerns) await store.hearPullRequest(repository, check.pullRequest);
        const fetching = check.event === "push" && check.concerns;
        if (fetching) await store.markWanted(repository);
        return reply.code(202).send({ fetching });
      },
    );
  });
}

function tooMany(isSigned: boolean): ApiProblem {
  return isSigned
    ? new ApiProblem(429, "too-many-webhooks", "too many webhooks for this repository", { hint: "one per push is enough; a fetch is under way" })
    : new ApiProblem(429, "too-many-webhooks", "too many webhooks from this address whose signature does not hold", {
        hint: "give the forge the repository's webhook secret",
      });
}
