import { lastStart, localInstant, nextStart, parseSchedule, type Schedule } from "./schedule.ts";

/** One period that comes again (schedule and duration) or once (from and to, local times). */
export interface SyncWindow {
  readonly timeZone: string;
  readonly schedule?: string;
  readonly durationMs?: number;
  readonly from?: string;
  readonly to?: string;
}

/** When something may be synced: while no deny window is active and, where there are allow windows, one of them is. As Argo CD has it. */
export interface SyncWindows {
  readonly allow: readonly SyncWindow[];
  readonly deny: readonly SyncWindow[];
  /** What becomes of a sync that is under way. */
  readonly whenClosed: "finish" | "stop";
  /** Whether drift is corrected while closed. */
  readonly heal: boolean;
}

/** A judgement on windows at one moment. */
export interface WindowVerdict {
  readonly isOpen: boolean;
  /** When that changes (epoch ms); undefined when it does not, as far as can be seen. */
  readonly until: number | undefined;
}

/** A window lasts at most this long; what is longer is a suspension. */
export const windowMaxMs = 31 * 86_400_000;

/** Changes looked ahead for the one that opens or closes. */
const changesAhead = 100;

/** Whether all of these are open at a time (epoch ms), and until when that holds. Pure: the clock is the caller's. */
export function judgeWindows(all: readonly SyncWindows[], at: number): WindowVerdict {
  const isOpen = areOpen(all, at);
  let time = at;
  for (let change = 0; change < changesAhead; change++) {
    const next = nextChange(all, time);
    if (next === undefined) return { isOpen, until: undefined };
    if (areOpen(all, next) !== isOpen) return { isOpen, until: next };
    time = next;
  }
  return { isOpen, until: time };
}

function areOpen(all: readonly SyncWindows[], at: number): boolean {
  return all.every(
    ({ allow, deny }) =>
      !deny.some((window) => activeUntil(window, at) !== undefined) && (allow.length === 0 || allow.some((window) => activeUntil(window, at) !== undefined)),
  );
}

/** The next moment at which any window begins or ends. */
function nextChange(all: readonly SyncWindows[], after: number): number | undefined {
  const changes = all
    .flatMap(({ allow, deny }) => [...allow, ...deny])
    .flatMap((window) => [activeUntil(window, after) ?? [], startAfter(window, after) ?? []].flat());
  return changes.length === 0 ? undefined : Math.min(...changes);
}

/** When the window that is active at a time ends; undefined when it is not active. Ends are exclusive. */
function activeUntil(window: SyncWindow, at: number): number | undefined {
  const schedule = scheduleOf(window);
  if (schedule) {
    const duration = Math.min(window.durationMs ?? 0, windowMaxMs);
    const start = lastStart(schedule, window.timeZone, at, duration);
    return start !== undefined && at < start + duration ? start + duration : undefined;
  }
  const [from, to] = [localInstant(window.timeZone, window.from ?? ""), localInstant(window.timeZone, window.to ?? "")];
  return from !== undefined && to !== undefined && from <= at && at < to ? to : undefined;
}

function startAfter(window: SyncWindow, after: number): number | undefined {
  const schedule = scheduleOf(window);
  if (schedule) return nextStart(schedule, window.timeZone, after);
  const from = localInstant(window.timeZone, window.from ?? "");
  return from !== undefined && from > after ? from : undefined;
}

function scheduleOf({ schedule }: SyncWindow): Schedule | undefined {
  if (schedule === undefined || schedule === "") return undefined;
  const parsed = parseSchedule(schedule);
  return parsed.ok ? parsed.schedule : undefined;
}
