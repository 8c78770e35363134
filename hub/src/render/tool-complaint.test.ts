import { describe, expect, it } from "vitest";
import { cleanComplaint } from "./tool-complaint.ts";

const clean = (text: string, values = {}) => cleanComplaint(text, { scrub: (said) => said.replaceAll("/tmp/x/", ""), values });
const secret = "canary-hunter2";

describe("cleanComplaint", () => {
  it("keeps what a person needs", () => {
    expect(clean("Error: accumulating resources from 'apps/storefront/overlays/production/patches': no such file at /tmp/x/apps/a.yaml\n")).toBe(
      "accumulating resources from 'apps/storefront/overlays/production/patches': no such file at apps/a.yaml",
    );
  });

  it.each([
    ["a patch", `Error: unable to parse SM or JSON patch from [- op: add\n  value: ${secret}\n]`],
    ["a quoted document", `Error: cannot parse "a: b\\npassword: ${secret}\\n"`],
    ["a node", `Error: wrong node kind: expected MappingNode but got ScalarNode: node contents:\n${secret}\n`],
    ["a scalar", `Error: cannot unmarshal !!str \`${secret}\` into int`],
    ["a Go map", `Error: got map[password:${secret} user:x]`],
    ["base64", `Error: illegal data ${Buffer.from(`${secret}${secret}${secret}`).toString("base64")}`],
  ])("hides %s that the tool repeats", (_name, text) => {
    const shown = clean(text);
    expect(shown).not.toContain(secret);
    expect(shown).not.toContain(Buffer.from(secret).toString("base64").slice(0, 12));
    expect(shown.length).toBeGreaterThan(3);
  });

  it("hides values whose name says that they are secret, also encoded", () => {
    const values = { db: { password: secret, host: "db.example.com" }, apiKey: "abcd1234", list: [{ token: ["zzzz9999"] }] };
    expect(clean(`Error: ${secret} ${Buffer.from(secret).toString("base64")} abcd1234 zzzz9999 db.example.com`, values)).toBe("… … … … db.example.com");
  });

  it("is short", () => {
    expect(clean("word ".repeat(1_000)).length).toBeLessThan(700);
  });
});
