import { describe, expect, it } from "vitest";
import type { Discovery, KubeResource } from "../cluster/discovery.ts";
import type { KubeClient } from "../cluster/kube-client.ts";
import { KubeError } from "../cluster/kube-error.ts";
import { engineLimits } from "../limits.ts";
import { silentLog } from "../log.ts";
import { ClusterView } from "./cluster-view.ts";
import { trackObject, type TrackedObject } from "./tracked-object.ts";

const resource: KubeResource = { apiVersion: "v1", group: "", kind: "ConfigMap", plural: "configmaps", isNamespaced: true, canWatch: true };
const refusal =
  'configmaps is forbidden: User "system:serviceaccount:flotilla-system:flotilla-agent" cannot list resource "configmaps" in API group "" at the cluster scope';

/** An API server that lets us see single namespaces only; `open` are the paths being watched. */
function limitedServer(isAllowed: (namespace: string) => boolean) {
  const open = new Set<string>();
  const listed: string[] = [];
  const namespaceOf = (path: string) => /\/namespaces\/([^/]+)\//.exec(path)?.[1] ?? "";
  const check = (path: string) => {
    if (!isAllowed(namespaceOf(path))) throw new KubeError("status", refusal, { status: 403, reason: "Forbidden" });
  };
  const client = {
    timing: { watchIdleMs: 60_000 },
    reachable: () => Promise.resolve(),
    json: async ({ path }: { path: string }) => {
      listed.push(path);
      check(path);
      return { metadata: { resourceVersion: "1" }, items: [] };
    },
    watch: async (path: string, _: unknown, { signal }: { signal: AbortSignal }) => {
      check(path);
      open.add(path);
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      open.delete(path);
    },
  } as unknown as KubeClient;
  const discovery = { known: () => resource, refresh: () => Promise.resolve() } as unknown as Discovery;
  const view = new ClusterView(
    client,
    discovery,
    silentLog,
    () => undefined,
    () => undefined,
  );
  return { view, open, listed };
}

const configMap = (namespace: string, name = "a"): TrackedObject =>
  trackObject("shop", `/ConfigMap/${namespace}/${name}`, { group: "", kind: "ConfigMap", namespace, name }, "v1", "web");

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a cluster view that may not see all namespaces", () => {
  it("sees each namespace that is in use, and stops when nothing of it is", async () => {
    const { view, open, listed } = limitedServer((namespace) => namespace !== "");
    const objects = [configMap("a"), configMap("a", "b"), configMap("b")];
    await view.look(objects, new AbortController().signal);
    await settled();
    expect([...open].sort()).toEqual(["/api/v1/namespaces/a/configmaps", "/api/v1/namespaces/b/configmaps"]);
    expect(listed.filter((path) => path === "/api/v1/configmaps").length).toBe(1);
    expect(objects.map((object) => view.observe(object))).toEqual([{ state: "absent" }, { state: "absent" }, { state: "absent" }]);
    const later = configMap("c");
    view.attach(later, resource);
    await settled();
    expect(open.has("/api/v1/namespaces/c/configmaps")).toBe(true);
    view.detach(objects[0] as TrackedObject);
    view.detach(later);
    await settled();
    expect([...open].sort()).toEqual(["/api/v1/namespaces/a/configmaps", "/api/v1/namespaces/b/configmaps"]);
    view.detach(objects[1] as TrackedObject);
    await settled();
    expect([...open]).toEqual(["/api/v1/namespaces/b/configmaps"]);
    view.stop();
    await settled();
    expect([...open]).toEqual([]);
  });

  it("is blind in a namespace that is refused too, says what to grant, and sees the others", async () => {
    const { view } = limitedServer((namespace) => namespace === "a");
    const [seen, unseen] = [configMap("a"), configMap("b")];
    await view.look([seen, unseen], new AbortController().signal);
    expect(view.observe(seen)).toEqual({ state: "absent" });
    expect(view.observe(unseen)).toEqual({ state: "unseen" });
    expect(unseen.blindness).toMatch(/^cannot be watched: .*; grant \{ apiGroups: \[""\], resources: \["configmaps"\], verbs: \["list"\] \}/);
    view.stop();
  });

  it("watches a bounded number of namespaces, and says of the others what would let it see them", async () => {
    const { view, open } = limitedServer((namespace) => namespace !== "");
    const objects = Array.from({ length: engineLimits.maxNamespaceWatches + 2 }, (_, n) => configMap(`ns-${n}`));
    await view.look(objects, new AbortController().signal);
    await settled();
    expect(open.size).toBe(engineLimits.maxNamespaceWatches);
    const blind = objects.filter(({ blindness }) => blindness !== "");
    expect(blind.length).toBe(2);
    expect(blind[0]?.blindness).toMatch(/more than 300 watches of single namespaces would be needed: grant .*"list", "watch".* in a ClusterRole/);
    view.stop();
  });
});
