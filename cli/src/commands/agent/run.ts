import { buildCommand } from "@stricli/core";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, text } from "../../input/parameters.ts";
import { runProgram } from "../../program/run-program.ts";

interface Flags {
  readonly hub: string | undefined;
  readonly token: string | undefined;
  readonly caHash: string | undefined;
  readonly cluster: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly stateDir: string | undefined;
  readonly identity: "secret" | "file" | undefined;
  readonly logLevel: string | undefined;
}

const optional = { kind: "parsed", parse: text, optional: true } as const;

export const runCommand = buildCommand({
  docs: {
    brief: "Run an agent in this terminal, outside its cluster",
    fullDescription: helpText(
      "For edge boxes, tests and trying out: it reaches the cluster by a kubeconfig. --hub, --token and --ca-hash are needed for the first start only.\nEvery flag can be given as FLOTILLA_<FLAG>; FLOTILLA_TOKEN keeps the token out of the list of processes.",
      "fleet agent run --kubeconfig ~/.kube/config --context kind-berlin --hub localhost:7422 --ca-hash 3f1c… --token …",
      "fleet agent run --kubeconfig /etc/rancher/k3s/k3s.yaml --state-dir /var/lib/flotilla",
    ),
  },
  parameters: {
    flags: {
      hub: { ...optional, placeholder: "HOST:PORT", brief: "Enrolment address of the hub" },
      token: { ...optional, placeholder: "TOKEN", brief: "Enrolment token, as printed by 'fleet cluster add'" },
      caHash: { ...optional, placeholder: "HASH", brief: "SHA-256 of the hub's CA key, printed with the token" },
      cluster: { ...optional, placeholder: "NAME", brief: "Name of the cluster; checked against the identity" },
      kubeconfig: { ...optional, placeholder: "FILE", brief: "Reach the cluster by this file (default: KUBECONFIG, else ~/.kube/config)" },
      context: { ...optional, placeholder: "NAME", brief: "Context of the kubeconfig (default: its current one)" },
      stateDir: { ...optional, placeholder: "DIR", brief: "Folder of the outbox (default: ./flotilla-agent)" },
      identity: { kind: "enum", values: ["secret", "file"], optional: true, brief: "Keep the identity in a Secret of the cluster (default) or in a file" },
      logLevel: { ...optional, placeholder: "LEVEL", brief: "debug, info, warn or error (default: info)" },
    },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const args = Object.entries(flags as unknown as Record<string, string | undefined>).flatMap(([name, value]) =>
      value === undefined ? [] : [`--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}=${value}`],
    );
    await runProgram(this, "agent", args);
  },
});
