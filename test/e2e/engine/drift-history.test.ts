import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { DriftRow } from "@flotilla/proto/rest/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Platform, startPlatform } from "../../harness/platform.ts";
import { expectNoServices, runService } from "../../harness/spawn-service.ts";
import { describeWith, kubeTools } from "../../harness/tools.ts";
import { waitForValue } from "../../harness/wait-for.ts";

const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: { matchLabels: { env: prod } }
  bundles:
    - { name: app, drift: { mode: report } }
    - { name: kept, path: kept/prod, drift: { mode: report } }
    - { name: healed }
    - { name: careful, drift: { mode: heal-unless-drifted } }
`;
const configMap = (name: string, data: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata:\n${data}`;
const files = {
  "deploy/fleet.yaml": fleetFile,
  "deploy/app/settings.yaml": configMap("settings", '  # asked for by marketing\n  colour: "red" # the brand\n  size: big\n'),
  "deploy/app/login.yaml": "apiVersion: v1\nkind: Secret\nmetadata: { name: login, namespace: default }\nstringData: { password: hunter2 }\n",
  "deploy/kept/base/kustomization.yaml": "resources: [limits.yaml]\n",
  "deploy/kept/base/limits.yaml": configMap("limits", "  most: ten\n"),
  "deploy/kept/prod/kustomization.yaml": "resources: [../base] # ours\n",
  "deploy/careful/tuned.yaml": configMap("tuned", "  size: one\n  other: as-it-was\n"),
  "deploy/healed/fixed.yaml": configMap("fixed", "  a: one\n"),
};

await describeWith([...kubeTools, "nats-server", "kustomize"], "the history of drift", () => {
  let platform: Platform;
  let clone: string;
  let url: string;

  const env = () => ({
    FLOTILLA_HUB: platform.hub.url,
    FLOTILLA_TOKEN: platform.hub.api.token,
    HOME: platform.folder,
    XDG_CONFIG_HOME: join(platform.folder, "config"),
    XDG_STATE_HOME: join(platform.folder, "xdg"),
    // Where the tools are built already.
    XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  });
  const fleet = (...args: string[]) => runService("cli", { args, env: env(), timeoutMs: 60_000 });
  const done = async (...args: string[]) => {
    const run = await fleet(...args);
    expect(run.status, run.output).toBe(0);
    return run.stdout;
  };
  const git = async (...args: string[]) =>
    (await promisify(execFile)("git", ["-C", clone, "-c", "user.name=Ann", "-c", "user.email=ann@example.com", ...args])).stdout.trim();
  const kube = () => platform.member("berlin-1").kube.client;
  const path = (kind: string, name: string) => `/api/v1/namespaces/default/${kind}/${name}`;
  const edit = (name: string, data: object, manager = "kubectl-edit") => kube().mergePatch(`${path("configmaps", name)}?fieldManager=${manager}`, { data });
  /** The object's newest episode, once it is as wanted. */
  const episode = (name: string, wanted: (row: DriftRow) => boolean) =>
    waitForValue(
      async () => (await platform.hub.api.request<{ items: DriftRow[] }>("GET", `/api/v1/drift?fleet=shop&object=/default/${name}`)).items[0],
      (row) => row !== undefined && wanted(row),
      { what: `the drift of ${name}`, timeoutMs: 20_000 },
    ) as Promise<DriftRow>;
  /** Pushes a branch as the main one, and waits for the hub to take it and for the agent to have applied it. */
  const merge = async (branch: string) => {
    await git("merge", "-q", "--ff-only", branch);
    await git("push", "-q", "origin", "HEAD:main");
    await platform.converged("shop", await git("rev-parse", "HEAD"));
  };

  beforeAll(async () => {
    platform = await startPlatform({ clusters: [{ name: "berlin-1", labels: { env: "prod" } }], hubArgs: ["--allow-local-repositories"] });
    const repository = await platform.git.createRepository("shop");
    url = repository.url;
    const revision = await repository.commit(files, { message: "The shop" });
    await done("create", "shop", "--repo", url, "--branch", "main", "--path", "deploy", "--poll", "1s");
    await platform.converged("shop", revision);
    clone = join(platform.folder, "clone");
    await promisify(execFile)("git", ["clone", "-q", repository.folder, clone]);
    await git("config", "user.name", "Ann");
    await git("config", "user.email", "ann@example.com");
  });
  afterAll(async () => {
    await expectNoServices();
    await platform.stop();
  });

  it("tells who changed which field how and when, and prints it as a diff", async () => {
    const before = Math.floor(Date.now() / 1_000) * 1_000;
    await edit("settings", { colour: "blue" });
    const row = await episode("settings", ({ healedAt }) => healedAt === null);
    expect(row).toMatchObject({
      cluster: "berlin-1",
      bundle: "app",
      object: "/ConfigMap/default/settings",
      times: 1,
      managers: ["kubectl-edit"],
      healedBy: null,
    });
    const [field] = row.fields;
    expect(field).toMatchObject({
      path: "/data/colour",
      desired: '"red"',
      live: '"blue"',
      operation: "Update",
      subresource: "",
      members: ["f:data", "f:colour"],
    });
    expect(Date.parse(field?.changedAt ?? "")).toBeGreaterThanOrEqual(before);
    expect(await done("drift", "list", "--open", "--fleet", "shop")).toMatch(/berlin-1 +shop +ConfigMap default\/settings +Drifted +1 +kubectl-edit +1/);
    const diff = await done("drift", "show", "configmap/default/settings");
    expect(diff).toMatch(/@@ \/data\/colour @@ written by kubectl-edit \(Update\), .*ago\n- "red"\n\+ "blue"/);
  });

  it("accepts it as a commit on a branch of a clone, of which nothing else changes, and ends as accepted when that is merged", async () => {
    const head = await git("rev-parse", "HEAD");
    const diff = await done("drift", "accept", "shop", "settings", "--cluster", "berlin-1", "--path", clone, "--print");
    expect(diff.split("\n").filter((line) => /^[-+] /.test(line))).toEqual(['-  colour: "red" # the brand', '+  colour: "blue" # the brand']);
    const said = await done("drift", "accept", "shop", "settings", "--cluster", "berlin-1", "--path", clone, "--branch", "blue");
    expect(said).toContain(`push -u origin blue`);
    expect([await git("rev-parse", "HEAD"), await git("status", "--porcelain"), await git("rev-parse", "blue^")]).toEqual([head, "", head]);
    expect(await git("show", "blue:deploy/app/settings.yaml")).toContain('  # asked for by marketing\n  colour: "blue" # the brand\n  size: big');
    expect(await git("log", "-1", "--format=%B", "blue")).toContain('/data/colour: "red" -> "blue" (kubectl-edit)');
    expect((await fleet("drift", "accept", "shop", "settings", "--cluster", "berlin-1", "--path", clone, "--branch", "blue")).status).toBe(2);
    await merge("blue");
    expect(await episode("settings", ({ healedAt }) => healedAt !== null)).toMatchObject({ healedBy: "accepted", times: 1 });
    expect((await kube().get(path("configmaps", "settings")))["data"]).toEqual({ colour: "blue", size: "big" });
    expect(await done("drift", "list", "--fleet", "shop")).toContain("Accepted");
    const late = await fleet("drift", "accept", "shop", "settings", "--cluster", "berlin-1", "--path", clone);
    expect(late.status).toBe(1);
    expect(late.output).toContain("is no longer there: it ended");
  });

  it("accepts it as a patch of the kustomization that the cluster gets", async () => {
    await edit("limits", { most: "eleven" });
    await episode("limits", ({ healedAt }) => healedAt === null);
    await done("drift", "accept", "shop", "ConfigMap/default/limits", "--cluster", "berlin-1", "--path", clone, "--branch", "limits");
    expect(await git("diff", "--name-only", "HEAD", "limits")).toBe("deploy/kept/prod/kustomization.yaml");
    await merge("limits");
    expect(await readFile(join(clone, "deploy/kept/prod/kustomization.yaml"), "utf8")).toMatch(/^resources: \[\.\.\/base\] # ours\npatches:\n/);
    expect(await episode("limits", ({ healedAt }) => healedAt !== null)).toMatchObject({ healedBy: "accepted" });
    expect((await kube().get(path("configmaps", "limits")))["data"]).toEqual({ most: "eleven" });
  });

  it("accepts what was changed by hand in a bundle that heals unless it is drifted: it is kept meanwhile, and followed again from then on", async () => {
    await edit("tuned", { size: "two" });
    await episode("tuned", ({ healedAt }) => healedAt === null);
    await done("drift", "accept", "shop", "tuned", "--cluster", "berlin-1", "--path", clone, "--branch", "tuned");
    await merge("tuned");
    expect(await episode("tuned", ({ healedAt }) => healedAt !== null)).toMatchObject({ healedBy: "accepted", times: 1 });
    expect((await kube().get(path("configmaps", "tuned")))["data"]).toEqual({ size: "two", other: "as-it-was" });
    // It is the agent's again: the next revision goes in, and what is deleted is made again.
    const file = join(clone, "deploy/careful/tuned.yaml");
    await writeFile(file, (await readFile(file, "utf8")).replace("size: two", "size: three"));
    await git("commit", "-q", "-a", "-m", "Three");
    await git("push", "-q", "origin", "HEAD:main");
    await platform.converged("shop", await git("rev-parse", "HEAD"));
    expect((await kube().get(path("configmaps", "tuned")))["data"]).toEqual({ size: "three", other: "as-it-was" });
  });

  it("tells how each other drift ended: by itself, by a new revision, by the agent", async () => {
    await edit("settings", { size: "small" });
    await episode("settings", ({ healedAt }) => healedAt === null);
    await edit("settings", { size: "big" }, "someone");
    expect(await episode("settings", ({ healedAt }) => healedAt !== null)).toMatchObject({ healedBy: "itself" });
    await edit("fixed", { a: "two" });
    const healed = await episode("fixed", ({ healedAt }) => healedAt !== null);
    expect(healed).toMatchObject({ healedBy: "agent", fields: [{ path: "/data/a", live: '"two"' }] });
    await edit("limits", { most: "twelve" });
    await episode("limits", ({ healedAt }) => healedAt === null);
    const file = "deploy/kept/base/limits.yaml";
    await git("rm", "-q", "deploy/kept/prod/kustomization.yaml", file, "deploy/kept/base/kustomization.yaml");
    await promisify(execFile)("bash", ["-c", `mkdir -p "$0/deploy/kept/prod" && printf '%s' "$1" > "$0/deploy/kept/prod/limits.yaml"`, clone, configMap("limits", "  most: nine\n")]); // prettier-ignore
    await git("add", "-A");
    await git("commit", "-q", "-m", "Nine");
    await merge("HEAD");
    expect(await episode("limits", ({ healedAt }) => healedAt !== null)).toMatchObject({ healedBy: "target", managers: ["kubectl-edit"] });
    const history = await done("drift", "show", "limits", "--all");
    expect(history).toContain("replaced by a new revision");
  });

  it("never learns nor accepts what a Secret holds, and tells a deletion", async () => {
    await kube().mergePatch(`${path("secrets", "login")}?fieldManager=mallory`, { stringData: { password: "letmein" } });
    const row = await episode("login", ({ healedAt }) => healedAt === null);
    expect(JSON.stringify(row)).not.toMatch(/letmein|bGV0bWVpbg|hunter2/);
    expect(row.fields[0]).toMatchObject({ live: expect.stringMatching(/^"hash:/), members: [] });
    const refused = await fleet("drift", "accept", "shop", "login", "--cluster", "berlin-1", "--path", clone, "--print");
    expect(refused.output).toContain("the hub knows only hashes");
    await kube().delete(path("configmaps", "limits"));
    expect(await episode("limits", ({ healedAt, fields }) => healedAt === null && fields[0]?.path === "")).toMatchObject({ fields: [{ live: "" }] });
  });
});
