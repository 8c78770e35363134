import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { endedPollMs, folderClaimWaitMs } from "../limits.ts";
import { setTimeout as delay } from "node:timers/promises";
import { identifyProcess, type ProcessIdentity, stillRuns } from "./process-identity.ts";

/** The folder belongs to a process that runs. */
export class FolderInUseError extends Error {
  override readonly name = "FolderInUseError";
  readonly pid: number;

  constructor(folder: string, pid: number) {
    super(`${folder} is used by process ${pid}. Stop that one, or give this one a folder of its own.`);
    this.pid = pid;
  }
}

export interface FolderClaim {
  release(): Promise<void>;
}

/**
 * Makes this process the only user of a folder until it releases it or dies: a claim whose process is gone is taken
 * over. Throws FolderInUseError.
 */
export async function claimFolder(folder: string, fileName = "owner.json"): Promise<FolderClaim> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, fileName);
  const deadline = Date.now() + folderClaimWaitMs;
  for (;;) {
    if (await writeClaim(file)) return { release: () => rm(file, { force: true }) };
    const owner = await readClaim(file);
    if (owner && (await stillRuns(owner))) throw new FolderInUseError(folder, owner.pid);
    // No owner: stale, or between creation and its first byte. The rename decides who of two takes it over.
    if (owner || Date.now() >= deadline) await rename(file, `${file}.stale`).catch(() => undefined);
    await delay(endedPollMs);
  }
}

async function writeClaim(file: string): Promise<boolean> {
  try {
    await using handle = await open(file, "wx", 0o600);
    await handle.writeFile(JSON.stringify(await identifyProcess(process.pid)));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function readClaim(file: string): Promise<ProcessIdentity | undefined> {
  try {
    const claim = JSON.parse(await readFile(file, "utf8")) as ProcessIdentity;
    return typeof claim.pid === "number" ? claim : undefined;
  } catch {
    return undefined;
  }
}
