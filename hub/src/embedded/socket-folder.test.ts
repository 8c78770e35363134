import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { socketFolderIn, takesSockets } from "./socket-folder.ts";

describe("the folder of Postgres' sockets", () => {
  let data: string;
  beforeEach(async () => {
    data = await mkdtemp(join(tmpdir(), "flotilla-sockets-"));
  });
  afterEach(() => rm(data, { recursive: true, force: true }));

  it("is empty, and nobody else may enter it", async () => {
    expect(await socketFolderIn(data)).toBe(join(data, "sockets"));
    await writeFile(join(data, "sockets", ".s.PGSQL.5432.lock"), "1");
    await socketFolderIn(data);
    expect(await readdir(join(data, "sockets"))).toEqual([]);
    expect((await stat(join(data, "sockets"))).mode & 0o777).toBe(0o700);
  });

  it.each([
    ["too long", "a".repeat(100)],
    ["split by Postgres", "a,b"],
    ["ended by Postgres", 'a"b'],
  ])("is nowhere where its path would be %s", async (_why, name) => {
    expect(await socketFolderIn(join(data, name))).toBeUndefined();
    expect(await readdir(data)).toEqual([]);
  });

  it("is nowhere where the file system takes no sockets", async () => {
    expect(await takesSockets(data)).toBe(true);
    expect(await takesSockets("/proc/self")).toBe(false);
  });
});
