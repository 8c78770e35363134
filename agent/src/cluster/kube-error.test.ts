import { describe, expect, it } from "vitest";
import { errorOfAnswer, KubeError, retryClassOf, tellError } from "./kube-error.ts";

const status = (code: number, more: object) => errorOfAnswer(code, Buffer.from(JSON.stringify({ kind: "Status", ...more })), undefined);

describe("an error of the API server", () => {
  it("keeps the server's own words, and makes do with text that is not a Status", () => {
    expect(status(403, { message: "forbidden: no", reason: "Forbidden" })).toMatchObject({ status: 403, reason: "Forbidden", message: "forbidden: no" });
    expect(errorOfAnswer(502, Buffer.from("<html>bad gateway"), "3")).toMatchObject({ status: 502, retryAfterMs: 3_000 });
  });

  it("is tried again soon when it passes by itself, patiently when somebody must act", () => {
    expect(retryClassOf(new KubeError("no-match", "no matches for kind"))).toBe("soon");
    expect(retryClassOf(status(500, { message: 'failed calling webhook "x": connection refused' }))).toBe("soon");
    expect(retryClassOf(status(404, { message: 'namespaces "a" not found' }))).toBe("soon");
    expect(retryClassOf(status(422, { message: "invalid" }))).toBe("patient");
    expect(retryClassOf(status(403, { message: "forbidden" }))).toBe("patient");
    expect(retryClassOf(new Error("anything"))).toBe("patient");
  });

  it("about a Secret names reason and fields, and never quotes values", () => {
    const error = status(422, {
      reason: "Invalid",
      message: 'Secret "s" is invalid: data[x]: Invalid value: "hunter2"',
      details: { causes: [{ field: "data[x]", message: 'Invalid value: "hunter2"' }] },
    });
    expect(tellError(error, "Secret")).toMatch(/Invalid at data\[x\]/);
    expect(tellError(error, "SealedSecret")).not.toContain("hunter2");
    expect(tellError(error, "ConfigMap")).toContain("hunter2");
    expect(tellError(status(400, { message: 'admission webhook "w.example" denied the request: password hunter2 is weak' }), "Secret")).toMatch(
      /by admission webhook w\.example/,
    );
  });

  it("about a Secret says what RBAC refuses, which holds names only", () => {
    const refusal = 'secrets "s" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "secrets" in API group "" in the namespace "default"';
    expect(tellError(status(403, { message: refusal, reason: "Forbidden" }), "Secret")).toBe(
      `${refusal}; grant { apiGroups: [""], resources: ["secrets"], verbs: ["patch"] } in a Role of namespace default to ServiceAccount a/b`,
    );
    const admission = `${refusal}: the password hunter2 is weak`;
    expect(tellError(status(403, { message: admission, reason: "Forbidden" }), "Secret")).not.toContain("hunter2");
  });

  it("is one line of bounded length", () => {
    const told = tellError(new Error(`a\nb\u001b[31m${"x".repeat(2_000)}`), "ConfigMap");
    expect(told.length).toBeLessThanOrEqual(512);
    expect(told).toMatch(/^a b \[31m/);
  });
});
