import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { claimFolder, FolderInUseError } from "./claim-folder.ts";
import { identifyProcess } from "./process-identity.ts";

describe("claiming a folder", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-claim-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("gives it to one of many, and to the next when it is released", async () => {
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => claimFolder(folder)));
    const winners = results.filter((result) => result.status === "fulfilled");
    expect(winners).toHaveLength(1);
    for (const result of results) if (result.status === "rejected") expect(result.reason).toBeInstanceOf(FolderInUseError);
    await winners[0]?.value.release();
    await (await claimFolder(folder)).release();
  });

  it("takes over from a process that is gone, also when its pid is another's now", async () => {
    await writeFile(join(folder, "owner.json"), JSON.stringify({ pid: process.pid, startedAt: "1" }));
    await (await claimFolder(folder)).release();
  });

  it("takes over a claim that a crash left empty", async () => {
    await writeFile(join(folder, "owner.json"), "");
    await (await claimFolder(folder)).release();
  });

  it("names the process that holds it", async () => {
    const other = spawn("sleep", ["30"]);
    await writeFile(join(folder, "owner.json"), JSON.stringify(await identifyProcess(other.pid ?? 0)));
    await expect(claimFolder(folder)).rejects.toThrow(`used by process ${other.pid}`);
    other.kill();
    await once(other, "exit");
  });
});
