import { join } from "node:path";
import type { AuthorityRow } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../harness/free-port.ts";
import { type HubProcess, startHub } from "../harness/hub-process.ts";
import { removeFolder, scratchFolder } from "../harness/scratch-folder.ts";
import { type Crowd, startCrowd } from "../harness/simulated/crowd.ts";
import { waitFor, waitForValue } from "../harness/wait-for.ts";

/** FLOTILLA_CA_CROWD tries more. */
const agents = Number(process.env.FLOTILLA_CA_CROWD ?? 100);

let folder: string;
let hub: HubProcess;
let crowd: Crowd;

beforeAll(async () => {
  folder = await scratchFolder("ca-crowd");
  const args = ["--nats-listen", `0.0.0.0:${await freePort()}`, "--enrol-per-second", "200", "--log-level", "warn"];
  hub = await startHub({ dataDir: join(folder, "hub"), folder, build: "bundle", args });
  crowd = await startCrowd({ api: hub.api, count: agents, folder, processes: 1, labels: () => ({}) });
}, 300_000);

afterAll(async () => {
  await crowd?.stop();
  await hub?.stop();
  if (folder !== undefined) await removeFolder(folder);
});

const authorities = async (): Promise<AuthorityRow[]> => (await hub.api.request<{ items: AuthorityRow[] }>("GET", "/api/v1/authorities")).items;

/** The milliseconds until all agents trust a CA, or have a certificate of it. */
async function untilAll(hash: string, what: "trusting" | "holders"): Promise<number> {
  const began = performance.now();
  await waitForValue(
    async () => (await authorities()).find((row) => row.hash === hash)?.[what],
    (count) => count === agents,
    { what: `every agent ${what} CA ${hash.slice(0, 12)}`, timeoutMs: 120_000, everyMs: 200 },
  );
  return Math.round(performance.now() - began);
}

describe(`the hub's CA is changed under ${agents} agents at once (fault 36)`, () => {
  it("and all of them trust the new one and have a certificate of it within a minute, none refused and none left out", async () => {
    const [first] = await authorities();
    const staged = await hub.api.request<AuthorityRow>("POST", "/api/v1/authorities");
    const trustedMs = await untilAll(staged.hash, "trusting");
    await waitFor(() => hub.api.request("POST", `/api/v1/authorities/${staged.hash}/activate`, {}), { what: "the activation", everyMs: 500 });
    const changedMs = await untilAll(staged.hash, "holders");
    await hub.api.request("POST", `/api/v1/authorities/${first?.hash}/retire`, {});
    expect(Math.max(trustedMs, changedMs)).toBeLessThan(60_000);
    await waitForValue(
      async () => (await crowd.links()).connected,
      (connected) => connected === agents,
      { what: "every link" },
    );
    expect(await hub.api.events({ reason: "LinkRefused" })).toEqual([]);
    expect(await hub.api.events({ reason: "ReportsLost" })).toEqual([]);
  }, 300_000);
});
