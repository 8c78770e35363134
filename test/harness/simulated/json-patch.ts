import { isDeepStrictEqual } from "node:util";
import { StatusError } from "./kube-status.ts";
import { type Fields, isFields } from "./typed-value.ts";

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return patch;
  const merged: Fields = isFields(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
}

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** RFC 6902, on a copy. */
export function jsonPatch(target: unknown, operations: readonly Operation[]): unknown {
  const root = { value: structuredClone(target) };
  for (const operation of operations) act(root, operation);
  return root.value;
}

/** The API server says no more than this. */
const refused = () => new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});

function act(root: { value: unknown }, { op, path, from, value }: Operation): void {
  const steps = stepsOf(path);
  if (op === "test") {
    if (!isDeepStrictEqual(read(root, steps), value)) throw refused();
  } else if (op === "remove") remove(root, steps);
  else if (op === "add") add(root, steps, value);
  else if (op === "replace") {
    remove(root, steps);
    add(root, steps, value);
  } else if (op === "copy" || op === "move") {
    const moved = structuredClone(read(root, stepsOf(from ?? "")));
    if (op === "move") remove(root, stepsOf(from ?? ""));
    add(root, steps, moved);
  } else throw refused();
}

function stepsOf(path: string): string[] {
  return [
    "value",
    ...path
      .split("/")
      .slice(1)
      .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~")),
  ];
}

function read(root: object, steps: readonly string[]): unknown {
  return steps.reduce<unknown>((at, step) => {
    if (Array.isArray(at)) return at[Number(step)];
    return isFields(at) ? at[step] : undefined;
  }, root);
}

function remove(root: object, steps: readonly string[]): void {
  const [parent, last] = [read(root, steps.slice(0, -1)), steps.at(-1) ?? ""];
  if (Array.isArray(parent) && Number(last) < parent.length) parent.splice(Number(last), 1);
  else if (isFields(parent) && last in parent) delete parent[last];
  else throw refused();
}

function add(root: object, steps: readonly string[], value: unknown): void {
  const [parent, last] = [read(root, steps.slice(0, -1)), steps.at(-1) ?? ""];
  if (Array.isArray(parent)) parent.splice(last === "-" ? parent.length : Number(last), 0, value);
  else if (isFields(parent)) parent[last] = value;
  else throw refused();
}
