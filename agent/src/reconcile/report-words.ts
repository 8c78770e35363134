import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Change, type DriftFieldSchema, EventSeverity, Health, PruneState, SyncState } from "@flotilla/proto/gen/report";
import type { FieldDrift } from "../domain/drift.ts";
import type { HealthWord } from "../domain/verdict.ts";
import type { ChangeWord, PruneHold } from "./tracked-object.ts";

/** The engine's words in the wire's numbers. */
export const healthCode: Readonly<Record<HealthWord, Health>> = {
  InProgress: Health.IN_PROGRESS,
  Current: Health.CURRENT,
  Failed: Health.FAILED,
  Terminating: Health.TERMINATING,
  NotFound: Health.NOT_FOUND,
  Unknown: Health.UNKNOWN,
};

export const changeCode: Readonly<Record<ChangeWord, Change>> = {
  Created: Change.CREATED,
  Configured: Change.CONFIGURED,
  Unchanged: Change.UNCHANGED,
  Skipped: Change.SKIPPED,
  Deleted: Change.DELETED,
  Failed: Change.FAILED,
};

export const pruneCode: Readonly<Record<PruneHold, PruneState>> = {
  Held: PruneState.HELD,
  Waits: PruneState.WAITS,
  Terminating: PruneState.TERMINATING,
};

export function syncCode(isSynced: boolean): SyncState {
  return isSynced ? SyncState.SYNCED : SyncState.OUT_OF_SYNC;
}

export const severityCode = { normal: EventSeverity.NORMAL, warning: EventSeverity.WARNING } as const;

/** Epoch milliseconds as a timestamp. */
export const timestamp = timestampFromMs;

/** A drifted field as it is reported. */
export function wireDrift({ time, members, ...field }: FieldDrift): MessageInitShape<typeof DriftFieldSchema> {
  const at = Date.parse(time);
  return { ...field, members: [...members], ...(!Number.isNaN(at) && { changedAt: timestampFromMs(at) }) };
}
