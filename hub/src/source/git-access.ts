import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Problem } from "../domain/problem.ts";
import { gitEnvironment, type GitCredentials } from "./git-environment.ts";
import type { RepositoryUrl } from "./repository-url.ts";

/** How a server is spoken to: what its commands find in their environment. Close it when they have run. */
export interface Access {
  readonly ok: true;
  readonly env: (gitDir: string) => Record<string, string>;
  readonly secrets: readonly string[];
  close(): Promise<void>;
}

/** Credentials in the form that Git takes them; files live as long as the fetch and are only ours to read. */
export async function openAccess(
  accessFolder: string,
  { repository, credentials }: { readonly repository: RepositoryUrl; readonly credentials?: GitCredentials | undefined },
): Promise<Access | { readonly ok: false; readonly problem: Problem }> {
  const { transport } = repository;
  const nothingToClose = async (): Promise<void> => {};
  if (transport !== "ssh") {
    if (credentials !== undefined && !("password" in credentials))
      return wrongCredentials("an SSH key cannot be used over https", "give a token, or use the ssh URL");
    const password = transport === "file" ? undefined : credentials;
    if (password?.username?.includes(":") === true) return wrongCredentials("a user's name cannot hold ':'", "check the username");
    const secrets = password === undefined ? [] : [password.password, Buffer.from(`${password.username ?? "git"}:${password.password}`).toString("base64")];
    return {
      ok: true,
      secrets,
      close: nothingToClose,
      env: (gitDir) => gitEnvironment({ gitDir, transport, ...(password === undefined ? {} : { password }) }),
    };
  }
  if (credentials === undefined || !("sshPrivateKey" in credentials))
    return wrongCredentials("an ssh repository needs a private key and known hosts", "give --ssh-key and --known-hosts, or use the https URL with a token");
  if (credentials.knownHosts.trim() === "") {
    return {
      ok: false,
      problem: {
        code: "host-key",
        message: "no known hosts were given for this ssh repository; an unknown server is never trusted on first sight",
        hint: "give --known-hosts: the output of ssh-keyscan HOST, checked with the server's owner",
      },
    };
  }
  const folder = await mkdtemp(join(accessFolder, "key-"));
  const keyFile = join(folder, "key");
  const knownHostsFile = join(folder, "known_hosts");
  await writeFile(keyFile, `${credentials.sshPrivateKey.trimEnd()}\n`, { mode: 0o600 });
  await writeFile(knownHostsFile, `${credentials.knownHosts.trimEnd()}\n`, { mode: 0o600 });
  return {
    ok: true,
    secrets: [],
    env: (gitDir) => gitEnvironment({ gitDir, transport, ssh: { keyFile, knownHostsFile } }),
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

function wrongCredentials(message: string, hint: string): { readonly ok: false; readonly problem: Problem } {
  return { ok: false, problem: { code: "wrong-credentials", message, hint } };
}
