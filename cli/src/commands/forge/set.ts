import { buildCommand } from "@stricli/core";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { type documentFormats, documentFlag, fleetName, helpText, text } from "../../input/parameters.ts";
import { secretFrom } from "../../input/secret-file.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly kind: "github" | "gitlab" | "gitea" | undefined;
  readonly tokenFile: string;
  readonly apiUrl: string | undefined;
  readonly project: string | undefined;
  readonly forks: boolean;
  readonly output: (typeof documentFormats)[number] | undefined;
}

export const forgeSetCommand = buildCommand({
  docs: {
    brief: "Say where the pull requests of a fleet's repository are",
    fullDescription: helpText(
      "From then on each pull request against the fleet's branch gets one status and one comment, which say what it would do to every cluster, and commits get a status that says what their rollout is doing. It counts for all fleets of the repository. The token needs to write commit statuses and comments: GitHub 'Commit statuses' and 'Pull requests', GitLab scope api and role Developer, Gitea repository and issue. Give the forge the webhook of `fleet create` with pushes and pull requests.",
      "fleet forge set shop --token-file token",
      "pass show gitea | fleet forge set shop --kind gitea --token-file -",
      "fleet forge set shop --kind github --api-url https://github.example.com/api/v3 --token-file token",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      kind: {
        kind: "enum",
        values: ["github", "gitlab", "gitea"],
        optional: true,
        brief: "Which forge it is; default by the repository's host (Forgejo: gitea)",
      },
      tokenFile: { kind: "parsed", parse: text, placeholder: "FILE", brief: "File with the token; - is stdin" },
      apiUrl: { kind: "parsed", parse: text, optional: true, placeholder: "URL", brief: "Address of its API; default by the repository's host" },
      project: { kind: "parsed", parse: text, optional: true, placeholder: "OWNER/NAME", brief: "Its name there; default the repository's path" },
      forks: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Also preview pull requests from other repositories: whoever opens one sees what clusters say",
      },
      output: documentFlag,
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [fleetName] },
  },
  async func(this: FleetContext, flags: Flags, fleet: string): Promise<void> {
    const { kind, apiUrl, project, forks, tokenFile, output } = flags;
    if (apiUrl !== undefined && !/^https?:\/\/[^\s@?#]+$/.test(apiUrl)) throw wrongUse(`--api-url is '${apiUrl}'`, "it takes an http or https URL");
    const token = await secretFrom(this, "--token-file", tokenFile);
    const client = await connect(this, flags);
    const set = await client.setForge(fleet, {
      ...(kind && { kind }),
      ...(apiUrl !== undefined && { apiUrl }),
      ...(project !== undefined && { project }),
      token,
      forks,
    });
    if (output) return say(this, await structured(set, output));
    say(this, `${set.kind} at ${set.apiUrl}, repository ${set.project}: for ${set.fleets.join(", ")}`);
    remark(this, `try it: fleet forge test ${fleet}`);
  },
});
