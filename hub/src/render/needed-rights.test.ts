import { describe, expect, it } from "vitest";
import type { KubeObject } from "@flotilla/proto/digest";
import { kindsByApiVersion } from "./known-kinds.ts";
import { neededRights, pluralOf } from "./needed-rights.ts";

const object = (apiVersion: string, kind: string, name: string, namespace?: string, more: object = {}): KubeObject =>
  ({ apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) }, ...more }) as KubeObject;
const all = ["get", "list", "watch", "create", "patch", "delete"];
const seeing = { apiGroups: [""], resources: ["events", "pods"], verbs: ["list"] };

const agentOf = (...bundles: Parameters<typeof neededRights>[0]) => neededRights(bundles).accounts.find(({ account }) => account === "")?.places;

describe("the rights that a fleet's objects need", () => {
  it("are Roles in their namespaces, and a ClusterRole for what has none", () => {
    const objects = [
      object("v1", "ConfigMap", "a", "shop"),
      object("v1", "Service", "a", "shop"),
      object("apps/v1", "Deployment", "a", "shop"),
      object("networking.k8s.io/v1", "NetworkPolicy", "a", "back"),
      object("v1", "Namespace", "shop"),
    ];
    expect(agentOf({ objects })).toEqual([
      { namespace: "", rules: [{ apiGroups: [""], resources: ["namespaces"], verbs: all }] },
      { namespace: "back", rules: [seeing, { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: all }] },
      {
        namespace: "shop",
        rules: [
          { apiGroups: [""], resources: ["configmaps", "services"], verbs: all },
          seeing,
          { apiGroups: ["apps"], resources: ["deployments"], verbs: all },
        ],
      },
    ]);
    expect(neededRights([{ objects }])).toMatchObject({ namespaces: ["back", "shop"], notes: [] });
  });

  it("name custom resources by their definitions, and say where that is a guess", () => {
    const definition = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "oxen.farm.example", undefined, {
      spec: { group: "farm.example", names: { kind: "Ox", plural: "oxen" } },
    });
    const known = neededRights([{ objects: [definition, object("farm.example/v1", "Ox", "a", "barn")] }]);
    expect(JSON.stringify(known)).toContain('"oxen"');
    expect(known.notes).toEqual([]);
    const guessed = neededRights([{ objects: [object("kafka.strimzi.io/v1", "Kafka", "a", "barn")] }]);
    expect(JSON.stringify(guessed.accounts)).toContain('"kafkas"');
    expect(guessed.notes).toEqual(['the resource of Kafka (kafka.strimzi.io) is taken to be "kafkas": its definition is not among the objects']);
  });

  it("of a bundle with a service account are to see and to impersonate exactly it; what it writes, it needs itself", () => {
    const needed = neededRights([{ objects: [object("v1", "ConfigMap", "a", "shop")], serviceAccount: "ops/deployer" }]);
    expect(needed.accounts).toEqual([
      {
        account: "",
        places: [
          { namespace: "ops", rules: [{ apiGroups: [""], resources: ["serviceaccounts"], resourceNames: ["deployer"], verbs: ["impersonate"] }] },
          { namespace: "shop", rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] }, seeing] },
        ],
      },
      {
        account: "ops/deployer",
        places: [{ namespace: "shop", rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["create", "patch", "delete"] }] }],
      },
    ]);
  });

  it("of roles are what they give, and of bindings to other roles to bind exactly those; both are said", () => {
    const rbac = "rbac.authorization.k8s.io";
    const rule = { apiGroups: ["batch"], resources: ["jobs"], verbs: ["get"] };
    const urls = { nonResourceURLs: ["/metrics"], verbs: ["get"] };
    const { accounts, notes } = neededRights([
      {
        objects: [
          object(`${rbac}/v1`, "Role", "reader", "shop", { rules: [rule] }),
          object(`${rbac}/v1`, "ClusterRole", "scraper", undefined, { rules: [urls] }),
          object(`${rbac}/v1`, "RoleBinding", "ours", "shop", { roleRef: { kind: "Role", name: "reader" } }),
          object(`${rbac}/v1`, "RoleBinding", "theirs", "shop", { roleRef: { kind: "ClusterRole", name: "view" } }),
          object(`${rbac}/v1`, "ClusterRoleBinding", "scraper", undefined, { roleRef: { kind: "ClusterRole", name: "scraper" } }),
        ],
      },
    ]);
    const [cluster, shop] = accounts[0]?.places ?? [];
    expect(cluster?.rules).toContainEqual(urls);
    expect(shop?.rules).toContainEqual(rule);
    expect(shop?.rules).toContainEqual({ apiGroups: [rbac], resources: ["clusterroles"], resourceNames: ["view"], verbs: ["bind"] });
    expect(JSON.stringify(accounts)).not.toContain("escalate");
    expect(notes).toEqual([
      "the agent gets every right that ClusterRole scraper gives: Kubernetes lets nobody give more than he has",
      "the agent gets every right that Role shop/reader gives: Kubernetes lets nobody give more than he has",
      "the agent may bind ClusterRole view, which RoleBinding shop/theirs names and the fleet does not hold, to anybody in namespace shop",
    ]);
  });

  it("of an aggregated role are to escalate exactly it, which is said", () => {
    const role = object("rbac.authorization.k8s.io/v1", "ClusterRole", "sum", undefined, { aggregationRule: {}, rules: [] });
    const { accounts, notes } = neededRights([{ objects: [role] }]);
    expect(JSON.stringify(accounts)).toContain('"resourceNames":["sum"],"verbs":["escalate"]');
    expect(notes[0]).toMatch(/could write any rights into it/);
  });

  it("know the resource of every kind of Kubernetes", () => {
    const odd: Readonly<Record<string, string>> = {
      Endpoints: "endpoints",
      NetworkPolicy: "networkpolicies",
      Ingress: "ingresses",
      StorageClass: "storageclasses",
      IPAddress: "ipaddresses",
      CSIStorageCapacity: "csistoragecapacities",
      ValidatingAdmissionPolicy: "validatingadmissionpolicies",
      Lease: "leases",
      ServiceCIDR: "servicecidrs",
    };
    for (const [kind, plural] of Object.entries(odd)) expect(pluralOf(kind)).toBe(plural);
    for (const kinds of kindsByApiVersion.values()) for (const kind of kinds) expect(pluralOf(kind)).toMatch(/s$/);
  });
});
