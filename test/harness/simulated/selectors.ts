import { badRequest } from "./kube-status.ts";
import { isFields, textOf } from "./typed-value.ts";

export type LabelTest = (labels: Readonly<Record<string, string>>) => boolean;

/** `a=b,c!=d,e,!f,g in (h,i),j notin (k)` */
export function parseLabelSelector(text: string): LabelTest {
  const tests = splitOutside(text).map(parseRequirement);
  return (labels) => tests.every((test) => test(labels));
}

function splitOutside(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function parseRequirement(part: string): LabelTest {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(part);
  if (set) {
    const [, name = "", operator, listed = ""] = set;
    const values = new Set(listed.split(",").map((value) => value.trim()));
    return (labels) => (operator === "in" ? name in labels && values.has(labels[name] ?? "") : !(name in labels) || !values.has(labels[name] ?? ""));
  }
  const equality = /^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$/.exec(part);
  if (equality) {
    const [, name = "", operator, value = ""] = equality;
    return (labels) => (operator === "!=" ? labels[name] !== value : labels[name] === value);
  }
  if (/^![^\s=!]+$/.test(part)) return (labels) => !(part.slice(1) in labels);
  if (/^[^\s=!]+$/.test(part)) return (labels) => part in labels;
  throw badRequest(`unable to parse requirement: ${part}`);
}

export type FieldTest = (object: unknown) => boolean;

/** `metadata.name=a,type!=Normal`; undefined when nothing is asked for. */
export function parseFieldSelector(text: string): FieldTest | undefined {
  const parts = splitOutside(text).map((part) => /^([^=!]+)(==|=|!=)(.*)$/.exec(part));
  if (parts.length === 0) return undefined;
  return (object) =>
    parts.every((part) => {
      const [, path = "", operator, value] = part ?? [];
      const found = path.split(".").reduce<unknown>((at, name) => (isFields(at) ? at[name] : undefined), object);
      return (textOf(found ?? "") === value) === (operator !== "!=");
    });
}
