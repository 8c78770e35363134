import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Platform, startPlatform } from "../harness/platform.ts";
import { expectNoServices, runService, spawnService } from "../harness/spawn-service.ts";
import { describeWith, kubeTools } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";

const settings = (colour: string) =>
  [
    "apiVersion: v1\nkind: Namespace\nmetadata: { name: web }",
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: web }\ndata: { colour: ${colour} }`,
  ].join("\n---\n");

await describeWith([...kubeTools, "nats-server"], "a fleet by the CLI alone", () => {
  let platform: Platform;
  let repository: Awaited<ReturnType<Platform["git"]["createRepository"]>>;
  let revision: string;

  const env = () => ({
    FLOTILLA_HUB: platform.hub.url,
    FLOTILLA_TOKEN: platform.hub.api.token,
    HOME: platform.folder,
    XDG_CONFIG_HOME: join(platform.folder, "config"),
    XDG_STATE_HOME: join(platform.folder, "xdg"),
  });
  const fleet = async (...args: string[]) => {
    const run = await runService("cli", { args, env: env(), timeoutMs: 90_000 });
    return run;
  };
  const done = async (...args: string[]) => {
    const run = await fleet(...args);
    expect(run.status, run.output).toBe(0);
    return run.stdout;
  };

  beforeAll(async () => {
    platform = await startPlatform({ clusters: [{ name: "berlin-1", labels: { env: "prod" } }], hubArgs: ["--allow-local-repositories"] });
    repository = await platform.git.createRepository("cli");
    revision = await repository.commit({ "deploy/settings.yaml": settings("red") }, { message: "Red" });
  });
  afterAll(async () => {
    await expectNoServices();
    await platform.stop();
  });

  it("is created and waited for", async () => {
    expect(await done("create", "web", "--repo", repository.url, "--branch", "main", "--path", "deploy", "--selector", "env=prod", "--poll", "1s")).toBe(
      "fleet web created",
    );
    await done("wait", "web", "--for", `revision=${revision},healthy`, "--timeout", "60s");
    const status = await done("status", "web");
    expect(status).toMatch(new RegExp(`^berlin-1 +Synced +Current +${revision.slice(0, 12)}`, "m"));
    expect(await done("status", "web", "-o", "wide")).toMatch(/^berlin-1 +\S+ +Synced +Current +2\/2/m);
    expect(await done("cluster", "list")).toMatch(/^berlin-1 +Connected +Synced +Current +web/m);
  });

  it("tells its history and the way of a revision", async () => {
    expect(await done("history", "web", "-o", "name")).toBe(revision);
    const trace = await done("trace", revision.slice(0, 8));
    expect(trace).toContain("Red");
    expect(trace).toMatch(/[├└]─ hub/);
    expect(trace).toMatch(/[├└]─ berlin-1/);
    expect(trace).toMatch(/push → healthy: 1 cluster/);
  });

  it("renders what the cluster got", async () => {
    const rendered = await done("render", "web", "--cluster", "berlin-1");
    expect(rendered).toMatch(/^ {2}colour: red$/m);
    expect(rendered).toMatch(/^kind: Namespace$/m);
  });

  it("shows a live edit as drift, and its healing as an event that is followed", async () => {
    const follower = spawnService("cli", { args: ["events", "--follow", "--fleet", "web", "-o", "json"], env: env() });
    try {
      await platform.member("berlin-1").kube.client.mergePatch("/api/v1/namespaces/web/configmaps/settings", { data: { colour: "blue" } });
      await follower.waitForLine(/DriftHealed/);
      const list = await waitFor(
        async () =>
          (await fleet("drift", "list", "--fleet", "web")).stdout.includes("settings") ? (await fleet("drift", "list", "--fleet", "web")).stdout : undefined,
        { what: "the drift's row" },
      );
      expect(list).toMatch(/Healed/);
      const diff = await done("drift", "show", "settings");
      expect(diff).toContain("@@ /data/colour @@");
      expect(diff).toContain('- "red"');
      expect(diff).toContain('+ "blue"');
      follower.signal("SIGINT");
      expect(await follower.exited).toBe(0);
    } finally {
      if (follower.running) await follower.kill9();
    }
  });

  it("takes a push, and a doctor finds nothing wrong", async () => {
    const next = await repository.commit({ "deploy/settings.yaml": settings("green") }, { message: "Green" });
    await done("sync", "web");
    await done("wait", "web", "--for", `revision=${next}`, "--timeout", "60s");
    expect((await platform.member("berlin-1").kube.client.get("/api/v1/namespaces/web/configmaps/settings")).data.colour).toBe("green");
    expect(await done("doctor")).not.toContain("BAD");
  });

  it("says at once when a revision does not render, and keeps the last good one", async () => {
    const bad = await repository.commit({ "deploy/settings.yaml": "apiVersion: v1\nkind: [\n" }, { message: "Broken" });
    const { status, output } = await fleet("wait", "web", "--for", `revision=${bad}`, "--timeout", "60s");
    expect(status, output).toBe(1);
    expect(output).toMatch(/deploy\/settings\.yaml:\d+:\d+: error: /);
    expect(await done("status", "web")).toMatch(/^berlin-1 +Synced/m);
  });

  it("is deleted, and the cluster removed, only when told twice", async () => {
    expect((await fleet("delete", "web")).status).toBe(2);
    await done("delete", "web", "--yes");
    await waitFor(async () => (await fleet("show", "web")).status === 1, { what: "the fleet's end" });
    expect(await platform.member("berlin-1").kube.client.find("/api/v1/namespaces/web/configmaps/settings")).toBeDefined();
    await done("cluster", "remove", "berlin-1", "--yes");
    expect((await fleet("cluster", "show", "berlin-1")).status).toBe(1);
  });
});
