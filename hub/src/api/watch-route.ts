import Type from "typebox";
import { apiPrefix } from "@flotilla/proto/rest/contract";
import { watchersMax, watchPingMs, watchReauthoriseMs } from "../limits.ts";
import { ApiProblem } from "./api-problem.ts";
import { tokenOf } from "./authorise.ts";
import type { ApiOptions } from "./ports.ts";
import { answers, nameParameter } from "./query-schemas.ts";
import type { ApiApp } from "./typed-app.ts";
import { frame, type Watchers } from "./watchers.ts";

/** Server-sent events: `change`, `event` (with ids to resume from), `ping`, and `dropped` with a reason before the hub ends the stream. */
export function addWatchRoute(app: ApiApp, { store }: ApiOptions, watchers: Watchers): void {
  const schema = {
    operationId: "watch",
    summary: "Changes and events as they happen (text/event-stream)",
    tags: ["watch"],
    querystring: Type.Object({ fleet: Type.Optional(nameParameter) }, { additionalProperties: false }),
    headers: Type.Object({ "last-event-id": Type.Optional(Type.String({ pattern: "^[0-9]{1,15}$", description: "Resume after this event" })) }),
    response: answers({ 200: Type.String({ description: "text/event-stream" }) }),
  };
  app.get(`${apiPrefix}/watch`, { schema }, async (request, reply) => {
    const resumeAfter = request.headers["last-event-id"];
    if (watchers.count >= watchersMax)
      throw new ApiProblem(503, "too-many-watchers", `this replica has ${watchersMax} watchers already`, { hint: "try again later, or poll the lists" });
    const token = tokenOf(request.headers.authorization) ?? "";
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" });
    const sink = {
      get unsentBytes() {
        return raw.writableLength;
      },
      write: (text: string) => void raw.write(text),
      end: () => {
        raw.end();
        // Whoever does not read will not read the end either.
        setTimeout(() => raw.destroy(), 1_000).unref();
      },
    };
    raw.on("error", () => raw.destroy());
    raw.on("drain", () => watchers.readOn());
    raw.write(": connected\n\n");
    const ping = setInterval(() => raw.writableLength === 0 && sink.write(frame("ping", {})), watchPingMs);
    const reauthorise = setInterval(() => {
      // A database that is away proves nothing about the token.
      void store.checkToken(token).then(
        (id) => {
          if (id !== undefined) return;
          sink.write(frame("dropped", { reason: "the token is no longer valid" }));
          sink.end();
        },
        () => undefined,
      );
    }, watchReauthoriseMs);
    let remove: (() => void) | undefined;
    raw.on("close", () => {
      clearInterval(ping);
      clearInterval(reauthorise);
      remove?.();
    });
    try {
      remove = await watchers.add(sink, { fleet: request.query.fleet, resumeAfter: resumeAfter === undefined ? undefined : Number(resumeAfter) });
      if (remove === undefined) sink.end();
      if (raw.destroyed) remove?.();
    } catch {
      sink.write(frame("dropped", { reason: "the database is not reachable" }));
      sink.end();
    }
  });
}
