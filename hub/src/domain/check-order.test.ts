import { describe, expect, it } from "vitest";
import { parseFleet } from "./parse-fleet.ts";
import { describeProblem } from "./problem.ts";

const fleet = (bundle: string, spec = "") => `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: shop }
spec:
  clusters: {}
${spec}  bundles:
    - { name: db }
    - name: app
${bundle}
`;
const problemsOf = (text: string) => {
  const parsed = parseFleet(text);
  return parsed.ok ? [] : parsed.problems.map((problem) => describeProblem(problem));
};
const policyOf = (text: string) => {
  const parsed = parseFleet(text);
  if (!parsed.ok) throw new Error(parsed.problems.map((problem) => describeProblem(problem)).join("\n"));
  return { dependsOn: parsed.spec.bundles[1]?.dependsOn, ...parsed.spec.bundles[1]?.policy };
};

describe("order in fleet.yaml", () => {
  it("reads dependencies by name, and with what ready means", () => {
    const text = fleet(
      `      dependsOn: [{ bundle: db, ready: "bundle.healthy == bundle.objects && objects['Deployment/db/main'].status.readyReplicas > 0" }]`,
    );
    expect(policyOf(text)).toMatchObject({ dependsOn: ["db"], readiness: [{ bundle: "db", expression: expect.stringContaining("readyReplicas") as string }] });
    expect(policyOf(fleet("      dependsOn: [db]"))).toMatchObject({ dependsOn: ["db"] });
    expect(policyOf(fleet("      dependsOn: [db]"))).not.toHaveProperty("readiness");
  });

  it("reads one deadline for every phase, or one for each", () => {
    expect(policyOf(fleet("      deadline: 90s")).deadlinesMs).toEqual({ definitions: 90_000, hook: 90_000, stage: 90_000, dependsOn: 90_000, apply: 90_000 });
    expect(policyOf(fleet("      deadline: { hook: 30m, stage: 1h }")).deadlinesMs).toEqual({ hook: 1_800_000, stage: 3_600_000 });
  });

  it("reads sync windows of the fleet and of the bundle: both count", () => {
    const text = fleet(
      "      syncWindows: { allow: [{ schedule: 0 22 * * *, duration: 6h }], heal: true }",
      '  syncWindows: { timeZone: Europe/Berlin, whenClosed: stop, deny: [{ from: "2026-12-20T00:00", to: "2027-01-02T08:00" }] }\n',
    );
    expect(policyOf(text).syncWindows).toEqual([
      { allow: [], deny: [{ timeZone: "Europe/Berlin", from: "2026-12-20T00:00", to: "2027-01-02T08:00" }], whenClosed: "stop", heal: false },
      { allow: [{ timeZone: "UTC", schedule: "0 22 * * *", durationMs: 21_600_000 }], deny: [], whenClosed: "finish", heal: true },
    ]);
  });

  it.each([
    [`      dependsOn: [{ bundle: db, ready: "bundle.helthy == 1" }]`, /fleet.yaml:9:\d+.*ready: No such key: helthy, at column 8 of the expression/],
    [`      dependsOn: [{ bundle: db, ready: "1 +" }]`, /fleet.yaml:9:\d+.*Unexpected token/],
    [`      dependsOn: [{ bundle: db, ready: "bundle.objects" }]`, /must give true or false/],
    ["      dependsOn: [{ bundle: bd }]", /bundle 'bd' is not in this fleet.*'db'/],
    ["      dependsOn: [{ bundle: app }]", /depends on itself/],
    ["      dependsOn: [{ bundel: db }]", /fleet.yaml:9/],
    ["      deadline: soon", /fleet.yaml:9.*deadline/],
    ["      deadline: { hook: 900h }", /longer than a week/],
    ["      syncWindows: {}", /without a window close nothing/],
    [`      syncWindows: { timeZone: Berlin, deny: [{ schedule: "0 1 * * *", duration: 1h }] }`, /'Berlin' is not a time zone/],
    [`      syncWindows: { deny: [{ schedule: "0 25 * * *", duration: 1h }] }`, /'25' is not a hour/],
    [`      syncWindows: { deny: [{ schedule: "0 1 31 2 *", duration: 1h }] }`, /never comes/],
    [`      syncWindows: { deny: [{ schedule: "0 1 * * *" }] }`, /has no duration/],
    [`      syncWindows: { deny: [{ schedule: "0 1 * * *", duration: 900h }] }`, /longer than 31 days/],
    [`      syncWindows: { deny: [{ schedule: "0 1 * * *", duration: 1h, from: "2026-01-01T00:00" }] }`, /a schedule and a duration, or from and to/],
    [`      syncWindows: { deny: [{ from: "2026-02-30T00:00", to: "2026-03-01T00:00" }] }`, /from is not a local time/],
    [`      syncWindows: { deny: [{ from: "2026-03-02T00:00", to: "2026-03-01T00:00" }] }`, /ends .* before it begins/],
  ])("%s is refused", (bundle, message) => {
    expect(problemsOf(fleet(bundle)).join("\n")).toMatch(message);
  });
});
