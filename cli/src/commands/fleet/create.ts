import { readFile } from "node:fs/promises";
import { buildCommand } from "@stricli/core";
import { isName, nameRule } from "@flotilla/proto/names";
import type { FleetCreate, Ref } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { readSecret } from "../../input/ask.ts";
import { documentFlag, durationParameter, helpText, text } from "../../input/parameters.ts";
import { parseSelector } from "../../input/parse-selector.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly repo: string;
  readonly branch: string | undefined;
  readonly tag: string | undefined;
  readonly commit: string | undefined;
  readonly semver: string | undefined;
  readonly path: string | undefined;
  readonly selector: string | undefined;
  readonly allClusters: boolean;
  readonly username: string | undefined;
  readonly passwordStdin: boolean;
  readonly sshKey: string | undefined;
  readonly knownHosts: string | undefined;
  readonly poll: number | undefined;
  readonly output: "json" | "yaml" | undefined;
}

const optional = { kind: "parsed", parse: text, optional: true } as const;

export const createCommand = buildCommand({
  docs: {
    brief: "Create a fleet that follows a Git repository",
    fullDescription: helpText(
      "The folder at --path holds a fleet.yaml, or is one bundle (plain YAML, Kustomize, Helm) for the clusters of --selector or --all-clusters. Without either, only fleet.yaml's spec.clusters says which clusters; nobody says none.\nWithout --branch, --tag, --commit or --semver the repository's default branch is followed.",
      "fleet create shop --repo https://git.example.com/shop.git --branch main --path deploy --selector env=prod",
      "fleet create base --repo https://git.example.com/base.git --all-clusters",
      "fleet create shop --repo https://git.example.com/shop.git --selector 'env in (prod,staging)'",
      "pass show git | fleet create shop --repo https://git.example.com/shop.git --password-stdin",
      "fleet create shop --repo ssh://git@git.example.com/shop.git --ssh-key id_ed25519 --known-hosts known_hosts",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      repo: { kind: "parsed", parse: text, placeholder: "URL", brief: "https or ssh URL of the repository, without credentials" },
      branch: { ...optional, placeholder: "NAME", brief: "Follow this branch" },
      tag: { ...optional, placeholder: "NAME", brief: "Use this tag" },
      commit: { ...optional, placeholder: "HASH", brief: "Use this commit" },
      semver: { ...optional, placeholder: "RANGE", brief: "Follow the highest tag in a range, e.g. '^1.4'" },
      path: { ...optional, placeholder: "FOLDER", brief: "Folder in the repository" },
      selector: { ...optional, placeholder: "LABELS", brief: "Clusters, as kubectl selects; fleet.yaml's own selector comes first" },
      allClusters: { kind: "boolean", default: false, withNegated: false, brief: "Every cluster, those that join later too" },
      username: { ...optional, placeholder: "NAME", brief: "User for https" },
      passwordStdin: { kind: "boolean", default: false, withNegated: false, brief: "Read the password or token for https from stdin" },
      sshKey: { ...optional, placeholder: "FILE", brief: "Private key for ssh" },
      knownHosts: { ...optional, placeholder: "FILE", brief: "Known hosts for ssh; required with --ssh-key" },
      poll: { kind: "parsed", parse: durationParameter, optional: true, placeholder: "TIME", brief: "How often to look without a webhook (hub's default: 5s)" },
      output: documentFlag,
    },
    aliases: { o: "output", l: "selector" },
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "NAME", brief: "Name of the new fleet" }] },
  },
  async func(this: FleetContext, flags: Flags, name: string): Promise<void> {
    if (!isName(name)) throw wrongUse(`'${name}' cannot name a fleet`, nameRule);
    const credentials = await credentialsFrom(this, flags);
    const ref = refFrom(flags);
    const selector = selectorFrom(flags);
    const client = await connect(this, flags);
    const created = await client.createFleet({
      name,
      repository: flags.repo,
      ...(ref && { ref }),
      ...(flags.path !== undefined && { path: flags.path }),
      ...(selector && { selector }),
      ...(credentials && { credentials }),
      ...(flags.poll !== undefined && { pollIntervalMs: flags.poll }),
    });
    if (flags.output) return say(this, await structured(created, flags.output));
    say(this, `fleet ${name} created`);
    remark(this, `webhook: ${client.endpoint.url}${created.webhook.path}`);
    if (created.webhook.secret !== undefined) remark(this, `webhook secret (shown once): ${created.webhook.secret}`);
    if (selector === undefined) remark(this, "without --selector or --all-clusters only a fleet.yaml with spec.clusters gives it clusters");
    remark(this, `follow it: fleet status ${name} --watch`);
  },
});

/** An empty selector matches every cluster; none at all leaves it to fleet.yaml. */
function selectorFrom({ selector, allClusters }: Flags): FleetCreate["selector"] {
  if (selector === undefined) return allClusters ? {} : undefined;
  if (allClusters) throw wrongUse("--selector and --all-clusters exclude each other");
  const parsed = parseSelector(selector);
  if (Object.keys(parsed).length === 0) throw wrongUse("--selector is empty", "--all-clusters takes every cluster");
  return parsed;
}

function refFrom({ branch, tag, commit, semver }: Flags): Ref | undefined {
  const given: Ref[] = [
    ...(branch === undefined ? [] : [{ branch }]),
    ...(tag === undefined ? [] : [{ tag }]),
    ...(commit === undefined ? [] : [{ commit }]),
    ...(semver === undefined ? [] : [{ semver }]),
  ];
  if (given.length > 1) throw wrongUse("--branch, --tag, --commit and --semver exclude each other", "give one of them");
  return given[0];
}

async function credentialsFrom(context: FleetContext, flags: Flags): Promise<FleetCreate["credentials"]> {
  const { username, passwordStdin, sshKey, knownHosts } = flags;
  if (sshKey !== undefined) {
    if (passwordStdin || username !== undefined) throw wrongUse("--ssh-key goes with neither --username nor --password-stdin");
    if (knownHosts === undefined)
      throw wrongUse(
        "--ssh-key wants --known-hosts: without it anybody could answer as the Git server",
        "ssh-keyscan HOST > known_hosts, and compare with the server's published key",
      );
    return { sshPrivateKey: await readInput("--ssh-key", sshKey), knownHosts: await readInput("--known-hosts", knownHosts) };
  }
  if (knownHosts !== undefined) throw wrongUse("--known-hosts goes with --ssh-key");
  if (!passwordStdin) {
    if (username !== undefined) throw wrongUse("--username wants a password", "pipe it in, with --password-stdin");
    return undefined;
  }
  const password = await readSecret(context, "the password");
  return { ...(username !== undefined && { username }), password };
}

async function readInput(flag: string, file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: Error) => {
    throw wrongUse(`${flag}: cannot read ${file}: ${error.message}`);
  });
}
