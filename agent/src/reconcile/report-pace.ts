import { engineLimits } from "../limits.ts";

/**
 * When a fleet's next report may be made: soon after a change, at once after the end of a plan, four times a second when it goes on and on, and ever more
 * seldom the longer a report takes to make. Times are performance.now().
 */
export class ReportPace {
  /** The totals of a large fleet are not added up ten times a second while all of it changes. */
  #notBefore = -Infinity;
  /** When all reports so far would have been made at the steady pace. */
  #steadyAt = -Infinity;

  /** Milliseconds from a change to the report that tells of it. */
  waitMs(isPlanning: boolean): number {
    const foldMs = isPlanning ? engineLimits.reportProgressMs : engineLimits.reportFoldMs;
    const freeAt = this.#steadyAt - engineLimits.reportsInARow * engineLimits.reportSteadyMs;
    return Math.max(foldMs, Math.max(this.#notBefore, freeAt) - performance.now());
  }

  /** A report was looked for since then; `isNews` when there was something to tell. */
  made(startedAt: number, isNews: boolean): void {
    const now = performance.now();
    this.#notBefore = now + Math.min(engineLimits.reportFoldMaxMs, (now - startedAt) * engineLimits.reportPatience);
    if (isNews) this.#steadyAt = Math.max(this.#steadyAt, now) + engineLimits.reportSteadyMs;
  }
}
