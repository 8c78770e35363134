import { join } from "node:path";
import { parseArgs } from "node:util";
import { isName, nameRule } from "@flotilla/proto/names";
import { isInCluster } from "./cluster/in-cluster-endpoint.ts";
import { defaultKubeconfig } from "./cluster/kubeconfig-endpoint.ts";

/** Everything the agent is told at its start. */
export interface AgentConfig {
  /** host:port of the hub's enrolment listener; needed only until there is an identity. */
  readonly hub: string | undefined;
  readonly token: string | undefined;
  /** SHA-256 (hex) of the public key of the hub's CA. */
  readonly caHash: string | undefined;
  /** Name of the cluster; with an identity it must be the identity's. */
  readonly cluster: string | undefined;
  /** Kubeconfig file; undefined: the pod's service account. */
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  /** Folder of the outbox. */
  readonly stateDir: string;
  /** Where the identity is kept: a Secret in the cluster, or a file in the state folder. */
  readonly identity: "secret" | "file";
  readonly logLevel: string;
}

/** A wrong flag or value: exit status 2, with the remedy in the message. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

const logLevels = ["debug", "info", "warn", "error"];

/** Where the deployment mounts the outbox' volume. */
const podStateDir = "/var/lib/flotilla";

const flags = {
  hub: { type: "string" },
  token: { type: "string" },
  "ca-hash": { type: "string" },
  cluster: { type: "string" },
  kubeconfig: { type: "string" },
  context: { type: "string" },
  "state-dir": { type: "string" },
  identity: { type: "string" },
  "log-level": { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

/** What `--help` prints. */
export const usage = `Usage: flotilla-agent [flags]

Runs in a cluster, or beside it with a kubeconfig, and keeps it at what its fleets want.
Every flag can be given as FLOTILLA_<FLAG>, e.g. FLOTILLA_CA_HASH.

  --hub HOST:PORT      enrolment address of the hub; needed for the first start
  --token TOKEN        enrolment token, as printed by "fleet cluster add"; needed for the first start
  --ca-hash HASH       SHA-256 of the hub's CA key, printed with the token; needed for the first start
  --cluster NAME       name of the cluster; checked against the identity
  --kubeconfig FILE    reach the cluster by this file (default outside a pod: $KUBECONFIG, else ~/.kube/config)
  --context NAME       context of the kubeconfig (default: its current one)
  --state-dir DIR      folder of the outbox (default: ${podStateDir} in a pod, else ./flotilla-agent)
  --identity WHERE     keep the agent's identity in a "secret" of the cluster (default) or in a "file" of the state folder
  --log-level LEVEL    ${logLevels.join(", ")} (default: info)

OTEL_EXPORTER_OTLP_ENDPOINT turns on the export of traces.
`;

/**
 * Configuration from flags, then FLOTILLA_* variables, then defaults.
 *
 * @returns "help" when help was asked for.
 * @throws UsageError naming the flag, what it got and what it takes.
 */
export function readConfig(args: readonly string[], env: NodeJS.ProcessEnv): AgentConfig | "help" {
  const given = parse(args);
  if (given.help) return "help";
  const text = (flag: Exclude<keyof typeof flags, "help">) => given[flag] ?? (env[`FLOTILLA_${flag.toUpperCase().replaceAll("-", "_")}`] || undefined);
  const inPod = isInCluster(env);
  const kubeconfig = text("kubeconfig") ?? (inPod ? undefined : defaultKubeconfig(env));
  return {
    hub: check("--hub", text("hub"), /^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/, "takes host:port, e.g. hub.example.com:7422"),
    token: text("token"),
    caHash: check(
      "--ca-hash",
      text("ca-hash")
        ?.replace(/^sha256:/, "")
        .toLowerCase(),
      /^[0-9a-f]{64}$/,
      "takes the 64 hexadecimal digits printed with the token",
    ),
    cluster: clusterName(text("cluster")),
    kubeconfig,
    context: text("context"),
    stateDir: text("state-dir") ?? (inPod ? podStateDir : join(process.cwd(), "flotilla-agent")),
    identity: oneOf("--identity", text("identity") ?? "secret", ["secret", "file"] as const),
    logLevel: oneOf("--log-level", text("log-level") ?? "info", logLevels),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}. See --help`);
  }
}

function clusterName(name: string | undefined): string | undefined {
  if (name !== undefined && !isName(name)) throw new UsageError(`--cluster got "${name}": a cluster's name takes ${nameRule}`);
  return name;
}

function check(flag: string, value: string | undefined, pattern: RegExp, rule: string): string | undefined {
  if (value !== undefined && !pattern.test(value)) throw new UsageError(`${flag} got "${value}": it ${rule}`);
  return value;
}

function oneOf<T extends string>(flag: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((word) => word === value);
  if (!found) throw new UsageError(`${flag} got "${value}": it takes ${allowed.join(", ")}`);
  return found;
}
