import { readFile } from "node:fs/promises";
import type { Preview } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Forge, forgeOf } from "../harness/forge.ts";
import { type Platform, type PlatformCluster, startPlatformOn } from "../harness/platform.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { startSimulatedCluster } from "../harness/simulated/simulated-cluster.ts";
import { describeUnlessMissing } from "../harness/tools.ts";
import { waitForValue } from "../harness/wait-for.ts";
import { buildWrongClock } from "../harness/wrong-clock.ts";

/** Ten minutes is more than the life of a command, 26 hours more than that of a certificate. */
const clocks = { right: 0, "ten-minutes-ahead": 600, "a-day-ahead": 26 * 3_600, "a-day-behind": -26 * 3_600 } as const;
const names = Object.keys(clocks) as (keyof typeof clocks)[];

const configMaps = "/api/v1/namespaces/default/configmaps";
const configMap = (value: string) => ({
  "deploy/a.yaml": `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: default }\ndata: { value: "${value}" }\n`,
});

const folder = await scratchFolder("wrong-clock");
const wrongClock = await buildWrongClock(folder);

describeUnlessMissing(wrongClock ? [] : ["cc"], "agents whose clocks are wrong (fault 35)", () => {
  let platform: Platform<PlatformCluster>;
  let forge: Forge;
  const revisions: string[] = [];

  beforeAll(async () => {
    platform = await startPlatformOn(({ name }) => startSimulatedCluster({ name }), {
      clusters: names.map((name) => ({ name, agentEnv: wrongClock?.(clocks[name]) ?? {} })),
    });
    const repository = await platform.git.createRepository("clocks");
    revisions.push(await repository.commit(configMap("1")));
    const { webhook } = await platform.hub.api.createFleet({ name: "clocks", repository: repository.url, path: "deploy", selector: {} });
    forge = forgeOf(platform.hub, repository, { path: webhook.path, secret: webhook.secret ?? "" });
  }, 120_000);

  afterAll(async () => {
    await platform?.stop();
    await removeFolder(folder);
  });

  const valueIn = async (name: string) => (await platform.member(name).kube.client.find(`${configMaps}/a`))?.data as { value?: string } | undefined;

  it("join, follow Git and report, each in its order", async () => {
    await platform.converged("clocks", revisions[0]!);
    for (const value of ["2", "3"]) {
      revisions.push((await forge.push(configMap(value))).revision);
      await platform.converged("clocks", revisions.at(-1)!);
    }
    const events = await platform.hub.api.events({ fleet: "clocks", reason: "Applied", order: "asc" });
    for (const name of names) expect(events.filter(({ cluster }) => cluster === name).map(({ revision }) => revision)).toEqual(revisions);
  });

  it("correct drift", async () => {
    for (const { kube } of platform.members) await kube.client.mergePatch(`${configMaps}/a`, { data: { value: "by hand" } });
    for (const name of names) {
      const healed = await waitForValue(
        () => valueIn(name),
        (data) => data?.value === "3",
        { what: `the heal in ${name}` },
      );
      expect(healed).toEqual({ value: "3" });
    }
  });

  it("answer what they are asked, though its time is over by their clocks", async () => {
    await forge.repository.createBranch("change");
    await forge.repository.commit(configMap("4"), { branch: "change" });
    const asked = await platform.hub.api.request<Preview>("POST", "/api/v1/fleets/clocks/previews", { branch: "change", timeoutMs: 20_000 });
    const { unknown, groups } = await waitForValue(
      () => platform.hub.api.request<Preview>("GET", `/api/v1/previews/${asked.id}`),
      ({ phase }) => phase === "Done" || phase === "Failed",
      { what: "the preview", timeoutMs: 30_000 },
    );
    expect(unknown).toEqual([]);
    expect(groups.flatMap(({ clusters }) => clusters).toSorted()).toEqual(names.toSorted());
  });

  it("keep their certificates and their rights at the broker as long as others do", async () => {
    expect((await platform.hub.api.events({ reason: "CertificateRenewed" })).map(({ cluster }) => cluster)).toEqual([]);
    for (const { name, agent } of platform.members) {
      const connects = (await readFile(agent.logFile, "utf8")).split("\n").filter((line) => line.includes("connected to the broker"));
      expect(connects, name).toHaveLength(1);
    }
  });

  it("are told from those whose clocks are right", async () => {
    const told = async (name: string) => (await platform.hub.api.cluster(name)).facts.clock;
    expect(await told("right")).toBeUndefined();
    expect(await told("ten-minutes-ahead")).toMatch(/^(599|600|601) s ahead of the hub's$/);
    expect(await told("a-day-behind")).toMatch(/^(93599|93600|93601) s behind the hub's$/);
  });
});
