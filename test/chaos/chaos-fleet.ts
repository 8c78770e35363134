import type { GitChanges } from "../harness/git-server.ts";

/** What the fleet's repository says: ConfigMap by name → value. A name is never used twice. */
export type Contents = ReadonlyMap<string, string>;

/** Two bundles; a cluster's label decides on a value in each object. */
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
`;

/** The whole repository, as a commit's changes over whatever was there. */
export function filesOf(contents: Contents, before: Contents = new Map()): GitChanges {
  const files: GitChanges = { "deploy/fleet.yaml": fleetFile };
  for (const name of before.keys()) if (!contents.has(name)) files[pathOf(name)] = null;
  for (const [name, value] of contents) {
    files[pathOf(name)] = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name}, namespace: default }\ndata: { value: "${value}", tone: "\${tone}" }\n`;
  }
  return files;
}

function pathOf(name: string): string {
  return `deploy/${bundleOf(name)}/${name}.yaml`;
}

function bundleOf(name: string): "base" | "web" {
  return name.endsWith("0") || name.endsWith("5") ? "base" : "web";
}

export function toneOf(labels: Readonly<Record<string, string>>): "loud" | "quiet" {
  return labels.env === "prod" ? "loud" : "quiet";
}
