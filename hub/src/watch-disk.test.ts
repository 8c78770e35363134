import { afterEach, describe, expect, it, vi } from "vitest";
import { diskFreeBytesMin } from "./limits.ts";
import { watchDisk } from "./watch-disk.ts";

const disk = vi.hoisted(() => ({ freeBytes: 0, looks: 0 }));
vi.mock("node:fs/promises", async (original) => ({
  ...(await original<object>()),
  async statfs() {
    disk.looks += 1;
    return { bavail: disk.freeBytes / 4_096, bsize: 4_096 };
  },
}));

describe("the data folder's disk", () => {
  let watch: { close(): Promise<void> } | undefined;
  afterEach(() => watch?.close());

  it("is told once when it is full, and once when it has room again", async () => {
    const told: string[] = [];
    disk.freeBytes = diskFreeBytesMin;
    const log = { info: (_: object, text: string) => told.push(`info ${text}`), error: (_: object, text: string) => told.push(`error ${text}`) };
    const onRoom = vi.fn();
    watch = watchDisk({ dataDir: "/var/lib/hub", log, onRoom, everyMs: 5 });
    disk.freeBytes = 1024 ** 2;
    await vi.waitFor(() => expect(told).toEqual([expect.stringMatching(/^error the disk that holds \/var\/lib\/hub is full: 1 MiB free/)]));
    disk.freeBytes = diskFreeBytesMin * 2;
    await vi.waitFor(() => expect(told[1]).toMatch(/^info the disk that holds \/var\/lib\/hub has room again: 128 MiB free/));
    expect(told).toHaveLength(2);
    expect(onRoom).toHaveBeenCalledOnce();
  });

  it("has room again where it was full between two looks, and something could not be written", async () => {
    disk.freeBytes = diskFreeBytesMin;
    let failed = true;
    const log = { info: vi.fn(), error: vi.fn() };
    const onRoom = vi.fn(() => (failed = false));
    watch = watchDisk({ dataDir: "/var/lib/hub", log, couldNotWrite: () => failed, onRoom, everyMs: 5 });
    const looks = disk.looks;
    await vi.waitFor(() => expect(disk.looks).toBeGreaterThan(looks + 2));
    expect(onRoom).not.toHaveBeenCalled();
    disk.freeBytes = diskFreeBytesMin * 2;
    await vi.waitFor(() => expect(onRoom).toHaveBeenCalledOnce());
    expect(log.error).not.toHaveBeenCalled();
  });
});
