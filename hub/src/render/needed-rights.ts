import type { KubeObject } from "@flotilla/proto/digest";
import { agentNamespace } from "@flotilla/proto/names";
import { isBuiltInGroup } from "./known-kinds.ts";

/** One rule of a Role or ClusterRole. */
export interface RbacRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
  readonly verbs: readonly string[];
}

/** What one account needs. */
export interface AccountRights {
  /** "namespace/name" of a bundle's service account; "" is the agent. */
  readonly account: string;
  /** By namespace, "" for the whole cluster; sorted. */
  readonly places: readonly { readonly namespace: string; readonly rules: readonly RbacRule[] }[];
}

/** What a fleet's objects in one cluster need: of the agent, and of the accounts that its bundles name. */
export interface NeededRights {
  readonly accounts: readonly AccountRights[];
  /** Namespaces that must be there before the Roles in them. */
  readonly namespaces: readonly string[];
  /** What somebody should know before granting this. */
  readonly notes: readonly string[];
}

/** A bundle as rendered for one cluster. */
export interface RightsBundle {
  readonly objects: readonly KubeObject[];
  readonly serviceAccount?: string;
}

const reads = ["get", "list", "watch"] as const;
const writes = ["create", "patch", "delete"] as const;
const rbac = "rbac.authorization.k8s.io";

/**
 * The least rights under which the agent applies, heals, prunes and reports these objects, namespaced wherever they are. Pure: the
 * same bundles give the same rights. The agent's own memory is not part of it.
 */
export function neededRights(bundles: readonly RightsBundle[]): NeededRights {
  const grants = new Grants();
  const kinds = customKinds(bundles);
  const roles = rolesOf(bundles);
  for (const { objects, serviceAccount = "" } of bundles) {
    if (serviceAccount !== "") grantImpersonation(grants, serviceAccount);
    for (const object of objects) grantObject(grants, object, serviceAccount, kinds, roles);
  }
  return { accounts: grants.accounts(), namespaces: grants.namespaces(), notes: grants.notes() };
}

/** Rules as they come together: verbs by account, place, group and resource, and whole rules that stand by themselves. */
class Grants {
  readonly #verbs = new Map<string, Map<string, Map<string, Set<string>>>>();
  readonly #whole = new Map<string, Map<string, Map<string, RbacRule>>>();
  readonly #notes = new Set<string>();

  allow(account: string, namespace: string, group: string, resource: string, verbs: readonly string[]): void {
    const place = below(below(this.#verbs, account), namespace);
    const known = place.get(`${group}/${resource}`) ?? new Set<string>();
    for (const verb of verbs) known.add(verb);
    place.set(`${group}/${resource}`, known);
  }

  rule(account: string, namespace: string, rule: RbacRule): void {
    below(below(this.#whole, account), namespace).set(JSON.stringify(rule), rule);
  }

  note(text: string): void {
    this.#notes.add(text);
  }

  notes(): string[] {
    return [...this.#notes].sort();
  }

  accounts(): AccountRights[] {
    const names = [...new Set([...this.#verbs.keys(), ...this.#whole.keys()])].sort();
    return names.map((account) => ({ account, places: this.#places(account).map((namespace) => ({ namespace, rules: this.#rules(account, namespace) })) }));
  }

  namespaces(): string[] {
    const places = [...this.#verbs.keys(), ...this.#whole.keys()].flatMap((account) => this.#places(account));
    return [...new Set(places)].filter((namespace) => namespace !== "" && namespace !== agentNamespace).sort();
  }

  #places(account: string): string[] {
    return [...new Set([...(this.#verbs.get(account)?.keys() ?? []), ...(this.#whole.get(account)?.keys() ?? [])])].sort();
  }

  /** Resources of one group with the same verbs stand in one rule. */
  #rules(account: string, namespace: string): RbacRule[] {
    const byVerbs = new Map<string, { group: string; verbs: string[]; resources: string[] }>();
    for (const [key, verbs] of this.#verbs.get(account)?.get(namespace) ?? []) {
      const [group = "", resource = ""] = key.split("/", 2);
      const sorted = inVerbOrder(verbs);
      const same = `${group} ${sorted.join()}`;
      const rule = byVerbs.get(same) ?? { group, verbs: sorted, resources: [] };
      rule.resources.push(resource);
      byVerbs.set(same, rule);
    }
    const plain = [...byVerbs.values()].map(({ group, verbs, resources }) => ({ apiGroups: [group], resources: resources.sort(), verbs }));
    plain.sort((a, b) => compare(`${a.apiGroups[0]} ${a.resources[0]}`, `${b.apiGroups[0]} ${b.resources[0]}`));
    return [...plain, ...(this.#whole.get(account)?.get(namespace)?.values() ?? [])];
  }
}

function grantObject(grants: Grants, object: KubeObject, account: string, kinds: ReadonlyMap<string, string>, roles: ReadonlySet<string>): void {
  const group = groupOf(object.apiVersion);
  const namespace = object.metadata.namespace ?? "";
  const plural = kinds.get(`${group}/${object.kind}`) ?? pluralOf(object.kind);
  if (!isBuiltInGroup(group) && !kinds.has(`${group}/${object.kind}`)) {
    grants.note(`the resource of ${object.kind} (${group}) is taken to be "${plural}": its definition is not among the objects`);
  }
  // Watching is the agent's own, whoever writes.
  grants.allow("", namespace, group, plural, account === "" ? [...reads, ...writes] : reads);
  if (account !== "") grants.allow(account, namespace, group, plural, writes);
  if (namespace !== "") {
    // To say why something is not healthy.
    grants.allow("", namespace, "", "pods", ["list"]);
    grants.allow("", namespace, "", "events", ["list"]);
  }
  if (group === rbac) grantWhatItGives(grants, object, account, roles);
}

/** Nobody may give rights that he has not: the writer of a role needs its rules, of a binding those of its role. */
function grantWhatItGives(grants: Grants, object: KubeObject, account: string, roles: ReadonlySet<string>): void {
  const namespace = object.metadata.namespace ?? "";
  const who = account === "" ? "the agent" : `ServiceAccount ${account}`;
  const name = `${object.kind} ${namespace === "" ? "" : `${namespace}/`}${object.metadata.name}`;
  if (object.kind === "Role" || object.kind === "ClusterRole") {
    if (object.aggregationRule !== undefined) {
      grants.rule(account, "", { apiGroups: [rbac], resources: ["clusterroles"], resourceNames: [object.metadata.name], verbs: ["escalate"] });
      return grants.note(`${name} aggregates other roles, which takes "escalate" on it: ${who} could write any rights into it`);
    }
    for (const rule of rulesOf(object)) grants.rule(account, namespace, rule);
    return grants.note(`${who} gets every right that ${name} gives: Kubernetes lets nobody give more than he has`);
  }
  const role = object.roleRef as { kind?: string; name?: string } | undefined;
  if (role?.kind === undefined || role.name === undefined) return;
  if (roles.has(keyOfRole(role.kind, role.kind === "Role" ? namespace : "", role.name))) return;
  const resources = [role.kind === "Role" ? "roles" : "clusterroles"];
  grants.rule(account, namespace, { apiGroups: [rbac], resources, resourceNames: [role.name], verbs: ["bind"] });
  grants.note(
    `${who} may bind ${role.kind} ${role.name}, which ${name} names and the fleet does not hold, to anybody${namespace === "" ? "" : ` in namespace ${namespace}`}`,
  );
}

function grantImpersonation(grants: Grants, account: string): void {
  const [namespace = "", name = ""] = account.split("/");
  grants.rule("", namespace, { apiGroups: [""], resources: ["serviceaccounts"], resourceNames: [name], verbs: ["impersonate"] });
}

/** Roles among the objects: whoever writes them has what they give, and may bind them. */
function rolesOf(bundles: readonly RightsBundle[]): ReadonlySet<string> {
  const roles = bundles.flatMap(({ objects }) => objects).filter(({ kind }) => kind === "Role" || kind === "ClusterRole");
  return new Set(
    roles.filter((role) => role.aggregationRule === undefined).map(({ kind, metadata }) => keyOfRole(kind, metadata.namespace ?? "", metadata.name)),
  );
}

function keyOfRole(kind: string, namespace: string, name: string): string {
  return `${kind} ${namespace}/${name}`;
}

function rulesOf(object: KubeObject): RbacRule[] {
  return Array.isArray(object.rules) ? (object.rules as RbacRule[]) : [];
}

/** "group/Kind" → resource, of the definitions among the objects. */
function customKinds(bundles: readonly RightsBundle[]): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { kind, spec } of bundles.flatMap(({ objects }) => objects)) {
    if (kind !== "CustomResourceDefinition") continue;
    const { group, names } = (spec ?? {}) as { group?: string; names?: { kind?: string; plural?: string } };
    if (group !== undefined && names?.kind !== undefined && names.plural !== undefined) found.set(`${group}/${names.kind}`, names.plural);
  }
  return found;
}

/** A kind's resource, as Kubernetes forms it where nobody says otherwise. */
export function pluralOf(kind: string): string {
  const word = kind.toLowerCase();
  if (word === "endpoints") return word;
  if (/(s|x|z|ch|sh)$/.test(word)) return `${word}es`;
  return /[^aeiou]y$/.test(word) ? `${word.slice(0, -1)}ies` : `${word}s`;
}

function inVerbOrder(verbs: ReadonlySet<string>): string[] {
  const order: readonly string[] = [...reads, ...writes];
  return [...verbs].sort((a, b) => order.indexOf(a) - order.indexOf(b));
}

function below<K, V>(map: Map<string, Map<K, V>>, key: string): Map<K, V> {
  const known = map.get(key) ?? new Map<K, V>();
  map.set(key, known);
  return known;
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
