import { durationOf } from "@flotilla/proto/plain-words";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { buildCommand } from "@stricli/core";
import { isName, nameRule } from "@flotilla/proto/names";
import type { ProblemRow } from "@flotilla/proto/rest/contract";
import { resolveHub } from "../../connect/resolve-hub.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError, wrongUse } from "../../fleet-error.ts";
import { HubClient } from "../../hub-client.ts";
import { readSecret } from "../../input/ask.ts";
import { documentFlag, durationParameter, helpText, text } from "../../input/parameters.ts";
import { parseLabels } from "../../input/parse-labels.ts";
import { givenRights, type NeededRights, rightsLines, rightsManifests } from "../../install/agent-rights.ts";
import { type AgentInstallation, agentManifests, defaultEgressPorts, type KubeManifest } from "../../install/agent-manifests.ts";
import { describeManifest, type KubeCluster, openKubeCluster } from "../../install/kube-cluster.ts";
import { defaultWaitMs, waitPollMs } from "../../limits.ts";
import { askProgram } from "../../program/run-program.ts";
import { problemLine } from "../../render/problem-lines.ts";
import { remark, say, structured } from "../../render/print.ts";
import { cliVersion } from "../../version.ts";

interface Flags {
  readonly hub: string;
  readonly caHash: string;
  readonly token: string;
  readonly cluster: string | undefined;
  readonly context: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly image: string | undefined;
  readonly rbac: string;
  readonly for: readonly string[] | undefined;
  readonly clusterLabels: readonly string[] | undefined;
  readonly egressPort: readonly number[] | undefined;
  readonly print: boolean;
  readonly output: "json" | "yaml" | undefined;
  readonly wait: boolean;
  readonly timeout: number | undefined;
}

const optional = { kind: "parsed", parse: text, optional: true } as const;

export const installCommand = buildCommand({
  docs: {
    brief: "Install the agent in the cluster of a kubeconfig context",
    fullDescription: helpText(
      "'fleet cluster add' prints this command with its values. Applies plain manifests (server-side apply), or prints them with --print, and waits until the agent is connected.\nWhat the agent may do there is a choice, and this command says it: everything (--rbac cluster-admin, the default); what the objects of fleets need (--rbac minimal --for DIR, with the cluster's labels; all of its fleets at once); nothing but its own memory (--rbac none); or what the objects in a FILE allow to the ServiceAccount flotilla-agent in flotilla-system.",
      "fleet agent install --context kind-berlin --cluster berlin-1 --hub hub.example.com:7422 --ca-hash 3f1c… --token …",
      "fleet agent install --hub … --ca-hash … --token … --print > agent.yaml",
      "fleet agent install --hub … --ca-hash … --token … --rbac minimal --for shop/fleet.yaml --for infra --cluster-labels env=prod",
      "fleet agent install --hub … --ca-hash … --token - --rbac rights.yaml < token",
    ),
  },
  parameters: {
    flags: {
      hub: { kind: "parsed", parse: text, placeholder: "HOST:PORT", brief: "Enrolment address of the hub, as the cluster reaches it" },
      caHash: { kind: "parsed", parse: text, placeholder: "HASH", brief: "SHA-256 of the hub's CA key" },
      token: { kind: "parsed", parse: text, placeholder: "TOKEN", brief: "Enrolment token; - reads it from stdin" },
      cluster: { ...optional, placeholder: "NAME", brief: "Name of the cluster, as registered; lets this command wait for it" },
      context: { ...optional, placeholder: "NAME", brief: "Context of the kubeconfig (default: its current one)" },
      kubeconfig: { ...optional, placeholder: "FILE", brief: "Kubeconfig (default: KUBECONFIG, else ~/.kube/config)" },
      image: { ...optional, placeholder: "IMAGE", brief: "The agent's image (default: flotilla-agent:VERSION)" },
      rbac: {
        kind: "parsed",
        parse: text,
        default: "cluster-admin",
        placeholder: "WHAT",
        brief: "cluster-admin, minimal, none, or a YAML file with RBAC objects",
      },
      for: { ...optional, variadic: ",", placeholder: "DIR", brief: "Folder or fleet.yaml whose objects --rbac minimal is for; repeatable" },
      clusterLabels: { ...optional, variadic: ",", placeholder: "KEY=VALUE", brief: "Labels of the cluster, for --for" },
      egressPort: { kind: "parsed", parse: port, optional: true, variadic: ",", placeholder: "PORT", brief: "Further TCP ports that the agent may reach" },
      print: { kind: "boolean", default: false, withNegated: false, brief: "Print the manifests and change nothing" },
      output: { ...documentFlag, brief: "Print as json or yaml; implies --print" },
      wait: { kind: "boolean", default: true, brief: "Wait until the agent is connected" },
      timeout: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "Give up waiting after this time (default 5m)" },
    },
    aliases: { o: "output" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const rights = await rightsFrom(this, flags);
    const manifests = agentManifests({ ...(await installationFrom(this, flags)), rights: rights.manifests });
    if (rights.isAsked) remark(this, ...rights.lines);
    if (flags.print || flags.output !== undefined) return say(this, await printed(manifests, flags.output ?? "yaml"));
    const cluster = await openKubeCluster(flags, this.env);
    remark(this, `installing in ${cluster.context} (${cluster.server})`);
    if (!rights.isAsked) remark(this, ...rights.lines);
    for (const manifest of manifests) {
      await cluster.apply(manifest);
      remark(this, `${describeManifest(manifest)} applied`);
    }
    await withdrawOthers(this, cluster, manifests);
    if (flags.wait) await waitForAgent(this, flags, cluster, manifests);
    else say(this, "agent installed");
  },
});

function port(input: string): number {
  const number = Number(input);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) throw new Error("it takes a port, 1 to 65535");
  return number;
}

async function installationFrom(context: FleetContext, flags: Flags): Promise<Omit<AgentInstallation, "rights">> {
  const enrolPort = /^(?:\[[0-9a-fA-F:]+\]|[^\s:/]+):(\d{1,5})$/.exec(flags.hub)?.[1];
  if (enrolPort === undefined) throw wrongUse(`--hub is '${flags.hub}'`, "it takes host:port of the hub's enrolment, e.g. hub.example.com:7422");
  const caHash = flags.caHash.replace(/^sha256:/, "").toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(caHash)) throw wrongUse(`--ca-hash is '${flags.caHash}'`, "it takes the 64 hexadecimal digits that 'fleet cluster add' printed");
  if (flags.cluster !== undefined && !isName(flags.cluster)) throw wrongUse(`'${flags.cluster}' is no cluster's name`, nameRule);
  return {
    hub: flags.hub,
    caHash,
    token: flags.token === "-" ? await readSecret(context, "the token") : flags.token,
    cluster: flags.cluster ?? "",
    image: flags.image ?? `flotilla-agent:${cliVersion()}`,
    egressPorts: [...new Set([...defaultEgressPorts, Number(enrolPort), ...(flags.egressPort ?? [])])],
  };
}

interface Rights {
  readonly manifests: AgentInstallation["rights"];
  /** What the agent may do then, for people. */
  readonly lines: readonly string[];
  /** Somebody chose them, and wants to see them also when nothing is applied. */
  readonly isAsked: boolean;
}

const everything =
  "rights: the agent gets cluster-admin there: it may do anything in this cluster, and so may whoever commits to its fleets; --rbac minimal --for DIR grants less";

async function rightsFrom(context: FleetContext, flags: Flags): Promise<Rights> {
  if (flags.for !== undefined && flags.rbac !== "minimal") throw wrongUse("--for is for --rbac minimal", "write --rbac minimal, or leave --for out");
  if (flags.rbac === "cluster-admin") return { manifests: "cluster-admin", lines: [everything], isAsked: false };
  if (flags.rbac === "none")
    return {
      manifests: [],
      lines: ["rights: none but its own memory in flotilla-system; what fleets want beyond it is refused, with what to grant"],
      isAsked: true,
    };
  if (flags.rbac !== "minimal") return { manifests: await readRights(flags.rbac), lines: [`rights: what ${flags.rbac} grants`], isAsked: true };
  if (flags.for === undefined) throw wrongUse("which objects is --rbac minimal for?", "give --for DIR, the folder of each fleet that this cluster is in");
  const needed = await askRights(context, flags, flags.for);
  return { manifests: rightsManifests(needed), lines: ["rights: minimal", ...rightsLines(needed)], isAsked: true };
}

/** The fleets as the hub would render them for this cluster, and what their objects need. */
async function askRights(context: FleetContext, flags: Flags, given: readonly string[]): Promise<NeededRights> {
  const labels = Object.entries(parseLabels(flags.clusterLabels ?? [])).map(([key, value]) => `${key}=${value}`);
  const answer = await askProgram<{ problems: ProblemRow[]; warnings: ProblemRow[]; rights?: NeededRights }>(context, "hub", [
    "rights",
    ...(flags.cluster === undefined ? [] : [`--cluster=${flags.cluster}`]),
    ...(labels.length === 0 ? [] : [`--cluster-labels=${labels.join(",")}`]),
    ...["--", ...given.map((path) => (path.endsWith(".yaml") ? dirname(path) : path))],
  ]);
  if (answer.rights === undefined)
    throw new FleetError(`${given.join(", ")} does not render`, exitCodes.failed, { lines: answer.problems.map((problem) => problemLine(problem, "error")) });
  return answer.rights;
}

/** Only RBAC objects: the flag is about rights, and whatever else is in the file was not meant. */
async function readRights(file: string): Promise<KubeManifest[]> {
  const { loadAll } = await import("js-yaml");
  const content = await readFile(file, "utf8").catch((error: Error) => {
    throw wrongUse(`--rbac: cannot read ${file}: ${error.message}`, "it takes cluster-admin, minimal, none, or a YAML file");
  });
  const objects = parseAll(file, content, loadAll).filter((object) => object !== null && object !== undefined) as KubeManifest[];
  const odd = objects.find((object) => !object.apiVersion?.startsWith("rbac.authorization.k8s.io/") || typeof object.metadata?.name !== "string");
  if (odd || objects.length === 0)
    throw wrongUse(
      `--rbac: ${file} has ${odd ? `a ${odd.kind ?? "document"} that is no RBAC object` : "no objects"}`,
      "it takes ClusterRole, ClusterRoleBinding, Role, RoleBinding",
    );
  return objects;
}

function parseAll(file: string, content: string, loadAll: (text: string) => unknown[]): unknown[] {
  try {
    return loadAll(content);
  } catch (error) {
    throw wrongUse(`--rbac: ${file} is no YAML: ${(error as Error).message.split("\n")[0]}`);
  }
}

async function printed(manifests: readonly KubeManifest[], format: "json" | "yaml"): Promise<string> {
  if (format === "json") return structured({ apiVersion: "v1", kind: "List", items: manifests }, "json");
  return (await Promise.all(manifests.map((manifest) => structured(manifest, "yaml")))).join("\n---\n");
}

/** What an earlier installation granted and this one does not: whoever asks for less means less. */
async function withdrawOthers(context: FleetContext, cluster: KubeCluster, manifests: readonly KubeManifest[]): Promise<void> {
  const nameOf = ({ kind, metadata }: KubeManifest): string => `${kind} ${metadata.namespace ?? ""}/${metadata.name}`;
  const granted = new Set(manifests.map(nameOf));
  for (const rights of await givenRights(cluster)) {
    if (granted.has(nameOf(rights))) continue;
    await cluster.delete(rights);
    remark(context, `${describeManifest(rights)}${rights.metadata.namespace === undefined ? "" : ` of namespace ${rights.metadata.namespace}`} withdrawn`);
  }
}

/** Until the hub has the cluster as connected; without a login to the hub, until the agent's pod is available. */
async function waitForAgent(context: FleetContext, flags: Flags, cluster: KubeCluster, manifests: readonly KubeManifest[]): Promise<void> {
  const deployment = manifests.find(({ kind }) => kind === "Deployment");
  const client = flags.cluster === undefined ? undefined : await loginOf(context);
  const goal = client ? "connected to the hub" : "available";
  if (!client) remark(context, "no login to the hub from here: waiting for the agent's pod only");
  const startedAt = context.now();
  const timeoutMs = flags.timeout ?? defaultWaitMs;
  let said = "";
  while (!context.signal.aborted) {
    const pod = deployment ? await podState(cluster, deployment) : "absent";
    const state = client && flags.cluster !== undefined ? `${(await client.cluster(flags.cluster)).phase}, pod ${pod}` : pod;
    if (client ? state.startsWith("Connected") : state === "available")
      return say(context, `agent ${flags.cluster ?? ""} is ${goal} after ${durationOf(context.now() - startedAt)}`.replace("  ", " "));
    if (state !== said) remark(context, `${durationOf(context.now() - startedAt).padStart(8)}  ${state}`);
    said = state;
    if (context.now() - startedAt >= timeoutMs) {
      throw new FleetError(`the agent is not ${goal} after ${durationOf(timeoutMs)}: ${state}`, exitCodes.timedOut, {
        hint: "kubectl -n flotilla-system get pods; kubectl -n flotilla-system logs deployment/flotilla-agent",
      });
    }
    await delay(waitPollMs, undefined, { signal: context.signal }).catch(() => undefined);
  }
}

async function loginOf(context: FleetContext): Promise<HubClient | undefined> {
  const endpoint = await resolveHub({ hub: undefined, context: undefined }, context.env).catch(() => undefined);
  return endpoint && new HubClient(endpoint, { signal: context.signal });
}

async function podState(cluster: KubeCluster, deployment: KubeManifest): Promise<string> {
  const live = (await cluster.read(deployment)) as
    | { status?: { availableReplicas?: number; conditions?: { type: string; status: string; message?: string }[] } }
    | undefined;
  if ((live?.status?.availableReplicas ?? 0) > 0) return "available";
  const failure = live?.status?.conditions?.find(({ type, status }) => type === "ReplicaFailure" && status === "True");
  return failure?.message ?? "starting";
}
