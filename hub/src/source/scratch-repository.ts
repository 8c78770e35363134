import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A repository of a unit test: real Git in a temporary folder, reached by file://. Disposed with `using`. */
export class ScratchRepository {
  readonly folder = mkdtempSync(join(tmpdir(), "flotilla-git-"));
  readonly url = `file://${this.folder}/work`;
  readonly work = join(this.folder, "work");

  constructor(initArgs: readonly string[] = []) {
    mkdirSync(this.work);
    this.git("init", "-q", "-b", "main", ...initArgs);
    this.git("config", "uploadpack.allowFilter", "true");
  }

  git(...args: string[]): string {
    const env = {
      PATH: process.env.PATH ?? "",
      HOME: this.folder,
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_AUTHOR_NAME: "Ada",
      GIT_AUTHOR_EMAIL: "ada@example.com",
      GIT_COMMITTER_NAME: "Ada",
      GIT_COMMITTER_EMAIL: "ada@example.com",
    };
    return execFileSync("git", args, { cwd: this.work, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  }

  /** Write files (null removes one), commit, and return the commit. */
  commit(files: Readonly<Record<string, string | Uint8Array | null>>, subject = "change"): string {
    for (const [path, content] of Object.entries(files)) {
      const file = join(this.work, path);
      if (content === null) rmSync(file);
      else {
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, content);
      }
    }
    this.git("add", "-A");
    this.git("commit", "-q", "--allow-empty", "-m", subject);
    return this.head();
  }

  /** A commit whose tree is exactly these entries: what no `git add` would make. */
  commitTree(entries: readonly { readonly mode: string; readonly type: string; readonly id: string; readonly name: string }[]): string {
    const listing = entries.map(({ mode, type, id, name }) => `${mode} ${type} ${id}\t${name}\0`).join("");
    const tree = execFileSync("git", ["mktree", "-z", "--missing"], { cwd: this.work, input: listing, encoding: "utf8" }).trim();
    const commit = this.git("commit-tree", "-m", "made by hand", tree);
    this.git("update-ref", "refs/heads/main", commit);
    return commit;
  }

  blob(content: string): string {
    return execFileSync("git", ["hash-object", "-w", "--stdin", "--literally"], { cwd: this.work, input: content, encoding: "utf8" }).trim();
  }

  head(ref = "HEAD"): string {
    return this.git("rev-parse", ref);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
