import { cleanText, durationOf } from "../plain-words.ts";
import type { Preview, PreviewAction, PreviewObject } from "./contract.ts";

const words: Readonly<Record<PreviewAction, { readonly sign: string; readonly counted: string }>> = {
  create: { sign: "+", counted: "created" },
  configure: { sign: "~", counted: "configured" },
  recreate: { sign: "±", counted: "deleted and made again" },
  prune: { sign: "-", counted: "pruned" },
  "hold-prune": { sign: "?", counted: "prunes that wait" },
  "let-go": { sign: "=", counted: "let go" },
  refuse: { sign: "!", counted: "refused" },
  conflict: { sign: "!", counted: "left to somebody else" },
  keep: { sign: "=", counted: "kept as changed by hand" },
  "run-hook": { sign: ">", counted: "hooks that run" },
};

/** How much of a preview is shown. */
export interface PreviewDepth {
  /** Objects of a group, fields of an object, names of clusters. */
  readonly objects: number;
  readonly fields: number;
  readonly clusters: number;
}

export const shortDepth: PreviewDepth = { objects: 15, fields: 5, clusters: 3 };
export const fullDepth: PreviewDepth = { objects: Infinity, fields: Infinity, clusters: Infinity };

/** Whether a change would do anything, as far as is known. */
export function differs({ groups, joining, leaving }: Preview): boolean {
  return groups.length + joining.length + leaving.length > 0;
}

/** One line: "created 2, configured 3 on 212 clusters; 4 clusters differ; 1 unknown". */
export function headlineOf(preview: Preview): string {
  const { groups, same, unknown, joining, leaving } = preview;
  const [first, ...others] = groups;
  const count = (lists: readonly { readonly clusters: readonly string[] }[]): number => lists.reduce((sum, { clusters }) => sum + clusters.length, 0);
  const refusals = groups.filter(({ objects }) => objects.some(isRefused));
  const parts = [
    first ? `${previewTally(first.objects, first.leftOut)} on ${countClusters(first.clusters.length)}` : "nothing would change where clusters have answered",
    others.length > 0 ? `${countClusters(count(others))} in ${others.length} other way${others.length === 1 ? "" : "s"}` : "",
    refusals.length > 0 ? `not everything would be applied on ${countClusters(count(refusals))}${firstRefusal(refusals)}` : "",
    joining.length > 0 ? `${countClusters(joining.length)} would join` : "",
    leaving.length > 0 ? `${countClusters(leaving.length)} would leave` : "",
    same.length > 0 ? `${countClusters(same.length)} unchanged` : "",
    count(unknown) > 0 ? `${countClusters(count(unknown))} unknown` : "",
  ];
  return parts.filter((part) => part !== "").join("; ");
}

const isRefused = ({ action }: PreviewObject): boolean => action === "refuse" || action === "conflict";

const refusalShownChars = 200;

function firstRefusal(groups: Preview["groups"]): string {
  const found = groups.flatMap(({ objects }) => objects).find(isRefused);
  if (!found) return "";
  const why = cleanText(found.message).replaceAll("\n", " ");
  return `: ${nameOf(found)}: ${why.slice(0, refusalShownChars)}${why.length > refusalShownChars ? "…" : ""}`;
}

/** What is said after the groups: who comes and goes, what is unknown, what keeps its state, what waves would do. "" parts it from them. */
export function previewRest({ unknown, joining, leaving, waves, lastRolloutMs, warnings, problems }: Preview, depth: PreviewDepth): string[] {
  const concerned = waves.filter(({ clusters }) => clusters > 0);
  const steps = concerned.map(({ name, clusters, waits }) => `${name} (${countClusters(clusters)}${waits.length === 0 ? "" : `; then ${waits.join(", ")}`})`);
  const took = lastRolloutMs === null ? "" : `; the last rollout took ${durationOf(lastRolloutMs)}`;
  const lines = [
    ...(joining.length > 0 ? [`would join: ${someNames(joining, depth.clusters)}`] : []),
    ...(leaving.length > 0 ? [`would leave: ${someNames(leaving, depth.clusters)}`] : []),
    ...unknown.map(({ clusters, reason }) => `unknown on ${countClusters(clusters.length)}: ${cleanText(reason)} (${someNames(clusters, depth.clusters)})`),
    ...problems.map(({ message }) => `kept as they are: ${cleanText(message)}`),
    ...warnings.map(({ message }) => `warning: ${cleanText(message)}`),
    ...(steps.length > 0 ? [`waves: ${steps.join(" → ")}${took}`] : []),
  ];
  return lines.length === 0 ? [] : ["", ...lines];
}

/** For a comment on a change, in GitHub's Markdown. */
export function previewMarkdown(preview: Preview, depth: PreviewDepth): string[] {
  return [
    `### Flotilla: fleet ${preview.fleet}`,
    "",
    `${literal(headlineOf(preview))}.`,
    ...preview.groups.flatMap((group) => [
      "",
      "<details>",
      `<summary>${previewTally(group.objects, group.leftOut)} on ${countClusters(group.clusters.length)} (${someNames(group.clusters, depth.clusters)})</summary>`,
      "",
      "| | object | what |",
      "| --- | --- | --- |",
      ...group.objects.slice(0, depth.objects).map((object) => {
        const fields = object.fields
          .slice(0, depth.fields)
          .map(({ path, before, after }) => `${code(path)} ${code(previewValue(before))} → ${code(previewValue(after))}`);
        const hidden = object.fields.length - Math.min(object.fields.length, depth.fields) + object.moreFields;
        const what = [object.action, object.message === "" ? "" : code(object.message), ...fields, ...(hidden > 0 ? [`${hidden} more`] : [])].filter(
          (part) => part !== "",
        );
        return `| ${words[object.action].sign} | ${code(nameOf(object))} | ${what.join("<br>").replaceAll("|", "\\|")} |`;
      }),
      ...moreLines(group.objects.length - Math.min(group.objects.length, depth.objects) + group.leftOut, ""),
      "",
      "</details>",
    ]),
    ...previewRest(preview, depth).map((line) => (line === "" ? "" : `- ${literal(line)}`)),
  ];
}

/** Text from clusters and Git is shown as it is: it makes no markup and mentions nobody. */
function code(text: string): string {
  return `\`${cleanText(text).replaceAll("`", "'").replaceAll(/\s+/g, " ")}\``;
}

function literal(text: string): string {
  return text
    .replaceAll(/[&<>@#]/g, (char) => `&#${char.charCodeAt(0)};`)
    .replaceAll(/[\\`*_[\]()!|~]/g, String.raw`\$&`)
    .replaceAll(/\s+/g, " ");
}

/** How many objects of a group have which fate: "2 created, 1 pruned". */
export function previewTally(objects: readonly PreviewObject[], leftOut: number): string {
  const counts = new Map<PreviewAction, number>();
  for (const { action } of objects) counts.set(action, (counts.get(action) ?? 0) + 1);
  const parts = (Object.keys(words) as PreviewAction[]).flatMap((action) => (counts.has(action) ? [`${counts.get(action)} ${words[action].counted}`] : []));
  return [...parts, ...(leftOut > 0 ? [`${leftOut} more objects`] : [])].join(", ");
}

/** "~ ConfigMap/default/settings". */
export function previewObjectLine(object: PreviewObject): string {
  return `${words[object.action].sign} ${nameOf(object)}`;
}

/** "Kind.group/namespace/name" as kubectl takes it. */
function nameOf({ object }: PreviewObject): string {
  const [group = "", kind = "", namespace = "", name = ""] = object.split("/");
  return [group === "" ? kind : `${kind}.${group}`, namespace, name].filter((part) => part !== "").join("/");
}

/** A field's value: JSON text, or that there is none. */
export const previewValue = (json: string): string => (json === "" ? "(none)" : cleanText(json));

/** Some names, and how many more. */
export function someNames(names: readonly string[], shown: number): string {
  const more = names.length - Math.min(names.length, shown);
  return `${names.slice(0, shown).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** Says that something is not shown. */
export function moreLines(count: number, indent: string): string[] {
  return count > 0 ? [`${indent}… and ${count} more`] : [];
}

/** "1 cluster", "212 clusters". */
export function countClusters(count: number): string {
  return `${count} cluster${count === 1 ? "" : "s"}`;
}
