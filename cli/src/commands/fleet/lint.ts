import { buildCommand } from "@stricli/core";
import type { ProblemRow } from "@flotilla/proto/rest/contract";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, text } from "../../input/parameters.ts";
import { askProgram } from "../../program/run-program.ts";
import { type DirectiveFinding, honouredLines } from "../../render/foreign-lines.ts";
import { paintFor } from "../../render/palette.ts";
import { remark, say, structured } from "../../render/print.ts";
import { githubLine, problemLine } from "../../render/problem-lines.ts";

interface Flags {
  readonly strict: boolean;
  readonly output: "text" | "json" | "yaml" | "github" | undefined;
}

interface Lint {
  readonly problems: readonly ProblemRow[];
  readonly warnings: readonly ProblemRow[];
  readonly directives?: readonly DirectiveFinding[];
  readonly remarks?: readonly string[];
}

export const lintCommand = buildCommand({
  docs: {
    brief: "Check a folder as the hub would read it",
    fullDescription: helpText(
      "Every error at once, with file, line, column and remedy; every bundle with every overlay is rendered. No hub is needed.\nSays which annotations of Flux, Argo CD and Helm on the objects are honoured, and warns of those that are not, with what happens instead (-o json: by object, file and line).\nEnds with 1 when there are errors, and with --strict 3 when there are only warnings.",
      "fleet lint",
      "fleet lint deploy --strict",
      "fleet lint -o github   # annotations in a GitHub workflow",
    ),
  },
  parameters: {
    flags: {
      strict: { kind: "boolean", default: false, withNegated: false, brief: "Warnings end with status 3" },
      output: { kind: "enum", values: ["text", "json", "yaml", "github"], optional: true, brief: "Format: text, json, yaml, or github annotations" },
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [{ parse: text, optional: true, placeholder: "DIR", brief: "Folder with fleet.yaml or manifests (default: .)" }] },
  },
  async func(this: FleetContext, flags: Flags, folder?: string): Promise<void> {
    const lint = await askProgram<Lint>(this, "hub", ["lint", "--format", "json", "--", folder ?? "."]);
    await print(this, lint, flags.output ?? "text");
    if (lint.problems.length > 0) this.exitWith(exitCodes.failed);
    else if (flags.strict && lint.warnings.length > 0) this.exitWith(exitCodes.difference);
  },
});

async function print(context: FleetContext, { problems, warnings, directives = [], remarks = [] }: Lint, output: NonNullable<Flags["output"]>): Promise<void> {
  if (output === "json" || output === "yaml") return say(context, await structured({ problems, warnings, directives, remarks }, output));
  if (output === "github")
    return say(context, ...problems.map((problem) => githubLine(problem, "error")), ...warnings.map((problem) => githubLine(problem, "warning")));
  const paint = paintFor(context.process.stdout, context.env);
  say(
    context,
    ...problems.map((problem) => paint(problemLine(problem, "error"), "bad")),
    ...warnings.map((problem) => paint(problemLine(problem, "warning"), "busy")),
  );
  remark(context, ...honouredLines(directives), ...remarks.map((text) => `note: ${text}`));
  const count = (rows: readonly unknown[], word: string): string => `${rows.length} ${word}${rows.length === 1 ? "" : "s"}`;
  remark(context, problems.length + warnings.length === 0 ? "no problems" : `${count(problems, "error")}, ${count(warnings, "warning")}`);
}
