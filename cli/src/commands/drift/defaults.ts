import { type DefaultRule, type IgnoreDefault, ignoreDefaults } from "@flotilla/proto/ignore-defaults";
import { buildCommand } from "@stricli/core";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, outputFlag } from "../../input/parameters.ts";
import { type ListFormat, printList } from "../../render/print.ts";

interface Flags {
  readonly output: ListFormat | undefined;
}

export const defaultsCommand = buildCommand({
  docs: {
    brief: "List the shipped ignore rules: what drift does not look at by itself",
    fullDescription: helpText(
      "They count in every bundle. fleet.yaml turns one off by name: drift: { defaults: { off: [hpa-replicas] } }.",
      "fleet drift defaults",
      "fleet drift defaults -o wide",
    ),
  },
  parameters: { flags: { output: outputFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    await printList(this, ignoreDefaults, flags.output ?? "table", view);
  },
});

const view = {
  name: ({ name }: IgnoreDefault) => name,
  empty: "no shipped ignore rules",
  columns: [
    { title: "NAME", cell: ({ name }: IgnoreDefault) => name },
    { title: "IGNORES", cell: ({ about }: IgnoreDefault) => about },
  ],
  wide: [{ title: "RULES", cell: ({ rules }: IgnoreDefault) => rules.map(ruleText).join("; ") }],
};

function ruleText({ group, kind, paths = [], queries = [], managers = [], when }: DefaultRule): string {
  const of = [group, kind].filter((word) => word !== undefined).join("/");
  const held = managers.length > 0 ? ` held by ${managers.join(", ")}` : "";
  return `${of === "" ? "" : `${of} `}${[...paths, ...queries].join(" ")}${held}${when ? ` when ${when}` : ""}`;
}
