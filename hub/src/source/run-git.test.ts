import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { gitEnvironment } from "./git-environment.ts";
import { writeGitGuard } from "./git-guard.ts";
import { diagnoseGit } from "./git-problem.ts";
import { runGit, type GitCommand } from "./run-git.ts";

const nothing = { folders: [], words: [] };

describe("runGit", () => {
  let folder: string;
  let command: Omit<GitCommand, "args">;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "flotilla-run-"));
    command = { env: gitEnvironment({ gitDir: folder }), guard: await writeGitGuard(folder), timeoutMs: 20_000 };
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** A Git whose shell alias starts a child that would outlive it. */
  function sleeping(name: string): readonly string[] {
    const script = join(folder, name);
    writeFileSync(script, "#!/bin/sh\nsleep 300 &\nsleep 300\n", { mode: 0o700 });
    return ["-c", `alias.hang=!${script}`, "hang"];
  }

  it("gives the output, or the exit status and what was said", async () => {
    expect(await runGit({ ...command, args: ["version"] })).toMatchObject({ ok: true, stdout: expect.stringMatching(/^git version/) as string });
    expect(await runGit({ ...command, args: ["rev-parse", "--verify", "nothing"] })).toMatchObject({
      ok: false,
      exitCode: 128,
      stderr: expect.stringContaining("not a git repository") as string,
    });
  });

  it("refuses aliases, so that no setting can bring a program in", async () => {
    expect(await runGit({ ...command, args: sleeping("alias.sh") })).toMatchObject({ ok: false, stderr: expect.stringContaining("not permitted") as string });
  });

  it("ends a command that takes too long, with everything that it started", async () => {
    // A hook path is refused like an alias; a program in Git's place is the plainest thing that hangs.
    const guard = join(folder, "hanging-guard");
    writeFileSync(guard, "exec setsid sh -c 'trap \"\" TERM; sleep 301 & sleep 301 & wait; wait'\n");
    const startedAt = performance.now();
    const output = await runGit({ ...command, guard, args: ["version"], timeoutMs: 300 });
    expect(output).toMatchObject({ ok: false, stopped: "timeout" });
    expect(performance.now() - startedAt).toBeLessThan(6_000);
    expect(diagnoseGit(output as Extract<typeof output, { ok: false }>, nothing).problem.code).toBe("git-timeout");
    for (let tries = 0; tries < 50 && processesWith("sleep\u0000301").length > 0; tries += 1) await delay(50);
    expect(processesWith("sleep\u0000301")).toEqual([]);
  }, 15_000);

  it("ends a command that says too much", async () => {
    const guard = join(folder, "loud-guard");
    writeFileSync(guard, "exec cat /dev/zero\n");
    expect(await runGit({ ...command, guard, args: ["version"] })).toMatchObject({ ok: false, stopped: "too-big" });
  });

  it("ends when it is told to, also before it began", async () => {
    const guard = join(folder, "hanging-guard");
    writeFileSync(guard, "exec sleep 302\n");
    const stop = new AbortController();
    const running = runGit({ ...command, guard, args: ["version"], signal: stop.signal });
    setTimeout(() => stop.abort(), 100);
    expect(await running).toMatchObject({ ok: false, stopped: "aborted" });
    expect(await runGit({ ...command, args: ["version"], signal: AbortSignal.abort() })).toMatchObject({ ok: false, stopped: "aborted" });
  });

  it("says that Git is not installed", async () => {
    const output = await runGit({ ...command, env: { ...command.env, PATH: folder }, args: ["version"] });
    expect(output.ok).toBe(false);
    expect(diagnoseGit(output as Extract<typeof output, { ok: false }>, nothing).problem.code).toBe("git-missing");
  });

  it("gives Git nothing of the hub's environment", async () => {
    process.env.FLOTILLA_CANARY = "canary";
    process.env.GIT_CONFIG_PARAMETERS = "'core.sshCommand'='touch canary'";
    try {
      const env = gitEnvironment({ gitDir: folder, transport: "https", password: { password: "t" } });
      expect(env).not.toHaveProperty("FLOTILLA_CANARY");
      expect(env).not.toHaveProperty("GIT_CONFIG_PARAMETERS");
      expect(env.GIT_ALLOW_PROTOCOL).toBe("https");
      const guard = join(folder, "env-guard");
      writeFileSync(guard, "exec env\n");
      const output = await runGit({ ...command, guard, args: ["version"] });
      expect(output.ok && output.stdout).not.toContain("canary");
    } finally {
      delete process.env.FLOTILLA_CANARY;
      delete process.env.GIT_CONFIG_PARAMETERS;
    }
  });

  it("runs nothing of a repository's own configuration", async () => {
    const canary = join(folder, "canary");
    const output = await runGit({ ...command, args: ["ls-remote", "--end-of-options", `ext::sh -c touch% ${canary}`] });
    expect(output.ok).toBe(false);
    expect(existsSync(canary)).toBe(false);
  });
});

function processesWith(words: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(words);
      } catch {
        return false;
      }
    });
}
