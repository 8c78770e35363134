import type { GitChanges } from "../harness/git-server.ts";

/** What the fleet's repository says: ConfigMap by name → value. A name is never used twice. */
export type Contents = ReadonlyMap<string, string>;

/** What another controller writes as often as the agent does. No push but the last changes it: a new revision would be one more reason to apply it. */
export const fought = "fought";

/** In two bundles a cluster's label decides on a value in each object; a push may drop more than half of one. The third has what is fought for, no overlay, and the budget that everybody has. */
const fleetFile = `apiVersion: flotilla.dev/v1
kind: Fleet
metadata: { name: chaos }
spec:
  bundles:
    - name: base
      path: base
      values: { tone: quiet }
      overlays: [{ clusters: { matchLabels: { env: prod } }, values: { tone: loud } }]
      prune: { budget: 60% }
    - name: web
      path: web
      values: { tone: quiet }
      overlays: [{ clusters: { matchLabels: { env: prod } }, values: { tone: loud } }]
      prune: { budget: 60% }
    - name: stock
      path: stock
`;

/** In one bundle an object that no API server takes: a key may not have blanks. It is never there, so that nothing but its own bundle may wait for it. */
const brokenFile = { bundle: "web", path: "deploy/web/broken.yaml" } as const;
const brokenObject = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: broken, namespace: default }\ndata: { "not a key": "1" }\n`;

/** Whether a broken object may keep this one waiting: it is of the same bundle. */
export function isBesideBroken(name: string): boolean {
  return bundleOf(name) === brokenFile.bundle;
}

/** The whole repository, as a commit's changes over whatever was there. */
export function filesOf(contents: Contents, before: Contents = new Map(), hasBroken = false): GitChanges {
  const files: GitChanges = { "deploy/fleet.yaml": fleetFile, [brokenFile.path]: hasBroken ? brokenObject : null };
  for (const name of before.keys()) if (!contents.has(name)) files[pathOf(name)] = null;
  for (const [name, value] of contents) {
    const tone = bundleOf(name) === "stock" ? "" : `, tone: "\${tone}"`;
    files[pathOf(name)] = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}"${tone} }\n`;
  }
  return files;
}

function pathOf(name: string): string {
  return `deploy/${bundleOf(name)}/${name}.yaml`;
}

export function bundleOf(name: string): "base" | "web" | "stock" {
  if (!name.startsWith("c-")) return "stock";
  return name.endsWith("0") || name.endsWith("5") ? "base" : "web";
}

/** What the labels of a cluster decide on. */
export type Tone = "loud" | "quiet";

export function toneOf(labels: Readonly<Record<string, string>>): Tone {
  return labels.env === "prod" ? "loud" : "quiet";
}

/** The tone that an object has in a cluster of that tone. */
export function toneIn(name: string, tone: Tone): Tone | undefined {
  return bundleOf(name) === "stock" ? undefined : tone;
}
