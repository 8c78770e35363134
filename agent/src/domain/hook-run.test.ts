import { describe, expect, it } from "vitest";
import { noHealthChecks } from "./health-checks.ts";
import { assessHook, endOfRun, type HookRun, type HookSight } from "./hook-run.ts";
import { current, failed, inProgress, type HealthInput, type Verdict } from "./verdict.ts";

const run: HookRun = { bundle: "app", key: "batch/Job/default/a", phase: "pre", token: "t", state: "started", uid: "u", startedAt: 1_000, message: "" };
const seen = (verdict: Verdict): HookSight => ({ state: "present", uid: "u", verdict });
const job = (status: Record<string, unknown>, spec: Record<string, unknown> = {}): HealthInput => ({
  apiVersion: "batch/v1",
  kind: "Job",
  spec: { ...spec },
  status: { ...status },
});
const condition = (type: string) => ({ conditions: [{ type, status: "True", reason: "Why", message: "because" }] });
const word = (object: HealthInput) => assessHook(object, noHealthChecks).health;

describe("a hook", () => {
  it("that is a Job ends when it is Complete or Failed; that it runs is no end", () => {
    expect(word(job({ startTime: "2026-01-01T00:00:00Z", active: 1 }))).toBe("InProgress");
    expect(word(job(condition("Complete")))).toBe("Current");
    expect(word(job(condition("Failed")))).toBe("Failed");
    expect(word(job({}, { suspend: true }))).toBe("InProgress");
  });

  it("that is a Pod ends when it has ended; that it is ready is no end", () => {
    const pod = (phase: string) => ({ apiVersion: "v1", kind: "Pod", status: { phase, conditions: [{ type: "Ready", status: "True" }] } });
    expect(["Running", "Succeeded", "Failed"].map((phase) => word(pod(phase)))).toEqual(["InProgress", "Current", "Failed"]);
  });

  it("of any other kind ends as its health says", () => {
    expect(word({ apiVersion: "v1", kind: "ConfigMap" })).toBe("Current");
  });

  it("succeeds, fails, or goes on", () => {
    expect(endOfRun(run, seen(current), 2_000, 10_000)).toMatchObject({ state: "succeeded" });
    expect(endOfRun(run, seen(failed("broken")), 2_000, 10_000)).toMatchObject({ state: "failed", message: "broken" });
    expect(endOfRun(run, seen(inProgress("busy")), 2_000, 10_000)).toBeUndefined();
    expect(endOfRun({ ...run, state: "failed" }, seen(current), 2_000, 10_000)).toBeUndefined();
  });

  it("fails over its deadline, and when it is gone before its end was seen; not while nobody knows", () => {
    expect(endOfRun(run, seen(inProgress("busy")), 11_000, 10_000)).toMatchObject({ state: "failed", message: "no end after 10 s: busy" });
    expect(endOfRun(run, { state: "absent" }, 2_000, 10_000)).toMatchObject({ state: "failed", message: "it was deleted before it ended" });
    expect(endOfRun({ ...run, uid: "" }, { state: "absent" }, 2_000, 10_000)).toBeUndefined();
    expect(endOfRun(run, { state: "unseen" }, 2_000, 10_000)).toBeUndefined();
  });
});
