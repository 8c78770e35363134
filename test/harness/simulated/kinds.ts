import { readFileSync } from "node:fs";
import { type Definitions, type Schema, SchemaReader } from "./schema.ts";

/** A kind in one version, as a cluster serves it. */
export interface ServedKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly isNamespaced: boolean;
  readonly verbs: readonly string[];
  readonly subresources: readonly string[];
  readonly schema: Schema;
  /** A definition made it: its objects are kept as they are written, and checked against its own schema. */
  readonly custom?: CustomKind;
}

export interface CustomKind {
  /** Name of the CustomResourceDefinition. */
  readonly definition: string;
  readonly openApi: object;
  readonly listKind: string;
}

interface BuiltIn {
  readonly version: Readonly<Record<string, string>>;
  readonly kinds: readonly (Omit<ServedKind, "schema" | "custom"> & { readonly definition: string })[];
  readonly definitions: Definitions;
}

/** Shared by every cluster of this program. Written by generate-kinds.ts. */
const builtIn = JSON.parse(readFileSync(new URL("built-in-kinds.json", import.meta.url), "utf8")) as BuiltIn;
const reader = new SchemaReader(builtIn.definitions);

export const servedVersion = builtIn.version;

export const builtInKinds: readonly ServedKind[] = builtIn.kinds.map(({ definition, ...kind }) => ({
  ...kind,
  schema: reader.read({ $ref: `#/${definition}` }),
}));

export const metadataSchema: Schema = reader.read({ $ref: "#/meta.v1.ObjectMeta" });

export function apiVersionOf({ group, version }: { readonly group: string; readonly version: string }): string {
  return group === "" ? version : `${group}/${version}`;
}

/** "deployments.apps", as messages name a resource. */
export function resourceName({ group, plural }: { readonly group: string; readonly plural: string }): string {
  return group === "" ? plural : `${plural}.${group}`;
}

/** Where objects of a kind are kept, whatever its version. */
export function storageKey({ group, plural }: { readonly group: string; readonly plural: string }): string {
  return `${group}/${plural}`;
}
