import { describe, expect, it } from "vitest";
import { parseLabelSelector } from "./parse-label-selector.ts";

describe("parseLabelSelector", () => {
  it("reads what kubectl reads", () => {
    expect(parseLabelSelector("env=prod, region in (eu, us),tier!=edge,!old,example.com/key,zone notin (a),x==")).toEqual({
      ok: true,
      expressions: [
        { key: "env", operator: "In", values: ["prod"] },
        { key: "region", operator: "In", values: ["eu", "us"] },
        { key: "tier", operator: "NotIn", values: ["edge"] },
        { key: "old", operator: "DoesNotExist" },
        { key: "example.com/key", operator: "Exists" },
        { key: "zone", operator: "NotIn", values: ["a"] },
        { key: "x", operator: "In", values: [""] },
      ],
    });
    expect(parseLabelSelector("")).toEqual({ ok: true, expressions: [] });
  });

  it.each(["a b", "=x", "env=a b", "env in a", "a=b=c", "region in (eu"])("says what is wrong with '%s'", (text) => {
    expect(parseLabelSelector(text)).toMatchObject({ ok: false, message: expect.stringContaining("is no label requirement") });
  });
});
