/** The shape of a value, as structured merge sees it: what is one thing, and what others may own parts of. */
export type Schema =
  | { readonly kind: "scalar"; readonly type: "string" | "integer" | "number" | "boolean" | "int-or-string" }
  /** No schema: maps are granular, lists are one thing. */
  | { readonly kind: "any" }
  | { readonly kind: "list"; readonly topology: "atomic" | "set" | "map"; readonly keys: readonly string[]; readonly items: Schema }
  | { readonly kind: "map"; readonly isAtomic: boolean; readonly values: Schema }
  | { readonly kind: "struct"; readonly isAtomic: boolean; readonly preservesUnknown: boolean; readonly fields: ReadonlyMap<string, Field> };

export interface Field {
  readonly schema: Schema;
  readonly isRequired: boolean;
  /** Written even when nothing is in it: a Go struct that is no pointer. */
  readonly isAlwaysWritten: boolean;
  readonly default?: unknown;
}

/** A part of an OpenAPI document, as far as it is read here. */
export interface OpenApi {
  readonly type?: string;
  readonly format?: string;
  readonly $ref?: string;
  readonly allOf?: readonly OpenApi[];
  readonly oneOf?: readonly OpenApi[];
  readonly properties?: Readonly<Record<string, OpenApi>>;
  readonly additionalProperties?: OpenApi | boolean;
  readonly items?: OpenApi;
  readonly required?: readonly string[];
  readonly default?: unknown;
  readonly "x-kubernetes-list-type"?: string;
  readonly "x-kubernetes-list-map-keys"?: readonly string[];
  readonly "x-kubernetes-map-type"?: string;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
  readonly "x-kubernetes-embedded-resource"?: boolean;
}

export type Definitions = Readonly<Record<string, OpenApi>>;

const scalars = new Set(["string", "integer", "number", "boolean"]);

/** Reads schemas out of OpenAPI, each once; a definition that holds itself is followed only as far as values go. */
export class SchemaReader {
  readonly #definitions: Definitions;
  readonly #read = new Map<string, Schema>();

  constructor(definitions: Definitions) {
    this.#definitions = definitions;
  }

  read(part: OpenApi): Schema {
    const reference = part.$ref ?? part.allOf?.[0]?.$ref;
    if (reference !== undefined) return this.#definition(reference.slice(reference.lastIndexOf("/") + 1), part["x-kubernetes-map-type"] === "atomic");
    if (part["x-kubernetes-int-or-string"] || part.format === "int-or-string" || part.oneOf) return { kind: "scalar", type: "int-or-string" };
    if (part.type === "array") {
      const topology = part["x-kubernetes-list-type"];
      return {
        kind: "list",
        topology: topology === "set" || topology === "map" ? topology : "atomic",
        keys: part["x-kubernetes-list-map-keys"] ?? [],
        items: this.read(part.items ?? {}),
      };
    }
    if (part.type !== undefined && scalars.has(part.type)) return { kind: "scalar", type: part.type as "string" };
    return this.#mapOrStruct(part);
  }

  #mapOrStruct(part: OpenApi): Schema {
    const isAtomic = part["x-kubernetes-map-type"] === "atomic";
    if (part.properties) return structOf(part, isAtomic, (property) => this.read(property));
    if (typeof part.additionalProperties === "object") return { kind: "map", isAtomic, values: this.read(part.additionalProperties) };
    return { kind: "any" };
  }

  #definition(name: string, isAtomic: boolean): Schema {
    const key = isAtomic ? `${name} atomic` : name;
    const known = this.#read.get(key);
    if (known) return known;
    const definition = this.#definitions[name] ?? {};
    const schema = this.read(isAtomic ? { ...definition, "x-kubernetes-map-type": "atomic" } : definition);
    this.#read.set(key, schema);
    return schema;
  }
}

function structOf(part: OpenApi, isAtomic: boolean, read: (property: OpenApi) => Schema): Schema {
  let fields: ReadonlyMap<string, Field> | undefined;
  return {
    kind: "struct",
    isAtomic,
    preservesUnknown: part["x-kubernetes-preserve-unknown-fields"] ?? false,
    // Read when it is first looked at: definitions hold themselves.
    get fields() {
      fields ??= new Map(
        Object.entries(part.properties ?? {}).map(([name, property]) => [name, fieldOf(property, part.required?.includes(name) ?? false, read)]),
      );
      return fields;
    },
  };
}

function fieldOf(property: OpenApi, isRequired: boolean, read: (property: OpenApi) => Schema): Field {
  const isEmptyDefault = typeof property.default === "object" && property.default !== null && Object.keys(property.default).length === 0;
  const schema = read(property);
  return {
    schema,
    isRequired,
    isAlwaysWritten: isEmptyDefault && schema.kind === "struct",
    ...(property.default !== undefined && !isEmptyDefault && property.default !== "" && { default: property.default }),
  };
}

/** What a field or key under a value is. */
export function schemaUnder(schema: Schema, name: string): Schema {
  if (schema.kind === "map") return schema.values;
  if (schema.kind === "struct") return schema.fields.get(name)?.schema ?? { kind: "any" };
  return { kind: "any" };
}
