import type { Preview, PreviewAction, PreviewObject } from "@flotilla/proto/rest/contract";
import { durationOf, shortRevision } from "./age.ts";
import { cleanText } from "./clean-text.ts";
import type { Paint, Tone } from "./palette.ts";

interface Word {
  readonly sign: string;
  readonly tone: Tone;
  /** "2 created". */
  readonly counted: string;
}

const words: Readonly<Record<PreviewAction, Word>> = {
  create: { sign: "+", tone: "good", counted: "created" },
  configure: { sign: "~", tone: "busy", counted: "configured" },
  recreate: { sign: "±", tone: "bad", counted: "deleted and made again" },
  prune: { sign: "-", tone: "bad", counted: "pruned" },
  "hold-prune": { sign: "?", tone: "unsure", counted: "prunes that wait" },
  "let-go": { sign: "=", tone: "faint", counted: "let go" },
  refuse: { sign: "!", tone: "bad", counted: "refused" },
  conflict: { sign: "!", tone: "bad", counted: "left to somebody else" },
  keep: { sign: "=", tone: "unsure", counted: "kept as changed by hand" },
  "run-hook": { sign: ">", tone: "plain", counted: "hooks that run" },
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
  const refusals = groups.filter(({ objects }) => objects.some(({ action }) => action === "refuse" || action === "conflict"));
  const parts = [
    first ? `${tallyOf(first.objects, first.leftOut)} on ${clustersOf(first.clusters.length)}` : "nothing would change where clusters have answered",
    others.length > 0 ? `${clustersOf(count(others))} in ${others.length} other ways` : "",
    refusals.length > 0 ? `not everything would be applied on ${clustersOf(count(refusals))}` : "",
    joining.length > 0 ? `${clustersOf(joining.length)} would join` : "",
    leaving.length > 0 ? `${clustersOf(leaving.length)} would leave` : "",
    same.length > 0 ? `${clustersOf(same.length)} unchanged` : "",
    count(unknown) > 0 ? `${clustersOf(count(unknown))} unknown` : "",
  ];
  return parts.filter((part) => part !== "").join("; ");
}

/** For a terminal. */
export function previewLines(preview: Preview, depth: PreviewDepth, paint: Paint): string[] {
  return [
    paint(titleOf(preview), "strong"),
    headlineOf(preview),
    ...preview.groups.flatMap((group) => [
      "",
      paint(`${tallyOf(group.objects, group.leftOut)} on ${clustersOf(group.clusters.length)}: ${namesOf(group.clusters, depth.clusters)}`, "strong"),
      ...group.objects.slice(0, depth.objects).flatMap((object) => objectLines(object, depth, paint)),
      ...moreLines(group.objects.length - Math.min(group.objects.length, depth.objects) + group.leftOut, "  "),
    ]),
    ...restOf(preview, depth).map((line) => (line === "" ? "" : paint(line, "plain"))),
  ];
}

function objectLines(object: PreviewObject, depth: PreviewDepth, paint: Paint): string[] {
  const { sign, tone } = words[object.action];
  const message = object.message === "" ? "" : `: ${cleanText(object.message)}`;
  const shown = object.fields.slice(0, depth.fields);
  const hidden = object.fields.length - shown.length + object.moreFields;
  return [
    paint(`  ${sign} ${nameOf(object)}${message}`, tone),
    ...shown.map(({ path, before, after }) => `      ${cleanText(path)}: ${valueOf(before)} → ${valueOf(after)}`),
    ...moreLines(hidden, "      "),
  ];
}

function restOf({ unknown, joining, leaving, waves, lastRolloutMs, warnings, problems }: Preview, depth: PreviewDepth): string[] {
  const concerned = waves.filter(({ clusters }) => clusters > 0);
  const steps = concerned.map(({ name, clusters, waits }) => `${name} (${clustersOf(clusters)}${waits.length === 0 ? "" : `; then ${waits.join(", ")}`})`);
  const took = lastRolloutMs === null ? "" : `; the last rollout took ${durationOf(lastRolloutMs)}`;
  const lines = [
    ...(joining.length > 0 ? [`would join: ${namesOf(joining, depth.clusters)}`] : []),
    ...(leaving.length > 0 ? [`would leave: ${namesOf(leaving, depth.clusters)}`] : []),
    ...unknown.map(({ clusters, reason }) => `unknown on ${clustersOf(clusters.length)}: ${cleanText(reason)} (${namesOf(clusters, depth.clusters)})`),
    ...problems.map(({ message }) => `kept as they are: ${cleanText(message)}`),
    ...warnings.map(({ message }) => `warning: ${cleanText(message)}`),
    ...(steps.length > 0 ? [`waves: ${steps.join(" → ")}${took}`] : []),
  ];
  return lines.length === 0 ? [] : ["", ...lines];
}

/** For a comment on a change, in GitHub's Markdown. */
export function previewMarkdown(preview: Preview, depth: PreviewDepth): string[] {
  const code = (text: string): string => `\`${cleanText(text).replaceAll("`", "'")}\``;
  return [
    `### Flotilla: fleet ${preview.fleet}`,
    "",
    `${headlineOf(preview)}.`,
    ...preview.groups.flatMap((group) => [
      "",
      "<details>",
      `<summary>${tallyOf(group.objects, group.leftOut)} on ${clustersOf(group.clusters.length)} (${namesOf(group.clusters, depth.clusters)})</summary>`,
      "",
      "| | object | what |",
      "| --- | --- | --- |",
      ...group.objects.slice(0, depth.objects).map((object) => {
        const fields = object.fields
          .slice(0, depth.fields)
          .map(({ path, before, after }) => `${code(path)} ${code(valueOf(before))} → ${code(valueOf(after))}`);
        const hidden = object.fields.length - Math.min(object.fields.length, depth.fields) + object.moreFields;
        const what = [object.action, cleanText(object.message), ...fields, ...(hidden > 0 ? [`${hidden} more`] : [])].filter((part) => part !== "");
        return `| ${words[object.action].sign} | ${code(nameOf(object))} | ${what.join("<br>").replaceAll("|", "\\|")} |`;
      }),
      ...moreLines(group.objects.length - Math.min(group.objects.length, depth.objects) + group.leftOut, ""),
      "",
      "</details>",
    ]),
    ...restOf(preview, depth).map((line) => (line === "" ? "" : `- ${line}`)),
  ];
}

function titleOf({ fleet, of, revision, current }: Preview): string {
  const what = revision === null || of.includes(shortRevision(revision)) ? of : `${of} (${shortRevision(revision)})`;
  return `fleet ${fleet}: ${what}${current === null ? "" : `, now at ${shortRevision(current)}`}`;
}

function tallyOf(objects: readonly PreviewObject[], leftOut: number): string {
  const counts = new Map<PreviewAction, number>();
  for (const { action } of objects) counts.set(action, (counts.get(action) ?? 0) + 1);
  const parts = (Object.keys(words) as PreviewAction[]).flatMap((action) => (counts.has(action) ? [`${counts.get(action)} ${words[action].counted}`] : []));
  return [...parts, ...(leftOut > 0 ? [`${leftOut} more objects`] : [])].join(", ");
}

/** "Kind.group/namespace/name" as kubectl takes it. */
function nameOf({ object }: PreviewObject): string {
  const [group = "", kind = "", namespace = "", name = ""] = object.split("/");
  return [group === "" ? kind : `${kind}.${group}`, namespace, name].filter((part) => part !== "").join("/");
}

const valueOf = (json: string): string => (json === "" ? "(none)" : cleanText(json));

function namesOf(names: readonly string[], shown: number): string {
  const more = names.length - Math.min(names.length, shown);
  return `${names.slice(0, shown).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function moreLines(count: number, indent: string): string[] {
  return count > 0 ? [`${indent}… and ${count} more`] : [];
}

function clustersOf(count: number): string {
  return `${count} cluster${count === 1 ? "" : "s"}`;
}
