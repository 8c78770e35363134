import { groupOf, versionOf } from "../domain/object-id.ts";
import { kubeLimits } from "../limits.ts";
import { KubeError } from "./kube-error.ts";
import type { KubeClient } from "./kube-client.ts";

/** How one kind of one version is reached. */
export interface KubeResource {
  readonly apiVersion: string;
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
  readonly isNamespaced: boolean;
  readonly canWatch: boolean;
}

const aggregatedAccept =
  "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/**
 * Which kinds the API server serves. Read in two requests where discovery is aggregated, kept, and read again when a kind
 * is missing: it may have been defined since.
 */
export class Discovery {
  readonly #client: KubeClient;
  #known: ReadonlyMap<string, KubeResource> = new Map();
  #reading: Promise<void> | undefined;
  #readAt = 0;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** What is known of a kind without asking anybody. */
  known(apiVersion: string, kind: string): KubeResource | undefined {
    return this.#known.get(`${apiVersion}/${kind}`);
  }

  /** Every kind that can be listed and watched, in one version each. */
  watchable(): KubeResource[] {
    const byPlural = new Map(
      [...this.#known.values()].filter(({ canWatch }) => canWatch).map((resource) => [`${resource.group}/${resource.plural}`, resource]),
    );
    return [...byPlural.values()];
  }

  /**
   * How a kind is reached.
   *
   * @throws KubeError "no-match" when the API server does not serve it.
   */
  async resolve(apiVersion: string, kind: string): Promise<KubeResource> {
    const known = this.known(apiVersion, kind);
    if (known) return known;
    if (Date.now() - this.#readAt >= kubeLimits.discoveryMinAgeMs) await this.refresh();
    const found = this.known(apiVersion, kind);
    if (!found) throw new KubeError("no-match", `no matches for kind ${kind} in ${apiVersion}: its definition is not installed, or not yet`);
    return found;
  }

  /** Read everything again. Callers at the same time share one reading. */
  refresh(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<void> {
    const found = new Map<string, KubeResource>();
    const broken = await Promise.all(["/api", "/apis"].map((path) => this.#readRoot(path, found)));
    // A group whose server is away is not a group without kinds: keep what was known of it.
    for (const [key, resource] of this.#known) if (broken.flat().includes(resource.apiVersion) && !found.has(key)) found.set(key, resource);
    this.#known = found;
    this.#readAt = Date.now();
  }

  async #readRoot(path: string, found: Map<string, KubeResource>): Promise<string[]> {
    const root = await this.#client.json<DiscoveryRoot>({ method: "GET", path, accept: aggregatedAccept });
    if (root.items) return readAggregated(root.items, found);
    const versions = root.versions ?? (root.groups ?? []).flatMap((group) => group.versions.map((version) => version.groupVersion));
    const broken = await Promise.all(versions.map((apiVersion) => this.#readLegacy(apiVersion, found)));
    return broken.flat();
  }

  async #readLegacy(apiVersion: string, found: Map<string, KubeResource>): Promise<string[]> {
    try {
      const list = await this.#client.json<{ resources?: LegacyResource[] }>({ method: "GET", path: versionPath(apiVersion) });
      for (const { name, kind, namespaced, verbs } of list.resources ?? []) {
        if (!name.includes("/"))
          add(found, { apiVersion, group: groupOf(apiVersion), kind, plural: name, isNamespaced: namespaced, canWatch: verbs.includes("watch") });
      }
      return [];
    } catch (error) {
      if (error instanceof KubeError && error.code === "status") return [apiVersion];
      throw error;
    }
  }
}

interface DiscoveryRoot {
  readonly items?: readonly AggregatedGroup[];
  readonly versions?: readonly string[];
  readonly groups?: readonly { readonly versions: readonly { readonly groupVersion: string }[] }[];
}

interface AggregatedGroup {
  readonly metadata?: { readonly name?: string };
  readonly versions?: readonly {
    readonly version: string;
    readonly freshness?: string;
    readonly resources?: readonly {
      readonly resource: string;
      readonly responseKind?: { readonly kind?: string };
      readonly scope?: string;
      readonly verbs?: readonly string[];
    }[];
  }[];
}

interface LegacyResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
}

function readAggregated(groups: readonly AggregatedGroup[], found: Map<string, KubeResource>): string[] {
  const stale: string[] = [];
  for (const item of groups) {
    const group = item.metadata?.name ?? "";
    for (const { version, freshness, resources = [] } of item.versions ?? []) {
      const apiVersion = group === "" ? version : `${group}/${version}`;
      if (freshness === "Stale") stale.push(apiVersion);
      for (const { resource, responseKind, scope, verbs = [] } of resources) {
        if (responseKind?.kind)
          add(found, {
            apiVersion,
            group,
            kind: responseKind.kind,
            plural: resource,
            isNamespaced: scope === "Namespaced",
            canWatch: verbs.includes("watch") && verbs.includes("list"),
          });
      }
    }
  }
  return stale;
}

function add(found: Map<string, KubeResource>, resource: KubeResource): void {
  const key = `${resource.apiVersion}/${resource.kind}`;
  if (!found.has(key)) found.set(key, Object.freeze(resource));
}

function versionPath(apiVersion: string): string {
  return groupOf(apiVersion) === "" ? `/api/${versionOf(apiVersion)}` : `/apis/${apiVersion}`;
}

/** URL path of a collection, in one namespace or (namespace "") in all. */
export function collectionPath(resource: KubeResource, namespace = ""): string {
  const scope = resource.isNamespaced && namespace !== "" ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${versionPath(resource.apiVersion)}${scope}/${resource.plural}`;
}

/** URL path of one object. A namespaced object that names no namespace is in "default", as for kubectl. */
export function objectPath(resource: KubeResource, namespace: string, name: string): string {
  return `${collectionPath(resource, namespace === "" ? "default" : namespace)}/${encodeURIComponent(name)}`;
}
