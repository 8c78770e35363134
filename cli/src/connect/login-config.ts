import { chmod, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { exitCodes } from "../exit-codes.ts";
import type { Environment } from "../fleet-context.ts";
import { FleetError } from "../fleet-error.ts";

/** A hub that somebody logged in to. */
export interface LoginContext {
  readonly name: string;
  readonly url: string;
  readonly token: string;
  /** PEM of the CA that signs the hub's certificate; undefined trusts the system's. */
  readonly ca?: string;
}

export interface LoginConfig {
  readonly current: string | undefined;
  readonly contexts: readonly LoginContext[];
}

/** `$XDG_CONFIG_HOME/flotilla/config.json`. */
export function configFile(env: Environment): string {
  return join(env.XDG_CONFIG_HOME || join(env.HOME || homedir(), ".config"), "flotilla", "config.json");
}

/** The saved logins; none when nobody logged in. Throws FleetError for a file that is not ours to read. */
export async function readLogins(env: Environment): Promise<LoginConfig> {
  const file = configFile(env);
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new FleetError(`cannot read ${file}: ${error.message}`, exitCodes.failed, { cause: error });
  });
  if (text === undefined) return { current: undefined, contexts: [] };
  const parsed = parse(text);
  if (!parsed) throw new FleetError(`${file} is not a login file`, exitCodes.failed, { hint: "delete it and log in again: fleet login URL" });
  return parsed;
}

function parse(text: string): LoginConfig | undefined {
  try {
    const { current, contexts } = JSON.parse(text) as { current?: unknown; contexts?: unknown };
    if (!Array.isArray(contexts) || !contexts.every(isLogin)) return undefined;
    return { current: typeof current === "string" ? current : undefined, contexts };
  } catch {
    return undefined;
  }
}

function isLogin(value: unknown): value is LoginContext {
  const login = value as Partial<LoginContext> | null;
  return typeof login?.name === "string" && typeof login.url === "string" && typeof login.token === "string";
}

/** Writes by rename, readable by its owner only: it holds tokens. */
export async function writeLogins(env: Environment, config: LoginConfig): Promise<void> {
  const file = configFile(env);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const part = `${file}.${process.pid}`;
  await writeFile(part, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
  await chmod(part, 0o600);
  await rename(part, file);
}

/** Whether others than the owner can read the tokens; undefined without a file. */
export async function loginsAreOpen(env: Environment): Promise<boolean | undefined> {
  const found = await stat(configFile(env)).catch(() => undefined);
  return found && (found.mode & 0o077) !== 0;
}
