import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A folder for one run of a tool. */
export interface ScratchFolder {
  readonly path: string;
  /** Write files by relative path; folders are made. Paths come from a SourceTree, which has no ".." in them. */
  write(files: ReadonlyMap<string, Uint8Array | string>): Promise<void>;
  /** A text without this folder's path in it. */
  scrub(text: string): string;
}

/** Use a scratch folder, and remove it whatever happens. Rejects with the system's error when the disk is full. */
export async function withScratchFolder<T>(use: (scratch: ScratchFolder) => Promise<T>): Promise<T> {
  const path = await mkdtemp(join(tmpdir(), "flotilla-render-"));
  try {
    return await use({
      path,
      write: async (files) => writeAll(path, files),
      scrub: (text) => text.replaceAll(`/private${path}`, "").replaceAll(`${path}/`, "").replaceAll(path, "."),
    });
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

async function writeAll(root: string, files: ReadonlyMap<string, Uint8Array | string>): Promise<void> {
  const folders = new Set([...files.keys()].map((file) => dirname(join(root, file))));
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [file, content] of files) {
    const path = join(root, file);
    if (!path.startsWith(`${root}/`)) throw new Error(`${file} would be written outside the scratch folder`);
    await writeFile(path, content, { mode: 0o600, flag: "wx" });
  }
}
