import { readdir, readFile } from "node:fs/promises";

/** In the environment of everything that a test run starts, however deep, so that what outlives the run can be found. */
export const runVariable = "FLOTILLA_TEST_RUN";

export interface RunProcess {
  pid: number;
  command: string;
}

/** Processes of a run that live, without this one and its ancestors. Empty where the system has no /proc. */
export async function findRunProcesses(run: string): Promise<RunProcess[]> {
  const ours = await ancestors();
  const found: RunProcess[] = [];
  for (const name of await readdir("/proc").catch(() => [] as string[])) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || ours.has(pid)) continue;
    const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "");
    if (!environment.split("\0").includes(`${runVariable}=${run}`)) continue;
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ").trim();
    // The test runner's own companion ends with the runner.
    if (command && !command.startsWith("vitest")) found.push({ pid, command: command.slice(0, 200) });
  }
  return found;
}

async function ancestors(): Promise<Set<number>> {
  const pids = new Set<number>();
  for (let pid = process.pid; pid > 0 && !pids.has(pid);) {
    pids.add(pid);
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    pid = Number(/^PPid:\s*(\d+)/m.exec(status)?.[1] ?? 0);
  }
  return pids;
}
