import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GitRepository, type GitServer, startGitServer } from "../harness/git-server.ts";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { waitForValue } from "../harness/wait-for.ts";

/** What a bad repository may cost the others (G17), on top of what a poll takes in good times. */
const delayMsMax = 5_000;
const pollMs = 1_000;

let platform: Platform;
let broken: GitServer;
let good: GitRepository;
const bad: { name: string; revision: string; repository: GitRepository }[] = [];
let round = 0;

const configMap = (name: string, value: string) => ({
  "a.yaml": `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}" }\n`,
});

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "one" }] });
  broken = await startGitServer();
  good = await platform.git.createRepository("good");
  const first = await good.commit(configMap("good", "0"));
  await platform.hub.api.createFleet({ name: "good", repository: good.url, selector: {}, pollIntervalMs: pollMs });
  // More than the hub renders at once: a server that hangs must not take the places of the others.
  for (const index of [1, 2, 3, 4, 5, 6]) {
    const name = `bad-${index}`;
    const repository = await broken.createRepository(name);
    const revision = await repository.commit(configMap(name, "0"));
    await platform.hub.api.createFleet({ name, repository: repository.url, selector: {}, pollIntervalMs: pollMs });
    bad.push({ name, revision, repository });
  }
  await platform.converged("good", first);
  for (const { name, revision } of bad) await platform.converged(name, revision);
});

afterAll(async () => {
  await broken?.stop();
  await platform?.stop();
});

/** Pushes to the good repository, and gives the milliseconds until the hub has rendered the commit. */
async function pushGood(): Promise<number> {
  round += 1;
  const began = performance.now();
  const revision = await good.commit(configMap("good", String(round)));
  await waitForValue(
    () => platform.hub.api.fleet("good"),
    (fleet) => fleet.revision === revision,
    { what: `the good fleet at round ${round}`, timeoutMs: 30_000, everyMs: 50 },
  );
  return performance.now() - began;
}

async function toldOf(name: string, codes: readonly string[], timeoutMs: number) {
  return waitForValue(
    () => platform.hub.api.fleet(name),
    ({ problems }) => problems.some(({ code }) => codes.includes(code)),
    { what: `the problem of fleet ${name}`, timeoutMs, everyMs: 100 },
  );
}

/** The last good revision stays, in the fleet's row and in the cluster. */
async function untouched(): Promise<void> {
  for (const { name, revision } of bad) {
    expect((await platform.hub.api.fleet(name)).revision).toBe(revision);
    const live = await platform.member("one").kube.client.get(`/api/v1/namespaces/default/configmaps/${name}`);
    expect(live.data).toEqual({ value: "0" });
  }
}

describe("repositories that cannot be followed", () => {
  it("whose server hangs delay the others by less than 5 s, keep their last good revision, and say so (fault 31)", async () => {
    broken.fail({ kind: "hang" });
    for (const { name } of bad) await platform.hub.api.sync(name);
    await waitForValue(
      () => broken.requests.length,
      (count) => count >= bad.length * 2,
      { what: "the hub hanging in requests" },
    );
    for (let pushed = 0; pushed < 3; pushed += 1) expect(await pushGood()).toBeLessThan(delayMsMax + pollMs);
    for (const { name } of bad) {
      const fleet = await toldOf(name, ["git-timeout", "unreachable"], 90_000);
      expect(fleet.source.error).toMatch(/answer|time|stopped|reach/i);
    }
    expect(await pushGood()).toBeLessThan(delayMsMax + pollMs);
    await untouched();
  });

  it("go on by themselves when the server answers again", async () => {
    broken.fail({ kind: "none" });
    for (const fleet of bad) {
      fleet.revision = await fleet.repository.commit({ "b.yaml": configMap(`${fleet.name}-b`, "0")["a.yaml"] });
      await platform.hub.api.sync(fleet.name);
    }
    for (const { name, revision } of bad) {
      await platform.converged(name, revision, { timeoutMs: 90_000 });
      expect((await platform.hub.api.fleet(name)).problems).toEqual([]);
    }
  });

  it("whose server is gone delay nobody, and name the address that did not answer", async () => {
    const { host } = new URL(broken.url);
    await broken.stop();
    for (const { name } of bad) await platform.hub.api.sync(name);
    expect(await pushGood()).toBeLessThan(delayMsMax + pollMs);
    for (const { name } of bad) {
      const fleet = await toldOf(name, ["unreachable"], 30_000);
      expect(`${fleet.source.error} ${fleet.repository}`).toContain(host.split(":")[0]);
    }
    expect(await pushGood()).toBeLessThan(delayMsMax + pollMs);
    await untouched();
    const doctor = (await platform.hub.api.hub()).checks.find(({ name }) => name === "repositories");
    expect(doctor).toMatchObject({ ok: false, message: expect.stringContaining(`${bad.length} of ${bad.length + 1}`) });
  });
});
