import { wrongUse } from "../fleet-error.ts";

const keyRule = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const valueRule = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** `env=prod` parts as labels, held to Kubernetes' rules for keys and values. Throws FleetError (2). */
export function parseLabels(parts: readonly string[]): Record<string, string> {
  return Object.fromEntries(parts.filter((part) => part !== "").map(parseLabel));
}

/** The same, where `env-` removes the label. */
export function parseLabelChanges(parts: readonly string[]): Record<string, string | null> {
  return Object.fromEntries(parts.map((part) => (part.endsWith("-") && !part.includes("=") ? [checkKey(part.slice(0, -1), part), null] : parseLabel(part))));
}

function parseLabel(part: string): [key: string, value: string] {
  const equals = part.indexOf("=");
  if (equals < 1) throw wrongUse(`'${part}' is not a label`, "labels are key=value, e.g. env=prod");
  const value = part.slice(equals + 1);
  if (!valueRule.test(value)) throw wrongUse(`'${value}' cannot be a label's value`, "letters, digits, '-', '_' and '.', at most 63 characters");
  return [checkKey(part.slice(0, equals), part), value];
}

function checkKey(key: string, part: string): string {
  if (!keyRule.test(key)) throw wrongUse(`'${key}' cannot be a label's key (in '${part}')`, "e.g. env, region, or example.com/team");
  return key;
}
