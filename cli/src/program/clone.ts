import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { exitCodes } from "../exit-codes.ts";
import type { FleetContext } from "../fleet-context.ts";
import { FleetError, wrongUse } from "../fleet-error.ts";
import { maxGitOutputBytes } from "../limits.ts";

/** A file's content before and after; the path is from the work tree's root. */
export interface FileChange {
  readonly file: string;
  readonly before: string;
  readonly after: string;
}

/** Somebody's clone. Neither its work tree nor its index nor the branch that is checked out is ever touched. */
export interface Clone {
  /** Root of the work tree. */
  readonly root: string;
  /** Files that differ from the commit that is checked out, or are in none. */
  uncommitted(): Promise<readonly string[]>;
  /** A unified diff. Leaves nothing behind. */
  diff(changes: readonly FileChange[], coloured: boolean): Promise<string>;
  /** A new branch with one commit on top of what is checked out; gives the commit. */
  commit(changes: readonly FileChange[], branch: string, message: string): Promise<string>;
  hasBranch(branch: string): Promise<boolean>;
  /** Names of remotes; "origin" first where there is one. */
  remotes(): Promise<readonly string[]>;
}

/** @throws FleetError when the folder is in no clone, or there is no Git here. */
export async function openClone(context: FleetContext, folder: string): Promise<Clone> {
  const root = (
    await git(context, folder, ["rev-parse", "--show-toplevel"]).catch((error: unknown) => {
      const isMissing = (error as { cause?: { code?: unknown } }).cause?.code === "ENOENT";
      throw isMissing
        ? new FleetError("there is no git on this machine", exitCodes.failed, { hint: "install git: it reads your clone and writes the commit" })
        : wrongUse(`${folder} is no clone of a Git repository`, "give --path the folder of your clone of the fleet's repository");
    })
  ).trim();
  const run = (args: readonly string[], options: { input?: string; env?: Record<string, string> } = {}): Promise<string> => git(context, root, args, options);
  return {
    root,
    async uncommitted() {
      const status = await run(["status", "--porcelain", "-z", "--no-renames"]);
      return status.split("\0").flatMap((line) => (line === "" ? [] : [line.slice(3)]));
    },
    async diff(changes, coloured) {
      const scratch = await mkdtemp(join(tmpdir(), "fleet-diff-"));
      try {
        // Objects of a diff that nobody asked to keep go into a folder of their own.
        const objects = (await run(["rev-parse", "--path-format=absolute", "--git-path", "objects"])).trim();
        const env = { GIT_OBJECT_DIRECTORY: scratch, GIT_ALTERNATE_OBJECT_DIRECTORIES: objects };
        const [before, after] = [await tree(run, changes, "before", env), await tree(run, changes, "after", env)];
        return (await run(["diff", "--no-ext-diff", `--color=${coloured ? "always" : "never"}`, before, after], { env })).trimEnd();
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    },
    async commit(changes, branch, message) {
      const parent = (await run(["rev-parse", "HEAD"])).trim();
      const signs = (await run(["config", "--type=bool", "--default=false", "--get", "commit.gpgsign"])).trim() === "true";
      const made = await tree(run, changes, "after");
      const commit = (await run(["commit-tree", ...(signs ? ["-S"] : []), "-p", parent, "-F", "-", made], { input: message })).trim();
      await run(["update-ref", `refs/heads/${branch}`, commit, ""]);
      return commit;
    },
    hasBranch: (branch) => run(["show-ref", "--verify", "--quiet", `refs/heads/${branch}`]).then(...yesOrNo),
    remotes: async () => (await run(["remote"])).split("\n").filter((name) => name !== "").toSorted((a, b) => Number(b === "origin") - Number(a === "origin")), // prettier-ignore
  };
}

const yesOrNo = [() => true, () => false] as const;

/** The tree that is checked out with the changed files in it, made by an index of its own. */
async function tree(
  run: (args: readonly string[], options?: { input?: string; env?: Record<string, string> }) => Promise<string>,
  changes: readonly FileChange[],
  side: "before" | "after",
  env: Record<string, string> = {},
): Promise<string> {
  const scratch = await mkdtemp(join(tmpdir(), "fleet-index-"));
  try {
    const own = { ...env, GIT_INDEX_FILE: join(scratch, "index") };
    await run(["read-tree", "HEAD"], { env: own });
    for (const change of changes) {
      const mode = (await run(["ls-files", "--stage", "--", `:(literal,top)${change.file}`], { env: own })).split(" ")[0] || "100644";
      const blob = (await run(["hash-object", "-w", "--stdin"], { env: own, input: change[side] })).trim();
      await run(["update-index", "--add", "--cacheinfo", `${mode},${blob},${change.file}`], { env: own });
    }
    return (await run(["write-tree"], { env: own })).trim();
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function git(
  context: FleetContext,
  folder: string,
  args: readonly string[],
  { input = "", env = {} }: { readonly input?: string; readonly env?: Record<string, string> } = {},
): Promise<string> {
  const running = promisify(execFile)("git", ["-C", folder, ...args], {
    env: { ...context.env, GIT_OPTIONAL_LOCKS: "0", ...env },
    maxBuffer: maxGitOutputBytes,
    signal: context.signal,
  });
  running.child.stdin?.on("error", () => undefined);
  running.child.stdin?.end(input);
  try {
    return (await running).stdout;
  } catch (error) {
    const { stderr = "", message } = error as { stderr?: string; message: string };
    const said = /^(?:fatal|error): (.*)$/m.exec(stderr)?.[1] ?? (stderr.trim() || message);
    const hint = /user\.(name|email)|tell me who you are/i.test(stderr) ? "git config user.name and user.email say whose commit it is" : undefined;
    throw new FleetError(`git ${args[0]}: ${said}`, exitCodes.failed, { hint, cause: error });
  }
}
