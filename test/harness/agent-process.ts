import type { Enrolment } from "@flotilla/proto/rest/contract";
import type { HubApi } from "./hub-api.ts";
import type { KubeCluster } from "./kube-cluster.ts";
import { type ProgramBuild, programArgs, testedBuild } from "./programs.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

/** As the agent's image sets it: without it glibc keeps an arena per thread, which costs a few MiB. */
const agentEnvironment = { MALLOC_ARENA_MAX: "1" };

export interface AgentProcessOptions {
  api: HubApi;
  enrolment: Enrolment;
  cluster: Pick<KubeCluster, "kubeconfig">;
  /** Its outbox; a restart uses it again. */
  stateDir: string;
  /** Where logs go. */
  folder: string;
  build?: ProgramBuild;
  env?: NodeJS.ProcessEnv;
  /** Instead of the address that the enrolment names, e.g. a proxy's. */
  hub?: string;
  /** Return before the hub has seen it. */
  detached?: boolean;
}

/** An agent as a process outside its cluster. */
export interface AgentProcess {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  readonly running: boolean;
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** Starts it again on the same state, without waiting for the hub; with another token where one is given, from then on. */
  restart(env?: NodeJS.ProcessEnv, token?: string): Promise<void>;
}

export async function startAgent(options: AgentProcessOptions): Promise<AgentProcess> {
  const { api, enrolment, cluster, stateDir, folder, build = testedBuild } = options;
  const name = enrolment.cluster;
  let { token } = enrolment;
  const args = () => [
    ...programArgs("agent", build),
    ...["--hub", options.hub ?? enrolment.enrolAddress, "--token", token, "--ca-hash", enrolment.caHash, "--cluster", name],
    ...["--kubeconfig", cluster.kubeconfig, "--state-dir", stateDir],
  ];
  const start = (ready: () => Promise<boolean>, env: NodeJS.ProcessEnv): Promise<ServerProcess> =>
    startServerProcess({ name: `agent-${name}`, file: process.execPath, args: args(), env: { ...process.env, ...agentEnvironment, ...env }, folder, ready });
  const connected = async () => (await api.cluster(name)).phase === "Connected";
  let server = await start(options.detached === true ? async () => true : connected, options.env ?? {});
  return {
    name,
    get pid() {
      return server.pid;
    },
    get logFile() {
      return server.logFile;
    },
    get running() {
      return server.running;
    },
    stop: () => server.stop(),
    kill9: () => server.kill9(),
    async restart(env = options.env ?? {}, another = token) {
      token = another;
      server = await start(async () => true, env);
    },
  };
}
