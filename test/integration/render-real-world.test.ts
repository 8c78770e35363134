import { unpackBody } from "@flotilla/proto/body";
import { fleetWithoutFile } from "@flotilla/hub/domain/parse-fleet";
import { describeProblem } from "@flotilla/hub/domain/problem";
import { findTool, tools } from "@flotilla/hub/embedded/tools";
import { renderFleet, type RenderCache } from "@flotilla/hub/render/render-fleet";
import type { RenderedBody } from "@flotilla/hub/render/render-bundle";
import { openRenderTools } from "@flotilla/hub/render/render-tools";
import { openSurveyMemory } from "@flotilla/hub/render/survey-bundle";
import { treeOfFolder } from "@flotilla/hub/render/tree-for-tests";
import { expect, it } from "vitest";
import { describePublished, publishedTrees } from "../harness/published-trees.ts";

async function render(path: string) {
  const bodies: RenderedBody[] = [];
  const cache: RenderCache = { find: async () => new Map(), save: async (_key, body) => void bodies.push(body) };
  const renderTools = openRenderTools({ tool: findTool, versions: { helm: tools.helm.version, kustomize: tools.kustomize.version } });
  const result = await renderFleet({
    tree: treeOfFolder(publishedTrees),
    root: path,
    spec: fleetWithoutFile("real", {}),
    clusters: [{ name: "one", labels: {} }],
    tools: renderTools,
    memory: openSurveyMemory(),
    cache,
    signal: AbortSignal.timeout(60_000),
  });
  const objects = bodies.flatMap((body) => unpackBody(body.digest, body.compressed));
  return {
    problems: result.problems.map(describeProblem),
    warnings: result.warnings,
    objects,
    kinds: (kind: string) => objects.filter((object) => object.kind === kind).length,
  };
}

await describePublished(["kustomize"], "published trees", () => {
  it("kube-prometheus renders whole, with its definitions and dashboards as they are", async () => {
    const { problems, objects, kinds, warnings } = await render("kube-prometheus/manifests");
    expect(problems).toEqual([]);
    expect(objects).toHaveLength(131);
    expect([kinds("CustomResourceDefinition"), kinds("Namespace"), kinds("PrometheusRule"), kinds("ServiceMonitor")]).toEqual([10, 1, 8, 13]);
    expect(JSON.stringify(objects)).toContain("${datasource}");
    expect(warnings.map(({ code }) => code)).toEqual(["plain-secret", "plain-secret", "plain-secret"]);
    expect(objects.filter(({ kind, metadata }) => kind.startsWith("Cluster") && metadata.namespace !== undefined)).toEqual([]);
  });

  it("microservices-demo renders through Kustomize", async () => {
    const { problems, objects, kinds } = await render("microservices-demo/kustomize");
    expect(problems).toEqual([]);
    expect([objects.length, kinds("Deployment"), kinds("Service")]).toEqual([35, 12, 12]);
  });

  it("podinfo renders, plain and through Kustomize", async () => {
    const kustomized = await render("podinfo/kustomize");
    expect(kustomized.problems).toEqual([]);
    expect(kustomized.objects.map(({ kind }) => kind).sort()).toEqual(["Deployment", "HorizontalPodAutoscaler", "Service"]);
    const webapp = await render("podinfo/deploy/webapp");
    expect(webapp.problems).toEqual([]);
    expect(webapp.objects).toHaveLength(11);
  });

  it.each(["dev", "staging", "production"])("podinfo's overlay %s tells the files that this copy lacks, all at once", async (overlay) => {
    const { problems } = await render(`podinfo/deploy/overlays/${overlay}`);
    expect(problems.length).toBeGreaterThan(3);
    for (const problem of problems) expect(problem).toMatch(/^podinfo\/deploy\/bases\/\w+\/kustomization\.yaml:\d+:\d+: there is nothing at '/);
  });
});
