import { engineLimits } from "../limits.ts";

/**
 * When a fleet's next report may be made: soon after a change, at once after the end of a plan, four times a second when it goes on and on, and ever more
 * seldom the longer a plan or the making of a report takes. Times are performance.now().
 */
export class ReportPace {
  /** The totals of a large fleet are not added up ten times a second while all of it changes. */
  #notBefore = -Infinity;
  /** When all reports so far would have been made at the steady pace. */
  #steadyAt = -Infinity;

  /** When the last report with news was made. */
  #toldAt = -Infinity;

  /** Milliseconds from a change to the report that tells of it; `plannedForMs` is how long a plan has been carried out by now, undefined when none is. */
  waitMs(plannedForMs: number | undefined): number {
    const { reportFoldMs, reportProgressMs, reportsInARow, reportSteadyMs } = engineLimits;
    const isPlanning = plannedForMs !== undefined;
    const freeAt = this.#steadyAt - reportsInARow * reportSteadyMs;
    const progressAt = isPlanning ? this.#toldAt + progressMs(plannedForMs) : -Infinity;
    return Math.max(isPlanning ? reportProgressMs : reportFoldMs, Math.max(this.#notBefore, freeAt, progressAt) - performance.now());
  }

  /** A report was looked for since then; `isNews` when there was something to tell. */
  made(startedAt: number, isNews: boolean): void {
    const now = performance.now();
    this.#notBefore = now + Math.min(engineLimits.reportFoldMaxMs, (now - startedAt) * engineLimits.reportPatience);
    if (!isNews) return;
    this.#toldAt = now;
    this.#steadyAt = Math.max(this.#steadyAt, now) + engineLimits.reportSteadyMs;
  }
}

/** The longer a plan takes, the less a report more says of how far it is; a cluster that is short of CPU is not kept from its work by telling of it. */
function progressMs(plannedForMs: number): number {
  const { reportProgressMs, reportProgressMaxMs, reportProgressShare } = engineLimits;
  return Math.min(Math.max(plannedForMs * reportProgressShare, reportProgressMs), reportProgressMaxMs);
}
