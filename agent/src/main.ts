import { pino, stdSerializers } from "pino";
import { inClusterEndpoint } from "./cluster/in-cluster-endpoint.ts";
import { KubeError } from "./cluster/kube-error.ts";
import { kubeconfigEndpoint } from "./cluster/kubeconfig-endpoint.ts";
import { readConfig, usage, UsageError } from "./config.ts";
import { listLibrary } from "./domain/health-library.ts";
import { listBuiltIn } from "./domain/health-rules.ts";
import { EnrolError } from "./link/enrol.ts";
import { runAgent } from "./run-agent.ts";

/** JSON on stdout, for `fleet health rules`: what the agent knows about kinds by itself. */
function printHealthRules(): number {
  process.stdout.write(`${JSON.stringify({ rules: [...listBuiltIn(), ...listLibrary()] })}\n`);
  return 0;
}

async function main(): Promise<number> {
  if (process.argv[2] === "health-rules") return printHealthRules();
  let config: ReturnType<typeof readConfig>;
  try {
    config = readConfig(process.argv.slice(2), process.env);
  } catch (error) {
    process.stderr.write(`flotilla-agent: ${(error as Error).message}\n`);
    return 2;
  }
  if (config === "help") {
    process.stdout.write(usage);
    return 0;
  }
  const log = pino({ name: "flotilla-agent", level: config.logLevel, serializers: { err: describeError } }, pino.destination({ dest: 2, sync: true }));
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stop.abort());
  // One defect in one watch or timer must not take the cluster's agent down: logged, and the rest goes on.
  process.on("unhandledRejection", (error) => log.error({ err: error }, "an error nobody waited for"));
  process.on("uncaughtException", (error) => log.error({ err: error }, "an error nobody caught"));
  try {
    const endpoint = config.kubeconfig === undefined ? inClusterEndpoint(process.env) : await kubeconfigEndpoint(config.kubeconfig, config.context);
    await runAgent({ ...config, endpoint, log, stopping: stop.signal });
    return 0;
  } catch (error) {
    if (stop.signal.aborted) return 0;
    log.error({ err: error }, (error as Error).message);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** What is expected to fail from time to time needs its words, not a stack; a defect needs both. */
function describeError(error: unknown): unknown {
  const isExpected = error instanceof KubeError || error instanceof EnrolError;
  return isExpected ? { type: error.name, code: error.code, message: error.message } : error instanceof Error ? stdSerializers.err(error) : error;
}

// Whatever still has a timer open, the agent is done when main is.
process.exit(await main());
