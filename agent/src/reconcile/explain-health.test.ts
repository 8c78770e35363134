import { setTimeout as delay } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import type { Discovery } from "../cluster/discovery.ts";
import type { KubeClient } from "../cluster/kube-client.ts";
import { failed, current, type Verdict } from "../domain/verdict.ts";
import { silentLog } from "../log.ts";
import { sightOf } from "./cluster-view.ts";
import { HealthExplainer } from "./explain-health.ts";
import { trackObject, type Sight, type TrackedObject } from "./tracked-object.ts";

/** Milliseconds instead of seconds and minutes; the shape is that of explainLimits. */
const limits = { afterMs: [20, 20, 20], restMs: 60, betweenMs: 1, objects: 2 };

let explainer: HealthExplainer | undefined;
afterEach(async () => {
  await explainer?.stop();
});

/** An API server with one pod that cannot pull its image; `asked` are the requests. */
function start(more: Partial<typeof limits> = {}) {
  const asked: string[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const client = {
    json: ({ path }: { path: string }) => {
      asked.push(path);
      for (const wait of waiting) if (asked.length >= wait.count) wait.resolve();
      if (path.endsWith("/pods")) {
        const status = { phase: "Pending", containerStatuses: [{ name: "main", state: { waiting: { reason: "ErrImagePull" } } }] };
        return Promise.resolve({ items: [{ metadata: { name: "web-1", uid: "p", ownerReferences: [{ uid: "u" }] }, status }] });
      }
      if (path.endsWith("/events")) return Promise.resolve({ items: [] });
      return Promise.resolve({ metadata: { name: "web", namespace: "shop", uid: "u" }, spec: { selector: { matchLabels: { app: "web" } } } });
    },
  } as unknown as KubeClient;
  const resource = { apiVersion: "apps/v1", group: "apps", kind: "StatefulSet", plural: "statefulsets", isNamespaced: true, canWatch: true };
  const discovery = { resolve: () => Promise.resolve(resource) } as unknown as Discovery;
  const explained: string[] = [];
  explainer = new HealthExplainer(
    client,
    discovery,
    silentLog,
    { isTracked: () => true, onExplained: ({ why }) => explained.push(why) },
    { ...limits, ...more },
  );
  const askedFor = async (count: number) => {
    if (asked.length >= count) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.push({ count, resolve });
    await promise;
  };
  return { explainer, asked, explained, askedFor };
}

function unhealthy(name = "web", message = "0 of 1 replicas ready"): TrackedObject {
  const id = { group: "apps", kind: "StatefulSet", namespace: "shop", name };
  const object = trackObject("fleet", `apps/StatefulSet/shop/${name}`, id, "apps/v1", "web");
  object.live = seen(object, failed(message));
  return object;
}

function seen(object: TrackedObject, verdict: Verdict): Sight {
  const { namespace, name } = object.id;
  return { ...sightOf(object, { apiVersion: "apps/v1", kind: "StatefulSet", metadata: { namespace, name, uid: "u" } }), verdict };
}

describe("the explainer", () => {
  it("tells the reason once, looks again a few times, and then asks nothing more while nothing changes", async () => {
    const { explainer: explain, asked, explained, askedFor } = start();
    const object = unhealthy();
    explain.notice(object);
    expect(asked).toEqual([]);
    await askedFor(9);
    expect(object.why).toBe("pod web-1: main: ErrImagePull");
    explain.notice(object);
    await delay(120);
    expect(asked.length).toBe(9);
    expect(explained).toEqual(["pod web-1: main: ErrImagePull"]);
  });

  it("forgets the reason of what is healthy, and does not ask about it", async () => {
    const { explainer: explain, asked, askedFor } = start();
    const object = unhealthy();
    explain.notice(object);
    await askedFor(3);
    object.live = seen(object, current);
    explain.notice(object);
    const before = asked.length;
    await delay(100);
    expect([object.why, asked.length]).toEqual(["", before]);
  });

  it("looks at what changes all the time no more often than at rest", async () => {
    const { explainer: explain, asked } = start({ afterMs: [1], restMs: 100 });
    const object = unhealthy();
    const until = Date.now() + 350;
    for (let n = 0; Date.now() < until; n++) {
      object.live = seen(object, failed(`${n} of many`));
      explain.notice(object);
      await delay(5);
    }
    // Each look is three requests: four or five looks fit into the time, not seventy.
    expect(asked.length).toBeGreaterThanOrEqual(3);
    expect(asked.length).toBeLessThanOrEqual(15);
  });

  it("looks into a bounded number of objects", async () => {
    const { explainer: explain, asked, askedFor } = start({ afterMs: [5] });
    for (const name of ["a", "b", "c", "d"]) explain.notice(unhealthy(name));
    await askedFor(6);
    await delay(60);
    expect(asked.filter((path) => path.endsWith("/pods")).length).toBe(2);
  });

  it("makes room for new troubles when the old ones are told to the end, or gone", async () => {
    const { explainer: explain, asked, askedFor } = start({ afterMs: [5] });
    const [a, b, c] = ["a", "b", "c"].map((name) => unhealthy(name)) as [TrackedObject, TrackedObject, TrackedObject];
    explain.notice(a);
    explain.notice(b);
    await askedFor(6);
    await delay(20);
    explain.notice(c);
    await askedFor(9);
    await delay(20);
    expect([a.why, b.why, c.why]).toEqual(Array.from({ length: 3 }, () => "pod web-1: main: ErrImagePull"));
    // The old ones are looked at again when they change.
    a.live = seen(a, failed("another reason"));
    explain.notice(a);
    await askedFor(12);
    expect(asked.length).toBe(12);
  });
});
