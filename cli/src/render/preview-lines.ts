import { cleanText, shortRevision } from "@flotilla/proto/plain-words";
import type { Preview, PreviewAction, PreviewObject } from "@flotilla/proto/rest/contract";
import {
  countClusters,
  headlineOf,
  moreLines,
  type PreviewDepth,
  previewObjectLine,
  previewRest,
  previewTally,
  previewValue,
  someNames,
} from "@flotilla/proto/rest/preview-text";
import type { Paint, Tone } from "./palette.ts";

const tones: Readonly<Record<PreviewAction, Tone>> = {
  create: "good",
  configure: "busy",
  recreate: "bad",
  prune: "bad",
  "hold-prune": "unsure",
  "let-go": "faint",
  refuse: "bad",
  conflict: "bad",
  keep: "unsure",
  "run-hook": "plain",
};

/** For a terminal. */
export function previewLines(preview: Preview, depth: PreviewDepth, paint: Paint): string[] {
  return [
    paint(titleOf(preview), "strong"),
    headlineOf(preview),
    ...preview.groups.flatMap((group) => [
      "",
      paint(`${previewTally(group.objects, group.leftOut)} on ${countClusters(group.clusters.length)}: ${someNames(group.clusters, depth.clusters)}`, "strong"),
      ...group.objects.slice(0, depth.objects).flatMap((object) => objectLines(object, depth, paint)),
      ...moreLines(group.objects.length - Math.min(group.objects.length, depth.objects) + group.leftOut, "  "),
    ]),
    ...previewRest(preview, depth),
  ];
}

function objectLines(object: PreviewObject, depth: PreviewDepth, paint: Paint): string[] {
  const message = object.message === "" ? "" : `: ${cleanText(object.message)}`;
  const shown = object.fields.slice(0, depth.fields);
  const hidden = object.fields.length - shown.length + object.moreFields;
  return [
    paint(`  ${previewObjectLine(object)}${message}`, tones[object.action]),
    ...shown.map(({ path, before, after }) => `      ${cleanText(path)}: ${previewValue(before)} → ${previewValue(after)}`),
    ...moreLines(hidden, "      "),
  ];
}

function titleOf({ fleet, of, revision, current }: Preview): string {
  const what = revision === null || of.includes(shortRevision(revision)) ? of : `${of} (${shortRevision(revision)})`;
  return `fleet ${fleet}: ${what}${current === null ? "" : `, now at ${shortRevision(current)}`}`;
}
