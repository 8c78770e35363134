import { posix } from "node:path";

/** The allowed picture, printed when a test finds an import against it. */
export const allowedPicture = `
            may import
  proto     nothing of ours
  hub       proto
  agent     proto          hub, agent, cli never import one another;
  cli       proto          the CLI starts the others' programs as child processes
  test      all            nothing imports test or deploy

  inside hub:    main ─▶ sync (the stories) ─▶ source render store stream intake api forge embedded (the edges) ─▶ domain
  inside agent:  main ─▶ reconcile (the story) ─▶ link cluster report (the edges) ─▶ domain
                 edges never import one another; domain is pure: it imports proto and itself, and no I/O of Node.
                 limits, config, telemetry and other files beside main are open to all but domain (limits is open to domain too).
`;

interface House {
  stories: readonly string[];
  edges: readonly string[];
}

const houses: Record<string, House> = {
  hub: { stories: ["sync"], edges: ["source", "render", "store", "stream", "intake", "api", "forge", "embedded"] },
  agent: { stories: ["reconcile"], edges: ["link", "cluster", "report"] },
};

/** Node's modules that a pure function may use: they compute, and touch nothing. */
const pureModules = new Set(["node:crypto", "node:zlib", "node:util", "node:path", "node:assert", "node:buffer", "node:url", "node:perf_hooks"]);

/** One import statement: type imports count, a direction is about knowledge and not about bytes. */
export interface Import {
  from: string;
  to: string;
}

/** Every static import, export-from and literal dynamic import of a file's text. */
export function readImports(from: string, text: string): Import[] {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^\s*\/\/.*$/gm, "");
  const found = [
    ...code.matchAll(/^\s*(?:import|export)\b[^"';]*?\bfrom\s+["']([^"']+)["']|^\s*import\s+["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gm),
  ];
  return found.map((match) => ({ from, to: match[1] ?? match[2] ?? match[3] ?? "" }));
}

/** Why an import is against the directions, or undefined. */
export function forbiddenReason({ from, to }: Import): string | undefined {
  const target = resolveTarget(from, to);
  const home = placeOf(from);
  if (target === undefined) return isPurePlace(home) && to.startsWith("node:") && !pureModules.has(to) ? `domain is pure and does not use ${to}` : undefined;
  const there = placeOf(target);
  if (there.workspace === "deploy") return "nothing imports deploy";
  if (home.workspace === "test") return undefined;
  if (there.workspace === "test") return isTestFile(from) ? undefined : "nothing imports test";
  if (there.workspace !== home.workspace) return there.workspace === "proto" ? undefined : `${home.workspace} does not import ${there.workspace}`;
  return forbiddenInside(home, there, isTestFile(from));
}

interface Place {
  workspace: string;
  /** Folder under src; "" for files beside main. */
  room: string;
  file: string;
}

function placeOf(path: string): Place {
  const [workspace = "", src, ...rest] = path.split("/");
  const room = src === "src" && rest.length > 1 ? (rest[0] ?? "") : "";
  return { workspace, room, file: posix.basename(path) };
}

function forbiddenInside(home: Place, there: Place, homeIsTest: boolean): string | undefined {
  const house = houses[home.workspace];
  if (!house || home.room === there.room) return undefined;
  if (there.file === "main.ts" && !homeIsTest) return "nothing imports main";
  if (home.room === "domain") return there.room === "" && there.file === "limits.ts" ? undefined : `domain imports no ${there.room || there.file}`;
  if (there.room === "domain" || there.room === "") return undefined;
  if (house.stories.includes(there.room)) return home.room === "" ? undefined : `${home.room} does not import the stories in ${there.room}`;
  // A test of one edge may set the stage with another.
  if (house.edges.includes(home.room) && house.edges.includes(there.room) && !homeIsTest)
    return `the edges ${home.room} and ${there.room} do not know one another`;
  return undefined;
}

function isPurePlace(place: Place): boolean {
  return place.room === "domain" && houses[place.workspace] !== undefined && !isTestFile(place.file);
}

function isTestFile(file: string): boolean {
  return file.endsWith(".test.ts");
}

/** The repository path an import names, or undefined for a package. */
function resolveTarget(from: string, to: string): string | undefined {
  if (to.startsWith(".")) return posix.normalize(posix.join(posix.dirname(from), to));
  const ours = /^@flotilla\/(\w+)(?:\/(.+))?$/.exec(to);
  if (!ours) return undefined;
  const [, workspace = "", path = "main"] = ours;
  return workspace === "test" ? `test/${path}.ts` : `${workspace}/src/${path}.ts`;
}
