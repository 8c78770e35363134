import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { goneWithin } from "./end-process.ts";
import { identifyProcess } from "./process-identity.ts";
import { type SuperviseOptions, superviseChild } from "./supervised-child.ts";

const deadlineMs = 10_000;

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + deadlineMs; !(await condition()); await delay(10)) if (Date.now() > end) throw new Error("did not come");
}

describe("a supervised server", () => {
  let folder: string;
  let warnings: string[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-supervised-"));
    warnings = [];
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** A program called `fake-server` that counts its starts. */
  async function options(script: string, ready: SuperviseOptions["ready"] = () => started(1)): Promise<SuperviseOptions> {
    const file = join(folder, "fake-server");
    await writeFile(file, `#!/bin/sh\necho start >>"${join(folder, "starts")}"\n${script}\n`);
    await chmod(file, 0o755);
    const log = { debug: () => undefined, info: () => undefined, warn: (_fields: object, message: string) => void warnings.push(message) };
    // Run by its own name, so that the supervisor knows it again.
    return { name: "fake-server", pidFile: join(folder, "pid"), stopSignal: "TERM", log, ready, command: async () => ({ file, args: [] }) };
  }
  const starts = async () => (await readFile(join(folder, "starts"), "utf8").catch(() => "")).split("\n").length - 1;
  const started = (count: number) => until(async () => (await starts()) >= count);

  it("runs until it is stopped, and is gone then", async () => {
    const server = await superviseChild(await options("exec sleep 60"));
    const running = await identifyProcess(server.pid);
    expect(running).toBeDefined();
    await server.stop();
    expect(running && (await goneWithin(running, 0))).toBe(true);
    expect(await starts()).toBe(1);
  });

  it("is started again when it dies, and tells so", async () => {
    let awaited = 0;
    const server = await superviseChild(await options("exec sleep 60", () => started(++awaited)));
    const first = server.pid;
    process.kill(first, "SIGKILL");
    await until(() => server.pid !== first);
    expect(await starts()).toBe(2);
    expect(warnings[0]).toContain("fake-server ended");
    await server.stop();
  });

  it("that does not start is an error with its last words", async () => {
    const failing = await options("echo no space left >&2; exit 3", async (signal) => {
      await until(() => signal.aborted);
      throw new Error("never answered");
    });
    await expect(superviseChild(failing)).rejects.toThrow(/fake-server did not become ready \(status 3\): no space left/);
  });

  it("that does not come back is tried again ever more slowly, and can be stopped meanwhile", async () => {
    let allowed = true;
    const flapping = await options("exec sleep 60", async () => {
      if (!allowed) throw new Error("no answer");
      await started(1);
    });
    const server = await superviseChild(flapping);
    allowed = false;
    process.kill(server.pid, "SIGKILL");
    await until(() => warnings.filter((line) => line.includes("did not start")).length >= 2);
    await server.stop();
    const after = await starts();
    await delay(50);
    expect(await starts()).toBe(after);
  });
});
