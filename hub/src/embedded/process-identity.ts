import { readFile } from "node:fs/promises";

/** A process that cannot be mistaken for a later one with the same pid: `startedAt` is the kernel's start tick. */
export interface ProcessIdentity {
  pid: number;
  /** Clock ticks since boot from /proc; empty where the kernel has no /proc, then only the pid counts. */
  startedAt: string;
}

/** Identity of a running process, or undefined when there is none with this pid. A zombie counts as gone. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  if (process.platform !== "linux") return signalReaches(pid) ? { pid, startedAt: "" } : undefined;
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (stat === undefined) return undefined;
  // The second field is the command in parentheses and may hold spaces; count from behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return { pid, startedAt: fields[19] ?? "" };
}

/** True while the very process that was identified runs. */
export async function stillRuns(identity: ProcessIdentity): Promise<boolean> {
  const now = await identifyProcess(identity.pid);
  return now !== undefined && now.startedAt === identity.startedAt;
}

/** Sends a signal; false when the process is gone already. */
export function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

function signalReaches(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
