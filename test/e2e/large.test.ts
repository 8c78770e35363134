import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Platform, startPlatform } from "../harness/platform.ts";

let platform: Platform;

beforeAll(async () => {
  platform = await startPlatform({ clusters: [{ name: "one" }] });
});

afterAll(() => platform?.stop());

/** Text that does not compress: chained hashes. */
function noise(seed: string, bytes: number): string {
  let text = "";
  for (let link = seed; text.length < bytes; text += link) link = createHash("sha256").update(link).digest("base64");
  return text.slice(0, bytes);
}

describe("large fleets of one cluster", () => {
  it("a bundle of 3 MB arrives whole, in chunks", async () => {
    const repository = await platform.git.createRepository("heavy");
    const files = Object.fromEntries(
      Array.from({ length: 10 }, (_, index) => [
        `heavy-${index}.yaml`,
        `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: heavy-${index}, namespace: default }\ndata: { text: "${noise(String(index), 300_000)}" }\n`,
      ]),
    );
    const revision = await repository.commit(files);
    await platform.hub.api.createFleet({ name: "heavy", repository: repository.url, selector: {} });
    await platform.converged("heavy", revision);
    const live = (await platform.member("one").kube.client.get("/api/v1/namespaces/default/configmaps/heavy-9")) as { data?: { text?: string } };
    expect(live.data?.text).toBe(noise("9", 300_000));
  });

  it("2,000 objects are applied, each with its state in the hub", async () => {
    const repository = await platform.git.createRepository("many");
    const files = Object.fromEntries(
      Array.from({ length: 20 }, (_, file) => [
        `many-${file}.yaml`,
        Array.from({ length: 100 }, (__, index) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: many-${file}-${index}, namespace: default }\n`).join(
          "---\n",
        ),
      ]),
    );
    const revision = await repository.commit(files);
    await platform.hub.api.createFleet({ name: "many", repository: repository.url, selector: {} });
    await platform.converged("many", revision, { timeoutMs: 120_000 });
    const objects = await platform.hub.api.objects({ fleet: "many" });
    expect(objects.filter(({ sync, health }) => sync === "Synced" && health === "Current")).toHaveLength(2_000);
  });
});
