import type { SyncWindow, SyncWindows } from "@flotilla/proto/sync-windows";
import type { FleetDocument } from "./fleet-schema.ts";
import { parseDuration } from "./parse-duration.ts";

/** Windows as fleet.yaml writes them. */
export type WindowsDocument = NonNullable<FleetDocument["spec"]["syncWindows"]>;

/** With every default filled in. */
export function fillWindows({ timeZone = "UTC", allow = [], deny = [], whenClosed = "finish", heal = false }: WindowsDocument): SyncWindows {
  const fill = ({ duration, timeZone: own, ...window }: NonNullable<WindowsDocument["allow"]>[number]): SyncWindow => {
    const durationMs = duration === undefined ? undefined : parseDuration(duration);
    return { ...window, timeZone: own ?? timeZone, ...(durationMs !== undefined && { durationMs }) };
  };
  return { allow: allow.map(fill), deny: deny.map(fill), whenClosed, heal };
}
