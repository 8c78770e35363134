import { describe, expect, it } from "vitest";
import { judgeSamples } from "./judge-samples.ts";

const below = { operator: "<", value: 0.01 };
const matrix = (...series: readonly (readonly [number, string])[][]) => ({
  status: "success",
  data: { resultType: "matrix", result: series.map((values, i) => ({ metric: { job: `web-${i}` }, values })) },
});

describe("samples of a metric gate", () => {
  it("pass when every one of every series compares so", () => {
    expect(
      judgeSamples(
        matrix(
          [
            [1, "0.001"],
            [16, "0.002"],
          ],
          [[1, "0"]],
        ),
        below,
      ),
    ).toEqual({
      verdict: "passed",
      message: "3 samples are < 0.01, the last is 0",
    });
  });

  it("fail with the first that does not, when, and of which series", () => {
    const answer = matrix(
      [[1, "0"]],
      [
        [1_700_000_000, "0.5"],
        [1_700_000_015, "0"],
      ],
    );
    expect(judgeSamples(answer, below)).toEqual({ verdict: "failed", message: '0.5 is not < 0.01 at 2023-11-14T22:13:20Z of {job="web-1"}' });
  });

  it.each([
    ["<", "1", "failed"],
    ["<=", "1", "passed"],
    [">", "1", "failed"],
    [">=", "1", "passed"],
    ["==", "1", "passed"],
    ["!=", "1", "failed"],
    ["<", "-Inf", "passed"],
    ["<", "+Inf", "failed"],
    ["~", "1", "unknown"],
  ])("compare with %s: %s is %s against 1", (operator, text, verdict) => {
    expect(judgeSamples(matrix([[1, text]]), { operator, value: 1 }).verdict).toBe(verdict);
  });

  it("know nothing without a value, or of what is not a number", () => {
    expect(judgeSamples(matrix(), below)).toEqual({ verdict: "unknown", message: "the query has no value in the window" });
    expect(judgeSamples(matrix([]), below).verdict).toBe("unknown");
    expect(judgeSamples(matrix([[1, "NaN"]]), below)).toMatchObject({ verdict: "unknown", message: expect.stringContaining("is not a number") });
    expect(judgeSamples(matrix([[1, ""]]), below).verdict).toBe("unknown");
  });

  it("say what Prometheus says of a query that it refuses", () => {
    const refused = { status: "error", errorType: "bad_data", error: 'invalid parameter "query": 1:3: parse error' };
    expect(judgeSamples(refused, below)).toEqual({ verdict: "unknown", message: 'Prometheus refuses the query: invalid parameter "query": 1:3: parse error' });
  });

  it.each([
    ["nothing", undefined],
    ["text", "<html>"],
    ["another type", { status: "success", data: { resultType: "vector", result: [] } }],
    ["samples of another shape", { status: "success", data: { resultType: "matrix", result: [{ values: [["1", 2]] }] } }],
    ["a series without samples", { status: "success", data: { resultType: "matrix", result: [null] } }],
  ])("are unknown when the answer is %s", (_, answer) => {
    expect(judgeSamples(answer, below)).toEqual({ verdict: "unknown", message: "the answer is not one of a Prometheus API" });
  });
});
