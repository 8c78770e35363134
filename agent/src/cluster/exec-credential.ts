import { spawn } from "node:child_process";
import { KubeError } from "./kube-error.ts";

/** The `exec` of a kubeconfig user. */
export interface ExecPlugin {
  readonly command: string;
  readonly args?: readonly string[] | null;
  readonly env?: readonly { readonly name: string; readonly value: string }[] | null;
  readonly apiVersion?: string;
  readonly installHint?: string;
}

/** What a plugin gave. */
export interface ExecCredential {
  readonly token: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  /** Epoch milliseconds; Infinity when the plugin did not say. */
  readonly expiresAt: number;
}

/** A cloud's plugin asks its metadata server; half a minute is a failure, not a wait. */
const pluginTimeoutMs = 30_000;
/** A credential is a few KB. */
const maxOutputBytes = 1_000_000;

/**
 * Run a credential plugin (client.authentication.k8s.io) without a shell: command and arguments go to the system as they are.
 *
 * @throws KubeError when it cannot be run, fails, takes over 30 s or does not print an ExecCredential.
 */
export async function runExecPlugin(plugin: ExecPlugin): Promise<ExecCredential> {
  const apiVersion = plugin.apiVersion ?? "client.authentication.k8s.io/v1";
  const request = JSON.stringify({ apiVersion, kind: "ExecCredential", spec: { interactive: false } });
  const extra = Object.fromEntries((plugin.env ?? []).map(({ name, value }) => [name, value]));
  const output = await run(plugin, { ...process.env, ...extra, KUBERNETES_EXEC_INFO: request });
  return readCredential(output, plugin.command);
}

function run(plugin: ExecPlugin, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(plugin.command, plugin.args ?? [], {
      env,
      shell: false,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: pluginTimeoutMs,
      killSignal: "SIGKILL",
    });
    const [out, err]: [Buffer[], Buffer[]] = [[], []];
    let bytes = 0;
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxOutputBytes) child.kill("SIGKILL");
      else into.push(chunk);
    };
    child.stdout.on("data", collect(out));
    child.stderr.on("data", collect(err));
    child.on("error", (cause) =>
      reject(
        new KubeError(
          "unusable",
          `credential plugin "${plugin.command}" cannot be run: ${cause.message}${plugin.installHint ? `. ${plugin.installHint}` : ""}`,
          { cause },
        ),
      ),
    );
    child.on("close", (code, signal) => {
      if (code === 0) resolve(Buffer.concat(out).toString("utf8"));
      else
        reject(
          new KubeError(
            "unusable",
            `credential plugin "${plugin.command}" ended with ${signal ?? `status ${code}`}: ${Buffer.concat(err).toString("utf8", 0, 300).trim()}`,
          ),
        );
    });
  });
}

function readCredential(output: string, command: string): ExecCredential {
  let status: { token?: unknown; clientCertificateData?: unknown; clientKeyData?: unknown; expirationTimestamp?: unknown } | undefined;
  try {
    status = (JSON.parse(output) as { status?: typeof status }).status;
  } catch (cause) {
    throw new KubeError("unusable", `credential plugin "${command}" did not print JSON`, { cause });
  }
  const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
  const expiry = text(status?.expirationTimestamp);
  const credential = {
    token: text(status?.token),
    certificate: text(status?.clientCertificateData),
    key: text(status?.clientKeyData),
    expiresAt: expiry ? Date.parse(expiry) : Infinity,
  };
  if (!credential.token && !credential.certificate) throw new KubeError("unusable", `credential plugin "${command}" gave neither a token nor a certificate`);
  return credential;
}
