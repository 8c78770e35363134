import { listFormats } from "../render/print.ts";
import { completeClusters, completeFleets } from "./complete-names.ts";
import { parseDuration } from "./parse-duration.ts";

/** A value that is taken as it is. */
export const text = (input: string): string => input;

/** A whole number from 1 on. */
export function positiveInteger(input: string): number {
  if (!/^[1-9]\d{0,8}$/.test(input)) throw new Error("it takes a whole number from 1 on");
  return Number(input);
}

/** A digest of a list that waits for approval, or its beginning. */
export function parseDigest(input: string): string {
  if (!/^[0-9a-f]{12,64}$/.test(input)) throw new Error("it takes a digest as the list shows it, at least 12 characters");
  return input;
}

export const outputFlag = { kind: "enum", values: listFormats, optional: true, brief: "Format: table, wide, json, yaml or name" } as const;

export const documentFormats = ["json", "yaml"] as const;
export const documentFlag = { kind: "enum", values: documentFormats, optional: true, brief: "Format: json or yaml" } as const;

export const watchFlag = { kind: "boolean", default: false, withNegated: false, brief: "Stay and show changes until Ctrl-C" } as const;

export const yesFlag = { kind: "boolean", default: false, withNegated: false, brief: "Do not ask" } as const;

export const reasonFlag = { kind: "parsed", parse: text, optional: true, placeholder: "TEXT", brief: "Why, for the audit log" } as const;

export const fleetName = { parse: text, placeholder: "FLEET", brief: "Name of a fleet", proposeCompletions: completeFleets } as const;
export const clusterName = { parse: text, placeholder: "CLUSTER", brief: "Name of a cluster", proposeCompletions: completeClusters } as const;

/** Flags that narrow a list. */
export const fleetFilter = {
  kind: "parsed",
  parse: text,
  optional: true,
  placeholder: "FLEET",
  brief: "Only of this fleet",
  proposeCompletions: completeFleets,
} as const;
export const clusterFilter = {
  kind: "parsed",
  parse: text,
  optional: true,
  placeholder: "CLUSTER",
  brief: "Only of this cluster",
  proposeCompletions: completeClusters,
} as const;

export const durationParameter = (input: string): number => parseDuration(input);

/** A command's long help: what it does, then examples to copy. */
export function helpText(description: string, ...examples: readonly string[]): string {
  return [description, "", "EXAMPLES", ...examples.map((example) => `  ${example}`)].join("\n");
}
