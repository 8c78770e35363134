/** Sequences of requests that a real API server and the simulated one must answer alike. `NS` is the case's own namespace, `GROUP` its own group. */

export interface Step {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly type?: string;
}

const apply = "application/apply-patch+yaml";
const merge = "application/merge-patch+json";
const patch = "application/json-patch+json";

const get = (path: string): Step => ({ method: "GET", path });
const post = (path: string, body: unknown): Step => ({ method: "POST", path, body });
const put = (path: string, body: unknown): Step => ({ method: "PUT", path, body });
const remove = (path: string, body?: unknown): Step => ({ method: "DELETE", path, ...(body !== undefined && { body }) });
const mergeTo = (path: string, body: unknown): Step => ({ method: "PATCH", path, body, type: merge });
const patchTo = (path: string, body: unknown): Step => ({ method: "PATCH", path, body, type: patch });
const applyTo = (path: string, fieldManager: string, body: unknown, force = false): Step => ({
  method: "PATCH",
  path: `${path}?fieldManager=${fieldManager}&force=${force}`,
  body,
  type: apply,
});

const configMaps = "/api/v1/namespaces/NS/configmaps";
const deployments = "/apis/apps/v1/namespaces/NS/deployments";
const services = "/api/v1/namespaces/NS/services";
const secrets = "/api/v1/namespaces/NS/secrets";
const widgets = "/apis/GROUP/v1/namespaces/NS/widgets";
const configMap = (name: string, data?: object, metadata: object = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...metadata },
  ...(data && { data }),
});
const workload = (kind: string, name: string, container: object = {}, spec: object = {}) => ({
  apiVersion: "apps/v1",
  kind,
  metadata: { name },
  spec: {
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "main", image: "example/app:1", ...container }] } },
    ...spec,
  },
});
const deployment = (name: string, container: object = {}, spec: object = {}) =>
  workload("Deployment", name, { ports: [{ containerPort: 80 }], ...container }, spec);
const service = (name: string, spec: object) => ({ apiVersion: "v1", kind: "Service", metadata: { name }, spec });
const widget = (name: string, spec: object) => ({ apiVersion: "GROUP/v1", kind: "Widget", metadata: { name }, spec });

const keyedPorts = {
  type: "array",
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": ["name"],
  items: { type: "object", required: ["name"], properties: { name: { type: "string" }, port: { type: "integer" } } },
};
export const widgetDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.GROUP" },
  spec: {
    group: "GROUP",
    scope: "Namespaced",
    names: { plural: "widgets", kind: "Widget" },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                properties: {
                  size: { type: "integer", default: 3 },
                  label: { type: "string" },
                  ports: keyedPorts,
                  tags: { type: "array", "x-kubernetes-list-type": "set", items: { type: "string" } },
                  free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
                },
              },
            },
          },
        },
      },
    ],
  },
};

export const cases: Readonly<Record<string, readonly Step[]>> = {
  "gives fields to who writes them, refuses an apply that others' fields stand against, and takes them by force": [
    post(configMaps, configMap("c", { a: "1" }, { labels: { a: "b" } })),
    applyTo(`${configMaps}/c`, "b", configMap("c", { a: "2", b: "1" })),
    applyTo(`${configMaps}/c`, "b", configMap("c", { a: "2", b: "1" }), true),
    applyTo(`${configMaps}/c`, "e", configMap("c", { a: "9", q: "1" }, { labels: { a: "x", z: "y" } })),
  ],
  "removes what an applier no longer sends, unless somebody shares it": [
    applyTo(`${configMaps}/c`, "a", configMap("c", { a: "1", b: "1" })),
    applyTo(`${configMaps}/c`, "b", configMap("c", { a: "1" })),
    applyTo(`${configMaps}/c`, "a", configMap("c")),
    applyTo(`${configMaps}/c`, "b", configMap("c")),
  ],
  "records nothing of an object whose owners are all gone, and gives it whole to whoever was before the first apply": [
    applyTo(`${configMaps}/c`, "a", configMap("c", { a: "1" })),
    mergeTo(`${configMaps}/c`, { metadata: { managedFields: [{}] } }),
    mergeTo(`${configMaps}/c`, { data: { b: "1" } }),
    applyTo(`${configMaps}/c`, "a", configMap("c", { a: "2" })),
  ],
  "patches, tests, replaces, and does nothing on a dry run": [
    post(configMaps, configMap("c", { a: "1" })),
    mergeTo(`${configMaps}/c?dryRun=All`, { data: { zz: "1" } }),
    get(`${configMaps}/c`),
    patchTo(`${configMaps}/c`, [{ op: "add", path: "/data/k", value: "v" }]),
    patchTo(`${configMaps}/c`, [{ op: "test", path: "/data/k", value: "no" }]),
    patchTo(`${configMaps}/c`, [{ op: "remove", path: "/data/none" }]),
    mergeTo(`${configMaps}/c`, {}),
    put(`${configMaps}/c`, configMap("c", { z: "1" })),
    put(`${configMaps}/c`, configMap("c", { z: "2" }, { resourceVersion: "1" })),
    put(`${configMaps}/none`, configMap("none")),
    mergeTo(`${configMaps}/none`, { data: {} }),
  ],
  "refuses an apply that is not of its object": [
    applyTo(`${configMaps}/c`, "a", configMap("c", { a: "1" }, { uid: "11111111-1111-1111-1111-111111111111" })),
    applyTo(`${configMaps}/c`, "a", configMap("c", { a: "1" })),
    applyTo(`${configMaps}/c`, "a", configMap("c", { a: "1" }, { uid: "11111111-1111-1111-1111-111111111111" })),
    applyTo(`${configMaps}/c`, "a", configMap("other", { a: "1" })),
    applyTo(`${configMaps}/c`, "", configMap("c")),
    applyTo(`${configMaps}/c`, "a", { ...configMap("c"), unknown: 1 }),
    applyTo(`${configMaps}/c`, "a", configMap("c", { a: 1 })),
    applyTo(`${configMaps}/c`, "a", configMap("c", {}, { managedFields: [] })),
  ],
  "refuses names, keys and namespaces that are not right, and what is there already": [
    post(configMaps, configMap("A_b", { "a b": "1" })),
    post(configMaps, configMap("c")),
    post(configMaps, configMap("c")),
    post(configMaps, configMap("o", {}, { namespace: "other" })),
    post("/api/v1/namespaces/nowhere/configmaps", configMap("c")),
    get(`${configMaps}/none`),
    get("/api/v1/namespaces/NS/nonsense"),
    post("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "Not-right" } }),
  ],
  "keeps what is immutable": [
    post(configMaps, { ...configMap("fixed", { a: "1" }), immutable: true }),
    mergeTo(`${configMaps}/fixed`, { data: { a: "2" } }),
    post(secrets, { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, stringData: { a: "b" } }),
    mergeTo(`${secrets}/s`, { type: "other" }),
    applyTo(`${deployments}/d`, "a", deployment("d")),
    applyTo(`${deployments}/d`, "a", deployment("d", {}, { selector: { matchLabels: { app: "other" } } })),
    applyTo(`${services}/s`, "a", service("s", { ports: [{ port: 80 }] })),
    applyTo(`${services}/s`, "a", service("s", { ports: [{ port: 80 }], clusterIP: "10.0.0.9" })),
  ],
  "deletes by precondition, waits for finalizers, and lets no new one be added": [
    post(configMaps, configMap("c")),
    remove(`${configMaps}/c`, { preconditions: { resourceVersion: "1" } }),
    remove(`${configMaps}/c`, { preconditions: { uid: "11111111-1111-1111-1111-111111111111" } }),
    remove(`${configMaps}/c?dryRun=All`),
    remove(`${configMaps}/c`),
    remove(`${configMaps}/c`),
    post(configMaps, configMap("held", {}, { finalizers: ["a.example/b"] })),
    remove(`${configMaps}/held`),
    remove(`${configMaps}/held`),
    mergeTo(`${configMaps}/held`, { metadata: { finalizers: ["a.example/b", "d.example/e"] } }),
    mergeTo(`${configMaps}/held`, { metadata: { finalizers: null } }),
    get(`${configMaps}/held`),
    remove(`${services}/none`),
  ],
  "fills in Deployments, merges their keyed lists, and counts generations": [
    post(deployments, deployment("posted")),
    applyTo(`${deployments}/d`, "a", deployment("d")),
    applyTo(`${deployments}/d`, "a", deployment("d")),
    applyTo(`${deployments}/d`, "b", deployment("d", { image: "x:2", env: [{ name: "A", value: "1" }] })),
    applyTo(
      `${deployments}/d`,
      "b",
      deployment(
        "d",
        {
          image: "x:2",
          env: [
            { name: "A", value: "1" },
            { name: "B", value: "" },
          ],
        },
        { replicas: 3 },
      ),
      true,
    ),
    applyTo(`${deployments}/d`, "b", deployment("d", { image: "x:2", env: [{ name: "B", value: "2" }] }), true),
    mergeTo(`${deployments}/d`, { spec: { replicas: 7 } }),
    mergeTo(`${deployments}/d/status`, { status: { replicas: 3, observedGeneration: 2, conditions: [{ type: "Available", status: "True" }] } }),
    applyTo(`${deployments}/d`, "a", { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "d" } }),
    applyTo(`${deployments}/none`, "a", { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "none" } }),
    applyTo(`${deployments}/wrong`, "a", deployment("wrong", { image: "" }, { selector: { matchLabels: { app: "other" } } })),
    remove(`${deployments}/d`, { propagationPolicy: "Background" }),
  ],
  "fills in StatefulSets, DaemonSets, Jobs, Services, Secrets, claims, roles and pods": [
    post("/apis/apps/v1/namespaces/NS/statefulsets", workload("StatefulSet", "db", {}, { serviceName: "db" })),
    post("/apis/apps/v1/namespaces/NS/daemonsets", workload("DaemonSet", "each")),
    post("/apis/batch/v1/namespaces/NS/jobs", {
      metadata: { name: "once" },
      spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox" }] } } },
    }),
    post(services, service("s", { ports: [{ port: 80 }], selector: { a: "b" } })),
    post(services, service("wrong", { ports: [{ port: 123_456 }] })),
    applyTo(
      `${services}/s`,
      "b",
      service("s", {
        ports: [
          { port: 80, name: "x" },
          { port: 81, name: "y", targetPort: "web" },
        ],
      }),
    ),
    put(`${services}/s`, service("s", { ports: [{ port: 82 }] })),
    remove(`${services}/s`),
    post(secrets, { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, stringData: { a: "b" } }),
    post("/api/v1/namespaces/NS/persistentvolumeclaims", {
      metadata: { name: "p" },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    }),
    post("/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings", {
      metadata: { name: "r" },
      roleRef: { kind: "Role", name: "x" },
      subjects: [{ kind: "User", name: "u" }],
    }),
    post("/api/v1/namespaces/NS/pods", { metadata: { name: "p" }, spec: { containers: [{ name: "main", image: "busybox" }] } }),
  ],
  "serves a custom kind: defaults, pruning, lists with keys and sets, free maps, wrong types": [
    applyTo(`${widgets}/w`, "a", widget("w", { label: "x", ports: [{ name: "a", port: 1 }], tags: ["x"], free: { a: { b: 1 }, l: [1] } })),
    applyTo(`${widgets}/w`, "b", widget("w", { label: "y", ports: [{ name: "b", port: 1 }], tags: ["y"] })),
    applyTo(`${widgets}/w`, "b", widget("w", { label: "y", ports: [{ name: "b", port: 1 }, { name: "a" }], tags: ["y"] }), true),
    applyTo(`${widgets}/w`, "a", widget("w", { ports: [], free: {} })),
    applyTo(`${widgets}/w`, "a", widget("w", { unknown: 1 })),
    applyTo(`${widgets}/w`, "a", widget("w", { label: 1 })),
    post(widgets, widget("posted", { label: "x", unknown: 1, tags: ["a"] })),
    post(widgets, widget("wrong", { size: "x" })),
    mergeTo(`${widgets}/w`, { spec: { label: null, ports: [{ name: "c" }] } }),
    get(widgets),
    remove(`${widgets}/w`),
  ],
  "refuses what is made in a namespace that is being deleted": [
    remove("/api/v1/namespaces/NS"),
    post(configMaps, configMap("late")),
    applyTo(`${configMaps}/late`, "a", configMap("late")),
  ],
};
