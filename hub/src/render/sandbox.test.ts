import { readdir } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { limitAtOnce } from "./render-tools.ts";
import { hasNetworkTakenAway, runSandboxed } from "./sandbox.ts";
import { withScratchFolder } from "./scratch-folder.ts";

const never = new AbortController().signal;
const shell = async (script: string, more: { timeMs?: number; outputBytesMax?: number; signal?: AbortSignal } = {}) =>
  withScratchFolder(async ({ path }) => runSandboxed({ file: "/bin/sh", args: ["-c", script], folder: path, signal: never, ...more }));

describe("runSandboxed", () => {
  it("gives what the tool prints, and what it complains of", async () => {
    expect(await shell("echo hello; echo trouble >&2")).toEqual({ ended: "well", output: "hello\n", complaints: "trouble\n" });
    expect(await shell("echo trouble >&2; exit 3")).toEqual({ ended: "badly", complaints: "trouble\n" });
  });

  it("passes nothing of this process' environment on", async () => {
    process.env["FLOTILLA_CANARY"] = "canary-value";
    process.env["HTTPS_PROXY"] = "http://proxy.invalid";
    try {
      const outcome = await shell("env");
      expect(outcome).toMatchObject({ ended: "well", output: expect.not.stringMatching(/canary-value|proxy\.invalid/) });
    } finally {
      delete process.env["FLOTILLA_CANARY"];
      delete process.env["HTTPS_PROXY"];
    }
  });

  it("ends a tool that takes too long, with all that it started", async () => {
    expect(await shell("sleep 600 & sleep 600", { timeMs: 100 })).toEqual({ ended: "too late" });
  });

  it("ends a tool that prints too much", async () => {
    expect(await shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done", { outputBytesMax: 100_000 })).toEqual({ ended: "too large" });
  });

  it("rejects with the signal's reason", async () => {
    const controller = new AbortController();
    const running = shell("sleep 600", { signal: controller.signal });
    controller.abort(new Error("the hub ends"));
    await expect(running).rejects.toThrow("the hub ends");
    await expect(shell("true", { signal: controller.signal })).rejects.toThrow("the hub ends");
  });

  it("rejects when the tool is not there", async () => {
    const outcome = withScratchFolder(async ({ path }) => runSandboxed({ file: "/nonexistent/tool", args: [], folder: path, signal: never }));
    // With the confining programs in front it is they that say so.
    await expect(outcome.then(({ ended }) => ended))
      .resolves.toBe("badly")
      .catch(async () => expect(outcome).rejects.toThrow(/ENOENT/));
  });

  it.runIf(hasNetworkTakenAway())("has no network, not even this machine's own", async () => {
    const outcome = await shell("cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /proc/net/route | tail -n +2");
    expect(outcome).toMatchObject({ ended: "well", output: expect.stringMatching(/^\s*lo\s*$/) });
  });
});

describe("withScratchFolder", () => {
  it("leaves nothing behind, also when the work fails", async () => {
    let folder = "";
    await expect(
      withScratchFolder(async (scratch) => {
        folder = scratch.path;
        await scratch.write(new Map([["a/b/c.yaml", "x"]]));
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    await expect(readdir(folder)).rejects.toThrow(/ENOENT/);
  });

  it("writes nothing outside itself", async () => {
    await expect(withScratchFolder(async (scratch) => scratch.write(new Map([["../escape", "x"]])))).rejects.toThrow(/outside/);
  });

  it("takes its own path out of texts", async () => {
    expect(await withScratchFolder(async ({ path, scrub }) => scrub(`${path}/a.yaml and ${path}`))).toBe("a.yaml and .");
  });
});

describe("limitAtOnce", () => {
  it("runs no more than so many at once, and all in the end", async () => {
    const slot = limitAtOnce(2);
    let running = 0;
    let most = 0;
    const done = await Promise.all(
      Array.from({ length: 20 }, async (_, index) =>
        slot(async () => {
          most = Math.max(most, (running += 1));
          await Promise.resolve();
          running -= 1;
          if (index === 3) throw new Error("one fails");
          return index;
        }).catch(() => -1),
      ),
    );
    expect(most).toBe(2);
    expect(done.filter((index) => index >= 0)).toHaveLength(19);
  });
});
