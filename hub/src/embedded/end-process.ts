import { setTimeout as delay } from "node:timers/promises";
import { endedPollMs } from "../limits.ts";
import { type ProcessIdentity, sendSignal, stillRuns } from "./process-identity.ts";

/**
 * Ends a process that is not our child (a child's end is seen by its exit event): each signal in turn, each with its
 * time in ms. True when the process is gone.
 */
export async function endProcess(target: ProcessIdentity, steps: readonly (readonly [NodeJS.Signals, number])[]): Promise<boolean> {
  for (const [signal, waitMs] of steps) {
    if (!(await stillRuns(target))) return true;
    sendSignal(target.pid, signal);
    if (await goneWithin(target, waitMs)) return true;
  }
  return !(await stillRuns(target));
}

/** Waits at most `waitMs` for a process to be gone. */
export async function goneWithin(target: ProcessIdentity, waitMs: number): Promise<boolean> {
  const deadline = Date.now() + waitMs;
  while (await stillRuns(target)) {
    if (Date.now() >= deadline) return false;
    await delay(endedPollMs);
  }
  return true;
}
