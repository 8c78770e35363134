import { setTimeout as delay } from "node:timers/promises";
import { waitFor } from "../harness/wait-for.ts";
import type { ChaosRig } from "./chaos-rig.ts";
import { seconds, type Struck } from "./fault-driver.ts";

/** Of the servers that the hub runs for itself. */
export async function killServer(rig: ChaosRig, server: "nats" | "postgres"): Promise<Struck> {
  process.kill(await livePid(rig, server), "SIGKILL");
  return {};
}

/** One that was killed a moment ago is started anew by the hub. */
export async function livePid(rig: ChaosRig, server: "nats" | "postgres"): Promise<number> {
  return await waitFor(
    async () => {
      const pid = await rig.serverPid(server);
      return process.kill(pid, 0) && pid;
    },
    { what: `a running ${server}`, timeoutMs: 15_000 },
  );
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Nothing of the process runs meanwhile, and nothing of what it keeps changes. */
export async function whileStopped(pid: number, act: (pid: number) => Promise<void>): Promise<void> {
  process.kill(pid, "SIGSTOP");
  try {
    await act(pid);
  } finally {
    wake(pid);
  }
}

/** One that was killed meanwhile is not there any more. */
function wake(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

export async function stopAndWake(pid: number, ms: number): Promise<Struck> {
  await whileStopped(pid, () => delay(ms));
  return { what: seconds(ms) };
}
