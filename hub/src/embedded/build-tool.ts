import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setTimeout as delay } from "node:timers/promises";
import { toolBuildMs, toolLockPollMs } from "../limits.ts";
import { claimFolder, FolderInUseError } from "./claim-folder.ts";
import type { Tool } from "./tools.ts";

export interface BuildToolOptions {
  name: string;
  tool: Tool;
  /** Where the program is put, by rename. */
  file: string;
  /** One build at a time on a machine: the folder that holds the lock. */
  lockFolder: string;
}

/**
 * Builds one program with Go and returns its file. Says on stderr what it does, with times. The sums in go.sum decide
 * what is built, so a build here is the build everywhere. Throws with Go's last lines.
 */
export async function buildTool(options: BuildToolOptions): Promise<string> {
  const { name, tool, file } = options;
  if (!(await hasGo())) throw new Error("there is no Go on PATH to build it with");
  await using _lock = await lockBuilds(options);
  if (existsSync(file)) return file;
  const startedAt = Date.now();
  say(`${name} ${tool.version}: building with Go, once for this machine …`);
  await mkdir(dirname(file), { recursive: true });
  const workFolder = `${file}.build`;
  await rm(workFolder, { recursive: true, force: true });
  await mkdir(workFolder);
  try {
    const built = join(workFolder, name);
    const { cwd, args, env } = goCommand(tool, built, workFolder);
    await runGo(args, cwd, env);
    await rename(existsSync(built) ? built : join(workFolder, programOf(tool.goPackage)), file);
  } finally {
    await rm(workFolder, { recursive: true, force: true });
  }
  say(`${name} ${tool.version}: ready in ${Math.round((Date.now() - startedAt) / 1_000)} s`);
  return file;
}

interface GoCommand {
  cwd: string;
  args: string[];
  env: NodeJS.ProcessEnv;
}

/** From our own module where it is (a clone, the image); by `go install` where Flotilla came as a package. */
function goCommand(tool: Tool, built: string, workFolder: string): GoCommand {
  const common = ["-trimpath", "-buildvcs=false", "-ldflags", `-s -w ${tool.linkerFlags ?? ""}`.trim()];
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "" };
  const folder = moduleFolder(tool);
  if (folder) return { cwd: folder, args: ["build", ...(tool.goFlags ?? []), ...common, "-o", built, tool.goPackage], env };
  if (!tool.installable) throw new Error(`its Go module is not here (hub/tools/${tool.moduleFolder} of the repository), and it cannot be installed without`);
  return { cwd: workFolder, args: ["install", ...common, `${tool.goPackage}@v${tool.version}`], env: { ...env, GOBIN: workFolder } };
}

/** hub/tools from hub/src/embedded, from hub/dist, and beside the packed program. */
function moduleFolder(tool: Tool): string | undefined {
  const folders = ["../../tools", "../tools", "./tools"].map((path) => fileURLToPath(new URL(`${path}/${tool.moduleFolder}`, import.meta.url)));
  return folders.find((folder) => existsSync(join(folder, "go.mod")));
}

/** The name `go install` gives: the last part of the package that is not a major version. */
function programOf(goPackage: string): string {
  return basename(goPackage.replace(/\/v\d+$/, ""));
}

async function hasGo(): Promise<boolean> {
  return promisify(execFile)("go", ["version"]).then(
    () => true,
    () => false,
  );
}

function runGo(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<void> {
  return new Promise((resolve, reject) => {
    const go = spawn("go", args, { cwd, env, stdio: ["ignore", "ignore", "pipe"], timeout: toolBuildMs });
    let tail = "";
    go.stderr.on("data", (bytes: Buffer) => {
      tail = (tail + bytes.toString()).slice(-2_000);
    });
    go.once("error", reject);
    go.once("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`go ${args[0]} ended with ${signal ?? `status ${code}`}: ${tail.trim().split("\n").slice(-8).join("\n")}`));
    });
  });
}

/** Waits for another build; a lock whose holder is gone is taken over. */
async function lockBuilds(options: BuildToolOptions): Promise<AsyncDisposable> {
  const deadline = Date.now() + toolBuildMs;
  for (let told = false; ; told = true) {
    try {
      const claim = await claimFolder(options.lockFolder, "build.lock");
      return { [Symbol.asyncDispose]: () => claim.release() };
    } catch (error) {
      if (!(error instanceof FolderInUseError) || Date.now() > deadline) throw error;
      if (!told) say(`${options.name}: waiting for process ${error.pid}, which builds …`);
      await delay(toolLockPollMs);
    }
  }
}

function say(line: string): void {
  process.stderr.write(`flotilla: ${line}\n`);
}
