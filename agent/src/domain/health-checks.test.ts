import { describe, expect, it } from "vitest";
import { healthChecksFor, type HealthCheck } from "./health-checks.ts";
import { assessHealth } from "./health.ts";
import type { HealthInput } from "./verdict.ts";

const check = (more: Partial<HealthCheck>): HealthCheck => ({ group: "", kind: "Widget", inProgress: "", failed: "", current: "", ...more });
const widget = (status?: object): HealthInput => ({
  apiVersion: "example.org/v1",
  kind: "Widget",
  metadata: { name: "w", generation: 1, managedFields: [{ manager: "x" }] },
  spec: { replicas: 3 },
  ...(status && { status: status as Record<string, unknown> }),
});
const id = { group: "example.org", kind: "Widget", namespace: "a", name: "w" };
const judge = (checks: readonly HealthCheck[], object: HealthInput) => assessHealth(object, healthChecksFor(checks, id));

describe("a bundle's health checks", () => {
  const whole = [check({ inProgress: "status.phase == 'Working'", failed: "status.phase == 'Broken'", current: "status.ready >= spec.replicas" })];

  it("are asked in the order inProgress, failed, current", () => {
    expect(judge(whole, widget({ phase: "Working", ready: 3 }))).toEqual({ health: "InProgress", message: "health check: status.phase == 'Working'" });
    expect(judge(whole, widget({ phase: "Broken", ready: 3 }))).toEqual({ health: "Failed", message: "health check: status.phase == 'Broken'" });
    expect(judge(whole, widget({ phase: "Up", ready: 3 }))).toEqual({ health: "Current", message: "" });
    expect(judge(whole, widget({ phase: "Up", ready: 2 }))).toEqual({ health: "InProgress", message: "health check: not yet status.ready >= spec.replicas" });
  });

  it("take a field that is not there yet for no, and say which", () => {
    expect(judge(whole, widget())).toMatchObject({ health: "InProgress", message: expect.stringMatching(/not yet .*status/) });
    expect(judge(whole, widget({ ready: 3 }))).toMatchObject({ health: "Current" });
  });

  it("are Unknown, and say why, when they cannot be evaluated", () => {
    expect(judge([check({ current: "status.ready" })], widget({ ready: "yes" }))).toEqual({
      health: "Unknown",
      message: "health check current: gives string, not true or false",
    });
    expect(judge([check({ failed: "status.ready > 'x'" })], widget({ ready: 1 }))).toMatchObject({ health: "Unknown" });
    expect(judge([check({ current: "nosuch.field" })], widget({}))).toMatchObject({ health: "Unknown", message: expect.stringMatching(/nosuch/) });
  });

  it("never quote a value of a Secret-like kind", () => {
    const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, data: { flag: "aHVudGVyMg" } };
    const checks = healthChecksFor([check({ kind: "Secret", current: "bool(data.flag)" })], { ...id, group: "", kind: "Secret" });
    expect(assessHealth(secret, checks)).toEqual({ health: "Unknown", message: "health check current: cannot be evaluated" });
  });

  it("without current leave the rest to the shipped rule", () => {
    const checks = [check({ failed: "status.phase == 'Broken'" })];
    expect(judge(checks, widget({ conditions: [{ type: "Ready", status: "False", reason: "Waits" }] }))).toEqual({
      health: "InProgress",
      message: "Ready=False (Waits)",
    });
    expect(judge(checks, widget({ phase: "Broken" }))).toMatchObject({ health: "Failed" });
  });

  it("win over the shipped rule, also of built-in kinds, but not over deletion or a spec that was not seen", () => {
    const ingress: HealthInput = { apiVersion: "networking.k8s.io/v1", kind: "Ingress", metadata: { generation: 1 }, status: { loadBalancer: {} } };
    const checks = healthChecksFor([check({ kind: "Ingress", current: "true" })], { ...id, group: "networking.k8s.io", kind: "Ingress" });
    expect(assessHealth(ingress)).toMatchObject({ health: "InProgress" });
    expect(assessHealth(ingress, checks)).toMatchObject({ health: "Current" });
    expect(assessHealth({ ...ingress, metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } }, checks)).toMatchObject({ health: "Terminating" });
    expect(assessHealth({ ...ingress, metadata: { generation: 2 }, status: { observedGeneration: 1 } }, checks)).toMatchObject({ health: "InProgress" });
  });

  it("hold for their group and kind, the first that matches", () => {
    const checks = [check({ group: "other.org", current: "false" }), check({ group: "example.org", current: "true" }), check({ current: "false" })];
    expect(judge(checks, widget({}))).toMatchObject({ health: "Current" });
    expect(healthChecksFor(checks, { ...id, kind: "Gadget" }).digest).toBe("");
  });

  it("see the whole object only where they name it", () => {
    expect(judge([check({ current: "object.metadata.name == 'w'" })], widget({}))).toMatchObject({ health: "Current" });
    expect(judge([check({ current: "metadata.name == kind" })], widget({}))).toMatchObject({ health: "InProgress" });
  });
});
