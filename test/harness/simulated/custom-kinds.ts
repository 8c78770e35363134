import { goForm } from "./go-form.ts";
import { metadataSchema, type ServedKind } from "./kinds.ts";
import { type Field, type OpenApi, type Schema, SchemaReader } from "./schema.ts";
import { type Fields, isFields } from "./typed-value.ts";

interface Definition {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: { readonly plural: string; readonly singular?: string; readonly kind: string; readonly listKind?: string };
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly schema?: { readonly openAPIV3Schema?: OpenApi };
      readonly subresources?: { readonly status?: object; readonly scale?: object };
    }[];
  };
}

const verbs = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/** The kinds that a CustomResourceDefinition makes: one per served version. */
export function kindsOf(definition: Fields): ServedKind[] {
  const { metadata, spec } = definition as unknown as Definition;
  const { group, scope, names, versions } = spec;
  return versions
    .filter(({ served }) => served)
    .map(({ name, schema, subresources }) => ({
      group,
      version: name,
      kind: names.kind,
      plural: names.plural,
      singular: names.singular ?? names.kind.toLowerCase(),
      isNamespaced: scope === "Namespaced",
      verbs,
      subresources: Object.keys(subresources ?? {}),
      schema: schemaOf(schema?.openAPIV3Schema ?? {}),
      custom: { definition: metadata.name, openApi: schema?.openAPIV3Schema ?? {}, listKind: names.listKind ?? `${names.kind}List` },
    }));
}

function schemaOf(openApi: OpenApi): Schema {
  const own = new SchemaReader({}).read(openApi);
  const text: Field = { schema: { kind: "scalar", type: "string" }, isRequired: false, isAlwaysWritten: false };
  const fields = new Map(own.kind === "struct" ? own.fields : []);
  fields.set("apiVersion", text).set("kind", text).set("metadata", { schema: metadataSchema, isRequired: false, isAlwaysWritten: false });
  const preservesUnknown = own.kind !== "struct" || own.preservesUnknown;
  return { kind: "struct", isAtomic: false, preservesUnknown, fields };
}

/** A custom resource without what its schema does not know, and with the schema's defaults. */
export function customForm(openApi: OpenApi, object: Fields): Fields {
  const { apiVersion, kind, metadata, ...rest } = object;
  const form = formOf(openApi, rest) as Fields;
  return { apiVersion, kind, metadata: goForm(metadataSchema, metadata), ...form };
}

function formOf(schema: OpenApi, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => formOf(schema.items ?? {}, item));
  if (!isFields(value) || schema["x-kubernetes-embedded-resource"]) return value;
  const { properties, additionalProperties } = schema;
  if (typeof additionalProperties === "object")
    return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, formOf(additionalProperties, child)]));
  const keepsAll = schema["x-kubernetes-preserve-unknown-fields"] === true || additionalProperties === true;
  const form: Fields = {};
  for (const [name, child] of Object.entries(value)) {
    const property = properties?.[name];
    if (property) form[name] = formOf(property, child);
    else if (keepsAll) form[name] = child;
  }
  for (const [name, property] of Object.entries(properties ?? {})) {
    const isMissing = form[name] === undefined || (form[name] === null && property.default !== undefined);
    if (isMissing && property.default !== undefined) form[name] = formOf(property, structuredClone(property.default));
  }
  return form;
}
