import type { Json } from "@flotilla/proto/digest";

/**
 * `${name}` in manifests. References are replaced in parsed scalars, never in text, so a value can change what a scalar says and
 * never the shape of the document. A name is dotted ("image.tag"); `${name:=default}` (or `:-`) names what counts when there is no
 * such value; `$${` stands for `${`. What does not look like a name (`${1}`, `${a%%b}`) is left alone: it is the
 * shell's.
 */
const reference = /\$\$\{|\$\{([A-Za-z_][\w-]*(?:\.[\w-]+)*(?:\/[\w.-]+)?)(?::[=-]([^}]*))?\}/g;
const wholeReference = /^\$\{([A-Za-z_][\w-]*(?:\.[\w-]+)*(?:\/[\w.-]+)?)(?::[=-]([^}]*))?\}$/;

/** A plain (unquoted) YAML scalar that is one reference and nothing else: it takes the value with its type. */
export class TypedReference {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** JSON in which typed references stand where a manifest has a bare `${name}`. */
export type Template = Json | TypedReference | readonly Template[] | { readonly [key: string]: Template };

/** Values by dotted name, as the manifest writes it. */
export type NamedValues = Readonly<Record<string, Json>>;

/** A reference that could not be replaced, and where in the object it is. */
export interface BadReference {
  readonly name: string;
  readonly path: readonly (string | number)[];
  readonly why: "unknown" | "not a scalar";
}

export interface SubstituteOptions {
  /** Unknown names are told. Otherwise only names under "cluster." mean anything, and all else is left as written. */
  readonly strict: boolean;
  /** Whether `$${` becomes `${`. Off where what is left is substituted once more. Default on. */
  readonly escapes?: boolean;
}

/** Whether a whole string is one reference. */
export function isReference(text: string): boolean {
  return wholeReference.test(text);
}

/** Every name that a text refers to, sorted, each once. */
export function namesIn(text: string): string[] {
  if (!text.includes("${")) return [];
  const names = new Set<string>();
  for (const match of text.matchAll(reference)) if (match[1] !== undefined) names.add(match[1]);
  return [...names].sort();
}

/** Whether a name speaks of the cluster: "cluster.name", "cluster.labels.env". */
export function isClusterName(name: string): boolean {
  return name.startsWith("cluster.");
}

/**
 * Replace every reference in a manifest. A typed reference takes the value as it is, maps and lists included, except where
 * Kubernetes wants strings (labels, data, args, …); one inside a longer string takes it as text.
 */
export function substitute(template: Template, values: NamedValues, options: SubstituteOptions): { object: Json; bad: BadReference[] } {
  const bad: BadReference[] = [];
  const replace = (value: Template, path: readonly (string | number)[]): Json => {
    if (value instanceof TypedReference) return replaceTyped(value.text, path);
    if (typeof value === "string") return replaceText(value, path);
    if (Array.isArray(value)) return value.map((item: Template, index) => replace(item, [...path, index]));
    if (typeof value !== "object" || value === null) return value as Json;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [replaceKey(key, path), replace(member as Template, [...path, key])]));
  };
  const replaceKey = (key: string, path: readonly (string | number)[]): string => (key.includes("${") ? replaceText(key, [...path, key]) : key);
  const replaceTyped = (text: string, path: readonly (string | number)[]): Json => {
    const [, name = "", fallback] = wholeReference.exec(text) ?? [];
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value === undefined) return replaceText(text, path);
    if (fallback !== undefined && value === null) return fallback;
    return wantsString(path) && (typeof value !== "object" || value === null) ? textOf(value) : value;
  };
  const replaceText = (text: string, path: readonly (string | number)[]): string => {
    if (!text.includes("${")) return text;
    return text.replace(reference, (written: string, name: string | undefined, fallback: string | undefined, offset: number) => {
      if (name === undefined) return isEscape(text, offset, options) ? "${" : written;
      const value = Object.hasOwn(values, name) ? values[name] : undefined;
      // Where nobody gave values it is the shell's, or a dashboard's, default and all.
      if (value === undefined && !options.strict && !isClusterName(name)) return written;
      if (value === undefined || value === null) {
        if (fallback !== undefined) return fallback;
        if (value === null) return "";
        bad.push({ name, path, why: "unknown" });
        return written;
      }
      if (typeof value === "object") {
        bad.push({ name, path, why: "not a scalar" });
        return written;
      }
      return textOf(value);
    });
  };
  return { object: replace(template, []), bad };
}

/** Where Kubernetes takes strings only: by the key itself, by the key above it, and by the key at the top of the object. */
const stringKeys = new Set(["name", "namespace", "image", "host", "hostname", "path", "secretName", "storageClassName", "schedule"]);
const stringMembers = new Set(["labels", "annotations", "matchLabels", "nodeSelector", "args", "command", "hosts"]);
const stringTops = new Set(["data", "stringData", "binaryData"]);

function wantsString(path: readonly (string | number)[]): boolean {
  const [own, above, aboveThat] = [path.at(-1), path.at(-2), path.at(-3)].map(String);
  if (own === undefined || above === undefined) return false;
  return stringKeys.has(own) || stringMembers.has(above) || (path.length === 2 && stringTops.has(above)) || (own === "value" && aboveThat === "env");
}

/** Whether `$${` at an offset stands for `${`: wherever names are replaced, else only before the cluster's. */
function isEscape(text: string, offset: number, options: SubstituteOptions): boolean {
  return options.escapes !== false && (options.strict || isClusterName(text.slice(offset + "$${".length)));
}

function textOf(value: boolean | number | string | null): string {
  return value === null ? "" : String(value);
}
