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
function limitedServer(isAllowed: (namespace: string) => boolean, askAgainMs: readonly number[] = []) {
  const streams = new Map<string, { line: (text: string) => void; end: () => void }>();
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
    watch: async (path: string, _: unknown, { signal, onLine }: { signal: AbortSignal; onLine: (line: Buffer) => void }) => {
      check(path);
      open.add(path);
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
        streams.set(path, { line: (text) => onLine(Buffer.from(text)), end: resolve });
      });
      open.delete(path);
    },
  } as unknown as KubeClient;
  const discovery = { known: () => resource, refresh: () => Promise.resolve() } as unknown as Discovery;
  /** Of objects whose health is known again (true), or no more (false). */
  const sights: boolean[] = [];
  const view = new ClusterView(
    client,
    discovery,
    silentLog,
    (object, _before, isSightChanged = false) => isSightChanged && sights.push(object.blindness === ""),
    () => undefined,
    askAgainMs,
  );
  return { view, open, listed, streams, sights };
}

const configMap = (namespace: string, name = "a"): TrackedObject =>
  trackObject("shop", `/ConfigMap/${namespace}/${name}`, { group: "", kind: "ConfigMap", namespace, name }, "v1", "web");

async function waitUntil(holds: () => boolean): Promise<void> {
  const until = Date.now() + 4_500;
  while (!holds()) {
    if (Date.now() > until) throw new Error(`it did not come to hold: ${String(holds)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a cluster view that may not see all namespaces", () => {
  it("tells once that an object cannot be seen, and once that it can again though it is the same as before", async () => {
    let isGranted = false;
    const { view, sights } = limitedServer(() => isGranted);
    await view.look([configMap("a")], new AbortController().signal);
    await waitUntil(() => sights.length > 0);
    isGranted = true;
    await waitUntil(() => sights.includes(true));
    expect(sights.filter((isSeen) => isSeen)).toEqual([true]);
    view.stop();
  });

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

  it("believes a refusal of what it has watched before only when it lasts", async () => {
    let allowed = true;
    const { view, open, listed, streams } = limitedServer(() => allowed);
    const object = configMap("a");
    await view.look([object], new AbortController().signal);
    await settled();
    const stream = streams.get("/api/v1/configmaps");
    stream?.line(JSON.stringify({ type: "BOOKMARK", object: { metadata: { name: "", resourceVersion: "5" } } }));
    allowed = false;
    stream?.end();
    await waitUntil(() => object.blindness !== "");
    // Blind for now, and not a watch for each namespace.
    expect(listed.filter((path) => path.includes("/namespaces/a/"))).toEqual([]);
    allowed = true;
    await waitUntil(() => object.blindness === "" && open.has("/api/v1/configmaps"));
    view.stop();
  });

  it("watches all at once when it may after all, and does not ask for ever", async () => {
    let allowed = false;
    const { view, open, listed } = limitedServer((namespace) => namespace !== "" || allowed, [20, 20]);
    const objects = [configMap("a"), configMap("b")];
    await view.look(objects, new AbortController().signal);
    await waitUntil(() => listed.filter((path) => path === "/api/v1/configmaps").length === 2);
    expect(open.size).toBe(2);
    allowed = true;
    await waitUntil(() => open.size === 1);
    expect([...open]).toEqual(["/api/v1/configmaps"]);
    expect(objects.map((object) => view.observe(object))).toEqual([{ state: "absent" }, { state: "absent" }]);
    view.stop();

    const refusedForEver = limitedServer((namespace) => namespace !== "", [5, 5]);
    await refusedForEver.view.look([configMap("a")], new AbortController().signal);
    await waitUntil(() => refusedForEver.listed.filter((path) => path === "/api/v1/configmaps").length === 3);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(refusedForEver.listed.filter((path) => path === "/api/v1/configmaps").length).toBe(3);
    refusedForEver.view.stop();
  });
});
