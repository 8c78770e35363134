import { mkdtempSync } from "node:fs";
import { chmod, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of this test's own, which others may enter (Postgres runs as somebody else). Remove it with `removeFolder`. */
export async function scratchFolder(name: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), `flotilla-${name}-`));
  await chmod(folder, 0o755);
  return folder;
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
