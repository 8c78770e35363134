import { readFile, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { startKubeCluster } from "../kube-cluster.ts";
import type { OpenApi } from "./schema.ts";

/**
 * Writes built-in-kinds.json: what a real API server says of its kinds, without words for people. Run it after an update of
 * kube-apiserver: `node test/harness/simulated/generate-kinds.ts`.
 */

/** Groups whose kinds fleets apply and agents read. */
const groups = new Set([
  "",
  "apps",
  "batch",
  "autoscaling",
  "policy",
  "networking.k8s.io",
  "rbac.authorization.k8s.io",
  "storage.k8s.io",
  "scheduling.k8s.io",
  "coordination.k8s.io",
  "discovery.k8s.io",
  "events.k8s.io",
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
]);

interface Discovered {
  readonly items: readonly {
    readonly metadata: { readonly name?: string };
    readonly versions: readonly { readonly version: string; readonly resources: readonly DiscoveredResource[] }[];
  }[];
}

interface DiscoveredResource {
  readonly resource: string;
  readonly responseKind?: { readonly kind: string };
  readonly scope: string;
  readonly singularResource?: string;
  readonly shortNames?: readonly string[];
  readonly verbs: readonly string[];
  readonly subresources?: readonly { readonly subresource: string; readonly verbs: readonly string[] }[];
}

/** Written even when nothing is in them, which OpenAPI does not tell. */
const alwaysWritten: Readonly<Record<string, readonly string[]>> = {
  "apiextensions.v1.CustomResourceDefinitionStatus": ["conditions"],
  "apps.v1.StatefulSetStatus": ["replicas", "availableReplicas"],
};

const kept = [
  "type",
  "format",
  "$ref",
  "default",
  "required",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
  "x-kubernetes-map-type",
  "x-kubernetes-preserve-unknown-fields",
] as const;

const cluster = await startKubeCluster({ name: "kinds" });
try {
  const kinds: object[] = [];
  const definitions: Record<string, OpenApi> = {};
  for (const root of ["/api", "/apis"]) await readRoot(root, kinds, definitions);
  const { gitVersion, platform, major, minor } = (await cluster.client.get("/version")) as unknown as Record<string, string>;
  const reached = Object.fromEntries(Object.entries(definitions).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  const lines = Object.entries(reached).map(([name, definition]) => `${JSON.stringify(name)}:${JSON.stringify(definition)}`);
  const head = `"version":${JSON.stringify({ major, minor, gitVersion, platform })},\n"kinds":[\n${kinds.map((kind) => JSON.stringify(kind)).join(",\n")}\n]`;
  await writeFile(new URL("built-in-kinds.json", import.meta.url), `{${head},\n"definitions":{\n${lines.join(",\n")}\n}}\n`);
} finally {
  await cluster.stop();
}
process.exit(0);

async function readRoot(root: string, kinds: object[], definitions: Record<string, OpenApi>): Promise<void> {
  const { items } = (await getAs(root, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")) as Discovered;
  for (const { metadata, versions } of items) {
    const group = metadata.name ?? "";
    if (!groups.has(group)) continue;
    for (const { version, resources } of versions) {
      const path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
      const document = (await cluster.client.get(`/openapi/v3${path}`)) as unknown as OpenApiDocument;
      for (const resource of resources) readKind({ group, version, resource, document, kinds, definitions });
    }
  }
}

type OpenApiDocument = { readonly components: { readonly schemas: Readonly<Record<string, OpenApi & { "x-kubernetes-group-version-kind"?: object[] }>> } };

interface ReadKind {
  readonly group: string;
  readonly version: string;
  readonly resource: DiscoveredResource;
  readonly document: OpenApiDocument;
  readonly kinds: object[];
  readonly definitions: Record<string, OpenApi>;
}

function readKind({ group, version, resource, document, kinds, definitions }: ReadKind): void {
  const kind = resource.responseKind?.kind ?? "";
  if (!resource.verbs.includes("get")) return;
  const found = Object.entries(document.components.schemas).find(([, schema]) =>
    schema["x-kubernetes-group-version-kind"]?.some((gvk) => isDeepEqual(gvk, { group, version, kind })),
  );
  if (!found) return;
  const name = shortName(found[0]);
  collect(found[0], document, definitions);
  kinds.push({
    group,
    version,
    kind,
    plural: resource.resource,
    singular: resource.singularResource ?? kind.toLowerCase(),
    isNamespaced: resource.scope === "Namespaced",
    verbs: resource.verbs,
    subresources: (resource.subresources ?? []).map(({ subresource }) => subresource),
    definition: name,
  });
}

function collect(fullName: string, document: OpenApiDocument, definitions: Record<string, OpenApi>): void {
  const name = shortName(fullName);
  const schema = document.components.schemas[fullName];
  if (name in definitions || !schema) return;
  definitions[name] = {};
  definitions[name] = compact({ ...schema, ...(alwaysWritten[name] && { required: alwaysWritten[name] }) }, (reference) => {
    const target = reference.slice(reference.lastIndexOf("/") + 1);
    collect(target, document, definitions);
    return `#/${shortName(target)}`;
  });
}

/** Names stay unique without the way that all of them share. */
function shortName(name: string): string {
  return name.replace(/^io\.k8s\.(api|apimachinery\.pkg\.apis|apimachinery\.pkg|apiextensions-apiserver\.pkg\.apis|kube-aggregator\.pkg\.apis)\./, "");
}

function compact(schema: OpenApi, reference: (to: string) => string): OpenApi {
  const target = schema.$ref ?? schema.allOf?.[0]?.$ref;
  const entries = kept.flatMap((key): [string, unknown][] => (key === "$ref" || schema[key] === undefined ? [] : [[key, schema[key]]]));
  return {
    ...Object.fromEntries(entries),
    ...(target !== undefined && { $ref: reference(target) }),
    ...(schema.oneOf && { format: "int-or-string" }),
    ...(schema.items && { items: compact(schema.items, reference) }),
    ...(typeof schema.additionalProperties === "object" && { additionalProperties: compact(schema.additionalProperties, reference) }),
    ...(schema.properties && { properties: Object.fromEntries(Object.entries(schema.properties).map(([name, value]) => [name, compact(value, reference)])) }),
  };
}

function isDeepEqual(a: object, b: object): boolean {
  return Object.entries(b).every(([key, value]) => ((a as Record<string, unknown>)[key] ?? "") === value);
}

async function getAs(path: string, accept: string): Promise<unknown> {
  const agent = new Agent({ ca: await readFile(cluster.caFile) });
  return new Promise((resolve, reject) => {
    const outgoing = request(`${cluster.url}${path}`, { agent, headers: { accept, authorization: `Bearer ${cluster.token}` } }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => resolve(JSON.parse(Buffer.concat(parts).toString("utf8"))));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}
