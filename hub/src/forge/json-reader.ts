import { ForgeError } from "./forge-error.ts";

/** What a forge answers is looked at field by field: it may be another version, or no forge at all. */
export function textOf(json: unknown, ...path: readonly string[]): string {
  const found = at(json, path);
  if (typeof found === "string") return found;
  if (typeof found === "number") return String(found);
  throw new ForgeError(`the forge's answer has no '${path.join(".")}'`, { status: 200, hint: "is --kind right, and --api-url the API's address?" });
}

export function maybeText(json: unknown, ...path: readonly string[]): string | undefined {
  const found = at(json, path);
  return typeof found === "string" ? found : typeof found === "number" ? String(found) : undefined;
}

export function listOf(json: unknown): readonly unknown[] {
  if (Array.isArray(json)) return json;
  throw new ForgeError("the forge's answer is no list", { status: 200, hint: "is --kind right, and --api-url the API's address?" });
}

export function isTrue(json: unknown, ...path: readonly string[]): boolean {
  return at(json, path) === true;
}

function at(json: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, name) => (typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined), json);
}
