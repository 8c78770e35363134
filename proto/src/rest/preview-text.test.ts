import { describe, expect, it } from "vitest";
import type { Preview, PreviewObject } from "./contract.ts";
import { differs, fullDepth, headlineOf, previewMarkdown, previewRest, shortDepth } from "./preview-text.ts";

const object = (name: string, action: PreviewObject["action"], more: Partial<PreviewObject> = {}): PreviewObject => ({
  object: `apps/Deployment/shop/${name}`,
  bundle: "web",
  action,
  message: "",
  fields: [],
  moreFields: 0,
  ...more,
});
const preview = (more: Partial<Preview>): Preview => ({
  id: "p1",
  fleet: "shop",
  phase: "Done",
  of: "branch next",
  revision: "1234567890abcdef1234567890abcdef12345678",
  current: null,
  createdAt: "2026-11-25T12:00:00Z",
  endedAt: "2026-11-25T12:00:09Z",
  mark: "",
  problems: [],
  warnings: [],
  clusters: { total: 0, asked: 0, answered: 0 },
  groups: [],
  same: [],
  unknown: [],
  joining: [],
  leaving: [],
  waves: [],
  lastRolloutMs: null,
  ...more,
});
const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `c-${index}`);
const group = (clusters: readonly string[], objects: readonly PreviewObject[]) => ({
  clusters: [...clusters],
  objects: [...objects],
  leftOut: 0,
  unchanged: 0,
});

describe("a preview in a line", () => {
  it("tells the largest group, how many differ, and what would be refused first", () => {
    const groups = [
      group(names(212), [object("a", "create"), object("b", "create"), object("c", "configure")]),
      group(["d-1", "d-2", "d-3"], [object("a", "create")]),
      group(["e-1"], [object("a", "refuse", { message: "denied by policy 'quota'" })]),
    ];
    expect(headlineOf(preview({ groups, same: ["f"], unknown: [{ clusters: ["g", "h"], reason: "away" }] }))).toBe(
      "2 created, 1 configured on 212 clusters; 4 clusters in 2 other ways; not everything would be applied on 1 cluster: Deployment.apps/shop/a: denied by policy 'quota'; 1 cluster unchanged; 2 clusters unknown",
    );
  });

  it("says that nothing would change, and who would come and go", () => {
    expect(headlineOf(preview({ same: ["a"] }))).toBe("nothing would change where clusters have answered; 1 cluster unchanged");
    const moving = preview({ joining: ["a", "b"], leaving: ["c"] });
    expect(headlineOf(moving)).toContain("2 clusters would join; 1 cluster would leave");
    expect([differs(moving), differs(preview({ same: ["a"] })), differs(preview({ unknown: [{ clusters: ["a"], reason: "" }] }))]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it("cuts a long refusal", () => {
    const groups = [group(["a"], [object("a", "refuse", { message: "x".repeat(1_000) })])];
    expect(headlineOf(preview({ groups })).length).toBeLessThan(400);
  });
});

describe("what follows the groups", () => {
  it("tells waves that it concerns, what they wait for, and how long the last rollout took", () => {
    const waves = [
      { name: "canary", clusters: 2, waits: ["healthy", "soak 60 s"] },
      { name: "none", clusters: 0, waits: ["healthy"] },
      { name: "rest", clusters: 1, waits: [] },
    ];
    expect(previewRest(preview({ waves, lastRolloutMs: 125_000 }), shortDepth)).toEqual([
      "",
      "waves: canary (2 clusters; then healthy, soak 60 s) → rest (1 cluster); the last rollout took 2m 05s",
    ]);
  });

  it("names a few clusters, or all of them", () => {
    const given = preview({ unknown: [{ clusters: names(5), reason: "it is away" }] });
    expect(previewRest(given, shortDepth)).toEqual(["", "unknown on 5 clusters: it is away (c-0, c-1, c-2 and 2 more)"]);
    expect(previewRest(given, fullDepth)[1]).toContain("c-4");
  });
});

describe("a preview as a comment", () => {
  it("shows fields in a table, and how many are not shown", () => {
    const fields = Array.from({ length: 7 }, (_, index) => ({ path: `/spec/${index}`, before: "1", after: "" }));
    const lines = previewMarkdown(preview({ groups: [group(["a"], [object("a", "configure", { fields, moreFields: 3 })])] }), shortDepth);
    const row = lines.find((line) => line.startsWith("| ~"));
    expect(row).toMatch(/^\| ~ \| `Deployment\.apps\/shop\/a` \| configure<br>`\/spec\/0` `1` → `\(none\)`<br>.*<br>5 more \|$/);
  });

  it("lets text of clusters and of Git make no markup, mention nobody and leave its cell", () => {
    const message = "`</details>` <img src=x> @all | two\nlines \u001B[2J";
    const groups = [group(["a"], [object("a", "refuse", { message })])];
    const text = previewMarkdown(preview({ groups, warnings: [{ code: "x", message }] }), fullDepth);
    const [row = ""] = text.filter((line) => line.startsWith("| !"));
    // Inside backticks, on one line, with its bars escaped.
    expect(row).toBe("| ! | `Deployment.apps/shop/a` | refuse<br>`'</details>' <img src=x> @all \\| two lines \\x1b[2J` |");
    const prose = text.filter((line) => !line.startsWith("|")).join("\n");
    expect(prose).not.toContain("<img");
    expect(prose).not.toContain("@all");
    expect(prose.match(/<\/details>/g)).toHaveLength(1);
  });
});
