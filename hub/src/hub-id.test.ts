import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readHubId } from "./hub-id.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "flotilla-hub-id-"));
});

afterEach(() => rm(folder, { recursive: true }));

describe("a replica's name", () => {
  it("stays the same over restarts, and differs from another's", async () => {
    const first = await readHubId(folder);
    expect(await readHubId(folder)).toBe(first);
    await rm(join(folder, "hub-id"));
    expect(await readHubId(folder)).not.toBe(first);
  });

  it("is made anew when the file holds something else", async () => {
    await writeFile(join(folder, "hub-id"), "not\na name");
    const made = await readHubId(folder);
    expect((await readFile(join(folder, "hub-id"), "utf8")).trim()).toBe(made);
  });
});
