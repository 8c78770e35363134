import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { workingCopyBytesMax, workingCopyFilesMax } from "../limits.ts";
import { readWorkingCopy } from "./read-working-copy.ts";

describe("a working copy", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "working-copy-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const write = async (files: Record<string, string>, root = folder): Promise<void> => {
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), content);
    }
  };
  const git = (...args: string[]) => execFileSync("git", ["-C", folder, ...args], { stdio: "pipe" });
  const paths = async (from: string, fleetPath = ""): Promise<string[]> => (await readWorkingCopy(from, fleetPath)).map(({ path }) => path);

  it("of Git has what is tracked or would be added, as it is on disk, and not what is ignored or deleted", async () => {
    git("init", "-q");
    await write({ ".gitignore": "*.log\n", "a.yaml": "one", "gone.yaml": "", "sub/b.yaml": "", "noise.log": "" });
    git("add", "a.yaml", "gone.yaml");
    await write({ "a.yaml": "two" });
    await rm(join(folder, "gone.yaml"));
    const files = await readWorkingCopy(folder, "");
    expect(files.map(({ path }) => path)).toEqual([".gitignore", "a.yaml", "sub/b.yaml"]);
    expect(Buffer.from(files[1]?.content ?? "", "base64").toString()).toBe("two");
  });

  it("is read whole from a folder inside it, so that paths are the repository's", async () => {
    git("init", "-q");
    await write({ "apps/shop/fleet.yaml": "", "base/common.yaml": "" });
    expect(await paths(join(folder, "apps/shop"), "apps/shop")).toEqual(["apps/shop/fleet.yaml", "base/common.yaml"]);
  });

  it("that is no repository is all of a folder; the fleet's own folder stands for its path", async () => {
    await write({ "fleet.yaml": "", "web/a.yaml": "", ".git-not/x": "" });
    await symlink("fleet.yaml", join(folder, "link.yaml"));
    expect(await paths(folder)).toEqual([".git-not/x", "fleet.yaml", "web/a.yaml"]);
    expect(await paths(folder, "apps/shop")).toEqual(["apps/shop/.git-not/x", "apps/shop/fleet.yaml", "apps/shop/web/a.yaml"]);
  });

  it("that is none, is empty or is too large is refused, with what to do", async () => {
    await expect(readWorkingCopy(join(folder, "nowhere"), "")).rejects.toThrow(/nowhere is not a folder/);
    await expect(readWorkingCopy(folder, "")).rejects.toThrow(/has no files/);
    await write({ "large.bin": "" });
    await truncate(join(folder, "large.bin"), workingCopyBytesMax + 1);
    await expect(readWorkingCopy(folder, "")).rejects.toMatchObject({ message: expect.stringContaining("10 MiB"), hint: expect.stringContaining("--branch") });
    await rm(join(folder, "large.bin"));
    for (let index = 0; index <= workingCopyFilesMax; index += 1) writeFileSync(join(folder, `f-${index}`), "");
    await expect(readWorkingCopy(folder, "")).rejects.toThrow(`${workingCopyFilesMax} files`);
  });
});
