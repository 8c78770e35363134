import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import type { GitRepository } from "../../harness/git-server.ts";
import { createAccount, grant, writeVerbs } from "./account-kubeconfig.ts";
import { waitForValue } from "../../harness/wait-for.ts";

let platform: Platform;
let repository: GitRepository;
let good: string;

const fleet = (checks: string, more = "") => `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: judged }
spec:
  clusters: {}
  bundles:
    - name: web
      path: web
      namespace: shop
      serviceAccount: shop/deployer
      health:
        timeout: 10m
        checks:
          - kind: ConfigMap
            current: "${checks}"
${more}`;

const config = (phase: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: judged }\ndata: { phase: ${phase} }\n`;

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "one", kube: { auditLog: true } }] });
  const { kube } = platform.member("one");
  await createAccount(kube, "shop", "deployer");
  await grant(kube, "shop", "deployer", [{ apiGroups: [""], resources: ["configmaps"], verbs: writeVerbs }], "shop/deployer");
  repository = await platform.git.createRepository("judged");
});

afterAll(async () => {
  await platform?.stop();
});

const row = async () => (await platform.hub.api.objects({ fleet: "judged", kind: "ConfigMap" }))[0];

/** What the agent found out about the cluster and about itself. */
const facts = async () => (await platform.hub.api.cluster("one")).facts;

describe("health and rights of fleet.yaml, from Git to the status", () => {
  it("judge by CEL in the cluster, as an account of the bundle's own, and are told by the hub", async () => {
    await repository.commit({ "fleet.yaml": fleet("data.phase == 'done'"), "web/config.yaml": config("started") });
    await platform.hub.api.createFleet({ name: "judged", repository: repository.url });
    await waitForValue(row, (found) => found?.health === "InProgress", { what: "the object in progress", timeoutMs: 60_000 });
    expect((await row())?.message).toContain("health check: not yet data.phase == 'done'");
    const bundles = await platform.hub.api.bundles({ fleet: "judged" });
    expect(bundles).toEqual([expect.objectContaining({ bundle: "web", health: "InProgress", objects: 1, healthy: 0, healthCounts: { InProgress: 1 } })]);
    expect(await platform.hub.api.targets("judged")).toEqual([expect.objectContaining({ healthCounts: { InProgress: 1 } })]);
    good = await repository.commit({ "web/config.yaml": config("done") });
    await platform.converged("judged", good);
    expect(await facts()).toMatchObject({ rights: "cluster-admin" });
    const writes = (await platform.member("one").kube.auditedRequests()).filter(({ verb, objectRef }) => verb === "patch" && objectRef?.name === "judged");
    expect(writes.length).toBeGreaterThan(1);
    expect(new Set(writes.map(({ impersonatedUser }) => impersonatedUser?.username))).toEqual(new Set(["system:serviceaccount:shop:deployer"]));
  });

  it("that are no CEL are told with file, line and column, and the last good revision stays", async () => {
    await repository.commit({ "fleet.yaml": fleet("data.phase = 'done'") });
    const { problems, revision } = await waitForValue(
      () => platform.hub.api.fleet("judged"),
      (found) => found.problems.length > 0,
      { what: "the problem told" },
    );
    expect(problems).toEqual([
      expect.objectContaining({
        code: "bad-expression",
        file: "fleet.yaml",
        line: 15,
        message: expect.stringMatching(/^current: .*column 12 of the expression/),
      }),
    ]);
    expect(revision).toBe(good);
    expect(await row()).toMatchObject({ health: "Current" });
  });
});
