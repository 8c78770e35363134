import { afterAll, beforeAll, expect, it } from "vitest";
import { fleetCli } from "../../harness/fleet-cli.ts";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitFor } from "../../harness/wait-for.ts";

const settings = (colour: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: default }\ndata: { colour: ${colour} }\n`;

await describeWith([...kubeTools, "nats-server"], "what people stop and let go, by the CLI", () => {
  let platform: Platform;
  let repository: Awaited<ReturnType<Platform["git"]["createRepository"]>>;
  const cli = fleetCli(() => platform);
  const fleet = async (...args: string[]) => {
    const run = await cli(...args);
    expect(run.status, run.output).toBe(0);
    return run.stdout;
  };
  const colour = async () =>
    (await platform.member("berlin-1").kube.client.find("/api/v1/namespaces/default/configmaps/settings"))?.data.colour as string | undefined;

  beforeAll(async () => {
    platform = await startPlatform({ clusters: [{ name: "berlin-1" }], hubArgs: ["--allow-local-repositories"] });
    repository = await platform.git.createRepository("people");
    await repository.commit({ "deploy/settings.yaml": settings("red") }, { message: "Red" });
    await fleet(
      "create",
      "web",
      "--repo",
      repository.url,
      "--branch",
      "main",
      "--path",
      "deploy",
      "--selector",
      "flotilla.dev/cluster=berlin-1",
      "--poll",
      "1s",
    );
    await waitFor(async () => (await colour()) === "red", { what: "the first revision", timeoutMs: 60_000 });
  });
  afterAll(() => platform.stop());

  it("a suspended fleet stays as it is over a commit, is shown with who and why, and catches up when it is resumed", async () => {
    expect(await fleet("suspend", "web", "--reason", "a migration")).toBe("fleet web suspended");
    const revision = await repository.commit({ "deploy/settings.yaml": settings("blue") }, { message: "Blue" });
    await waitFor(async () => (await fleet("status", "web")).includes("suspended by"), { what: "the status", timeoutMs: 20_000, everyMs: 500 });
    const told = () => platform.hub.api.targets("web").then(([row]) => row);
    await waitFor(async () => (await told())?.running?.revision === revision && /suspended by .*: a migration/.test((await told())?.message ?? ""), {
      what: "the agent tells why it does not apply the commit",
      timeoutMs: 30_000,
    });
    await platform.hub.kill9();
    await platform.hub.restart();
    await waitFor(async () => (await told())?.suspended?.reason === "a migration", { what: "it is suspended after the hub's restart", timeoutMs: 30_000 });
    expect(await colour()).toBe("red");
    expect(await fleet("suspensions")).toMatch(/^web +all +all .* a migration$/m);
    expect(await fleet("audit", "list", "--fleet", "web")).toMatch(/suspend/);
    expect(await fleet("resume", "web")).toBe("fleet web resumed");
    await waitFor(async () => (await colour()) === "blue", { what: "the commit", timeoutMs: 30_000 });
    await fleet("wait", "web", "--for", `revision=${revision},healthy`, "--timeout", "30s");
  });

  it("a closed window holds a commit back; an override with a reason lets it in, is in the audit log, and ends before its time", async () => {
    const closed = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: web }
spec:
  clusters: { matchLabels: { flotilla.dev/cluster: berlin-1 } }
  syncWindows: { deny: [{ from: "2020-01-01T00:00", to: "2090-01-01T00:00" }] }
  bundles: [{ name: web, path: app }]
`;
    const revision = await repository.commit(
      { "deploy/fleet.yaml": closed, "deploy/settings.yaml": null, "deploy/app/settings.yaml": settings("green") },
      { message: "Green, and closed" },
    );
    const told = () => platform.hub.api.targets("web").then(([row]) => row);
    await waitFor(async () => (await told())?.running?.revision === revision && /waits for its sync window until 2090/.test((await told())?.message ?? ""), {
      what: "the agent tells that its window is closed",
      timeoutMs: 30_000,
    });
    expect(await colour()).toBe("blue");
    expect(await fleet("window", "override", "web", "--for", "1h", "--reason", "an outage")).toMatch(/^sync windows of fleet web are open until /);
    await waitFor(async () => (await colour()) === "green", { what: "the commit", timeoutMs: 30_000 });
    expect(await fleet("audit", "list", "--fleet", "web")).toMatch(/window.*an outage/);
    await fleet("window", "restore", "web");
    const next = await repository.commit({ "deploy/app/settings.yaml": settings("black") }, { message: "Black" });
    await waitFor(async () => (await told())?.running?.revision === next && /waits for its sync window/.test((await told())?.message ?? ""), {
      what: "closed again",
      timeoutMs: 30_000,
    });
    expect(await colour()).toBe("green");
  });
});
