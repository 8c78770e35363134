import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { highestTag, isOlderTag, isRefName, refuseRef, type GitRef } from "./git-ref.ts";

function gitTakes(name: string): boolean {
  try {
    execFileSync("git", ["check-ref-format", `refs/heads/${name}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

describe("refuseRef", () => {
  it.each<GitRef>([
    { branch: "main" },
    { branch: "feature/a-b.c" },
    { tag: "v1.0.0" },
    { commit: "a".repeat(40) },
    { commit: "b".repeat(64) },
    { semver: "^1.2" },
    { semver: ">=1.0.0 <2.0.0" },
    { semver: "1.x" },
  ])("takes %j", (ref) => {
    expect(refuseRef(ref)).toBeUndefined();
  });

  it.each<GitRef>([
    { branch: "-x" },
    { branch: "--upload-pack=x" },
    { branch: "a..b" },
    { branch: "a b" },
    { branch: "a\nb" },
    { branch: "a:b" },
    { branch: "a^{}" },
    { branch: "refs/heads/*" },
    { branch: ":(attr:x)" },
    { branch: "a.lock" },
    { branch: ".a" },
    { branch: "a/" },
    { branch: "@" },
    { branch: "a@{1}" },
    { branch: "\u202ea" },
    { branch: "x".repeat(300) },
    { tag: "" },
    { commit: "abc1234" },
    { commit: "A".repeat(40) },
    { commit: `-${"a".repeat(39)}` },
    { semver: "latest" },
    { semver: "" },
    { branch: "a", tag: "b" } as unknown as GitRef,
    {} as GitRef,
    { branch: 5 } as unknown as GitRef,
  ])("refuses %j", (ref) => {
    expect(refuseRef(ref)?.code).toBe("bad-ref");
  });

  it("is never looser than git check-ref-format", () => {
    const name = fc.string({ unit: fc.constantFrom("a", "b", ".", "/", "-", "@", "{", "~", "^", ":", "lock", " ", "*", "\\"), maxLength: 8 });
    fc.assert(
      fc.property(name, (text) => {
        if (isRefName(text)) expect(gitTakes(text)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

describe("highestTag", () => {
  it("takes the highest version in the range, with or without v", () => {
    expect(highestTag(["v1.0.0", "1.10.0", "v1.9.0", "2.0.0", "nightly"], "1.x")).toBe("1.10.0");
    expect(highestTag(["v1.0.0"], "^2")).toBeUndefined();
  });

  it("takes prereleases only where the range names one", () => {
    expect(highestTag(["1.0.0", "1.1.0-rc.1"], "^1.0.0")).toBe("1.0.0");
    expect(highestTag(["1.0.0", "1.1.0-rc.1"], ">=1.1.0-rc.0")).toBe("1.1.0-rc.1");
  });

  it("does not depend on the order of tags", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(["v1.0.0", "1.0.0", "1.0.0+a", "1.0.0+b", "0.9.0"], { minLength: 5 }), (tags) => {
        expect(highestTag(tags, "*")).toBe("v1.0.0");
      }),
    );
  });

  it("knows what goes back", () => {
    expect(isOlderTag("v1.0.0", "1.0.1")).toBe(true);
    expect(isOlderTag("1.0.1", "v1.0.0")).toBe(false);
  });
});
