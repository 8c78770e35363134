import { buildCommand } from "@stricli/core";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, outputFlag, text } from "../../input/parameters.ts";
import { askProgram } from "../../program/run-program.ts";
import { printList, type ListFormat, type ListView } from "../../render/print.ts";

interface Flags {
  readonly output: ListFormat | undefined;
}

interface RuleRow {
  readonly group: string;
  readonly kinds: readonly string[];
  readonly rule: string;
}

const view: ListView<RuleRow> = {
  columns: [
    { title: "GROUP", cell: (row) => row.group || "core" },
    { title: "KINDS", cell: (row) => row.kinds.map((kind) => (kind === "*" ? "all" : kind)).join(" ") },
    { title: "RULE", cell: (row) => row.rule },
  ],
  name: (row) => row.kinds.map((kind) => (row.group === "" ? kind : `${kind}.${row.group}`)).join("\n"),
  empty: "no shipped rule is for that: conditions Stalled, Reconciling, Synced, Ready and Available decide; health.checks in fleet.yaml says more",
};

export const rulesCommand = buildCommand({
  docs: {
    brief: "How the health of each kind is judged",
    fullDescription: helpText(
      "The rules that agents ship with, of all kinds, or of those whose kind or group has WORD in it. A bundle's own health.checks in fleet.yaml win over them. No hub is needed.",
      "fleet health rules",
      "fleet health rules Certificate",
      "fleet health rules strimzi -o json",
    ),
  },
  parameters: {
    flags: { output: outputFlag },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [{ parse: text, optional: true, placeholder: "WORD", brief: "Part of a kind or of its group" }] },
  },
  async func(this: FleetContext, flags: Flags, word?: string): Promise<void> {
    const { rules } = await askProgram<{ rules: RuleRow[] }>(this, "agent", ["health-rules"]);
    await printList(this, word === undefined ? rules : rules.filter((row) => isAbout(row, word.toLowerCase())), flags.output ?? "table", view);
  },
});

function isAbout({ group, kinds }: RuleRow, word: string): boolean {
  return group.toLowerCase().includes(word) || kinds.some((kind) => kind.toLowerCase().includes(word));
}
