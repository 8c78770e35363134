import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Command, DryRunAction, type DryRunCommand, type DryRunResult, DryRunResultSchema } from "@flotilla/proto/gen/link";
import type { ForeseenAction } from "../domain/preview.ts";
import type { Engine } from "./engine.ts";

const actions: Readonly<Record<ForeseenAction, DryRunAction>> = {
  create: DryRunAction.CREATE,
  configure: DryRunAction.CONFIGURE,
  recreate: DryRunAction.RECREATE,
  prune: DryRunAction.PRUNE,
  "hold-prune": DryRunAction.HOLD_PRUNE,
  "let-go": DryRunAction.LET_GO,
  refuse: DryRunAction.REFUSE,
  conflict: DryRunAction.CONFLICT,
  keep: DryRunAction.KEEP,
  "run-hook": DryRunAction.RUN_HOOK,
};

/**
 * What a target would do here, for the hub; until the command expires.
 *
 * @throws Error when it cannot be said.
 */
export async function answerPreview(engine: Engine, { expiresAt }: Command, command: DryRunCommand): Promise<DryRunResult> {
  const leftMs = (expiresAt ? timestampMs(expiresAt) : Date.now()) - Date.now();
  const { objects, ...rest } = await engine.preview(command, AbortSignal.timeout(Math.max(1, leftMs)));
  return create(DryRunResultSchema, { ...rest, objects: objects.map((one) => ({ ...one, action: actions[one.action], fields: [...one.fields] })) });
}
