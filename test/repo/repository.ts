import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const repositoryRoot = fileURLToPath(new URL("../..", import.meta.url));

/** Every file that is in Git or would be added: what is ignored does not count. Sorted. */
export function repositoryFiles(): string[] {
  const output = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
    cwd: repositoryRoot,
    encoding: "utf8",
    maxBuffer: 64 * 1024 ** 2,
  });
  const deleted = new Set(execFileSync("git", ["ls-files", "--deleted", "-z"], { cwd: repositoryRoot, encoding: "utf8" }).split("\0"));
  return output
    .split("\0")
    .filter((file) => file !== "" && !deleted.has(file))
    .toSorted();
}

/** Our own code: not generated, not built. */
export function sourceFiles(): string[] {
  return repositoryFiles().filter((file) => /\.(ts|mjs|js)$/.test(file) && !file.includes("/gen/") && !file.startsWith("test/fixtures/"));
}

export function readText(file: string): string {
  return readFileSync(join(repositoryRoot, file), "utf8");
}

export function readJson<T>(file: string): T {
  return JSON.parse(readText(file)) as T;
}
