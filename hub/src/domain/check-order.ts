import { compileReadiness, readinessVariables } from "@flotilla/proto/readiness";
import { isTimeZone, localInstant, nextStart, parseSchedule } from "@flotilla/proto/schedule";
import { windowMaxMs } from "@flotilla/proto/sync-windows";
import { checkDuration, tell, type FleetChecks, type FleetDraft } from "./parse-fleet-checks.ts";
import { parseDuration } from "./parse-duration.ts";

type BundleDraft = NonNullable<NonNullable<FleetDraft["spec"]>["bundles"]>[number];
type WindowsDraft = NonNullable<NonNullable<FleetDraft["spec"]>["syncWindows"]>;
type WindowDraft = NonNullable<NonNullable<WindowsDraft["allow"]>[number]>;

/** Problems of meaning in what says when something is applied: readiness of dependencies, deadlines, sync windows. */
export function checkOrder(draft: FleetDraft, checks: FleetChecks): void {
  checkWindows(draft.spec?.syncWindows, checks, "spec/syncWindows");
  for (const [index, bundle] of (draft.spec?.bundles ?? []).entries()) {
    const at = `spec/bundles/${index}`;
    checkReadiness(bundle ?? {}, checks, `${at}/dependsOn`);
    checkDeadline(bundle?.deadline, checks, `${at}/deadline`);
    checkWindows(bundle?.syncWindows, checks, `${at}/syncWindows`);
  }
}

/** CEL is compiled as the agent will compile it: what it cannot evaluate is told here, at its line. */
function checkReadiness(bundle: BundleDraft, checks: FleetChecks, at: string): void {
  for (const [index, needed] of (bundle?.dependsOn ?? []).entries()) {
    const text = typeof needed === "object" && needed !== null ? needed.ready : undefined;
    const compiled = text === undefined ? undefined : compileReadiness(text);
    if (compiled === undefined || compiled.ok) continue;
    const { message, offset } = compiled.problem;
    const hint = `it is CEL over ${Object.keys(readinessVariables).join(" and ")}; see docs/order.md`;
    tell(checks, `${at}/${index}/ready`, "bad-expression", `ready: ${message}, at column ${offset + 1} of the expression`, hint);
  }
}

function checkDeadline(deadline: BundleDraft["deadline"], checks: FleetChecks, at: string): void {
  if (typeof deadline === "string") checkDuration(deadline, checks, at);
  else for (const [phase, duration] of Object.entries(deadline ?? {})) checkDuration(duration, checks, `${at}/${phase}`);
}

export function checkWindows(windows: WindowsDraft | undefined, checks: FleetChecks, at: string): void {
  if (windows === undefined) return;
  checkZone(windows.timeZone, checks, `${at}/timeZone`);
  for (const kind of ["allow", "deny"] as const) {
    for (const [index, window] of (windows[kind] ?? []).entries()) if (window) checkWindow(window, windows.timeZone ?? "UTC", checks, `${at}/${kind}/${index}`);
  }
  if ((windows.allow ?? []).length + (windows.deny ?? []).length === 0)
    tell(checks, at, "bad-value", "syncWindows without a window close nothing", "write allow: [...] or deny: [...]");
}

function checkZone(zone: string | undefined, checks: FleetChecks, at: string): boolean {
  if (zone === undefined || isTimeZone(zone)) return true;
  tell(checks, at, "bad-value", `'${zone.slice(0, 60)}' is not a time zone`, "write an IANA name such as Europe/Berlin or UTC");
  return false;
}

function checkWindow(window: WindowDraft, outerZone: string, checks: FleetChecks, at: string): void {
  const zone = window.timeZone ?? outerZone;
  if (!checkZone(window.timeZone, checks, `${at}/timeZone`) || !isTimeZone(zone)) return;
  const [isRepeated, isOnce] = [window.schedule !== undefined || window.duration !== undefined, window.from !== undefined || window.to !== undefined];
  if (isRepeated === isOnce)
    tell(checks, at, "bad-value", "a window has a schedule and a duration, or from and to", 'for example { schedule: "0 22 * * *", duration: 6h }');
  else if (isRepeated) checkSchedule(window, zone, checks, at);
  else checkPeriod(window, zone, checks, at);
}

function checkSchedule({ schedule, duration }: WindowDraft, zone: string, checks: FleetChecks, at: string): void {
  if (schedule === undefined || duration === undefined) {
    tell(
      checks,
      at,
      "bad-value",
      `the window has no ${schedule === undefined ? "schedule" : "duration"}`,
      'for example { schedule: "0 22 * * *", duration: 6h }',
    );
    return;
  }
  checkDuration(duration, checks, `${at}/duration`, windowMaxMs);
  const parsed = parseSchedule(schedule);
  if (!parsed.ok)
    tell(checks, `${at}/schedule`, "bad-value", parsed.message, 'cron: minute, hour, day of the month, month, day of the week, e.g. "30 22 * * 1-5"');
  // Any moment does: what never comes in eight years never comes.
  else if (parseDuration(duration) !== undefined && nextStart(parsed.schedule, zone, 0) === undefined)
    tell(checks, `${at}/schedule`, "bad-value", `'${schedule}' never comes: no such day is in that month`);
}

function checkPeriod({ from, to }: WindowDraft, zone: string, checks: FleetChecks, at: string): void {
  const [start, end] = [localInstant(zone, from ?? ""), localInstant(zone, to ?? "")];
  const wrong = start === undefined ? ("from" as const) : end === undefined ? ("to" as const) : undefined;
  if (wrong !== undefined) tell(checks, `${at}/${wrong}`, "bad-value", `${wrong} is not a local time`, "write it as 2026-12-24T18:00");
  else if (start !== undefined && end !== undefined && end <= start)
    tell(checks, `${at}/to`, "bad-value", `the window ends (${to}) before it begins (${from})`);
}
