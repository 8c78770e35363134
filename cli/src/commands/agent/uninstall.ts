import { buildCommand } from "@stricli/core";
import { agentNamespace } from "@flotilla/proto/names";
import type { FleetContext } from "../../fleet-context.ts";
import { confirm } from "../../input/ask.ts";
import { helpText, text, yesFlag } from "../../input/parameters.ts";
import { agentManifests, type KubeManifest } from "../../install/agent-manifests.ts";
import { givenRights } from "../../install/agent-rights.ts";
import { describeManifest, openKubeCluster } from "../../install/kube-cluster.ts";
import { remark, say } from "../../render/print.ts";

interface Flags {
  readonly context: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly keepState: boolean;
  readonly yes: boolean;
}

export const uninstallCommand = buildCommand({
  docs: {
    brief: "Remove the agent from a cluster; what fleets applied there stays",
    fullDescription: helpText(
      "Deletes the agent, its rights, and its namespace flotilla-system with its memory of what it applied. The workloads are never touched.\nWith --keep-state that memory stays, so that an agent which is installed again goes on where this one ended.",
      "fleet agent uninstall --context kind-berlin",
      "fleet agent uninstall --context kind-berlin --keep-state --yes",
    ),
  },
  parameters: {
    flags: {
      context: { kind: "parsed", parse: text, optional: true, placeholder: "NAME", brief: "Context of the kubeconfig (default: its current one)" },
      kubeconfig: { kind: "parsed", parse: text, optional: true, placeholder: "FILE", brief: "Kubeconfig (default: KUBECONFIG, else ~/.kube/config)" },
      keepState: { kind: "boolean", default: false, withNegated: false, brief: "Keep the namespace and the agent's state in it" },
      yes: yesFlag,
    },
    aliases: { y: "yes" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const cluster = await openKubeCluster(flags, this.env);
    remark(
      this,
      `Uninstalling the agent from ${cluster.context} (${cluster.server}):`,
      `- the agent and its rights are deleted${flags.keepState ? "; its state stays" : `, with the namespace ${agentNamespace} and its memory of what it applied`}`,
      "- what fleets applied keeps running, and nothing heals or updates it any more",
    );
    await confirm(this, `Uninstall the agent from ${cluster.context}?`, flags.yes);
    for (const manifest of [...(await givenRights(cluster)), ...installed(flags.keepState)]) {
      remark(this, `${describeManifest(manifest)} ${(await cluster.delete(manifest)) ? "deleted" : "was not there"}`);
    }
    say(this, "agent uninstalled; workloads were left alone");
    remark(this, "at the hub: fleet cluster remove NAME");
  },
});

/** The agent first, so that nothing runs without its rights; the namespace last. */
function installed(keepState: boolean): KubeManifest[] {
  const values = { hub: "", caHash: "", token: "", cluster: "", image: "", egressPorts: [], rights: "cluster-admin" as const };
  return agentManifests(values)
    .filter(({ kind }) => !keepState || kind !== "Namespace")
    .toReversed();
}
