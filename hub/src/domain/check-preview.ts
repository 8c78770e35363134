import type { Preview } from "@flotilla/proto/rest/contract";
import { differs, headlineOf, previewMarkdown, type PreviewDepth } from "@flotilla/proto/rest/preview-text";
import type { CheckState } from "./forge.ts";

/** What a pull request is told of a preview. */
export interface CheckVerdict {
  readonly state: Exclude<CheckState, "pending">;
  readonly headline: string;
  readonly markdown: string;
}

const depth: PreviewDepth = { objects: 50, fields: 10, clusters: 10 };
const shallow: PreviewDepth = { objects: 10, fields: 3, clusters: 3 };

/**
 * A difference is what a pull request is for: it is a success, and said. It fails when it cannot be rendered, or when something of it would be refused
 * or left to somebody else; of what nobody answered nothing is known, which is an error only when nobody answered at all.
 *
 * @param charsMax of the comment; more is said to be cut off.
 */
export function checkPreview(preview: Preview, charsMax: number): CheckVerdict {
  if (preview.phase === "Failed") {
    const [first] = preview.problems;
    const headline = `cannot be previewed: ${first ? placeOf(first) : "no reason was given"}`;
    const lines = preview.problems.slice(0, 50).map((problem) => `- \`${placeOf(problem).replaceAll("`", "'").replaceAll(/\s+/g, " ")}\``);
    const markdown = [`### Flotilla: fleet ${preview.fleet}`, "", `This change cannot be rendered for the fleet.`, "", ...lines].join("\n");
    return { state: "failure", headline, markdown: cut(markdown, charsMax) };
  }
  const headline = headlineOf(preview);
  const full = previewMarkdown(preview, depth).join("\n");
  const markdown = full.length <= charsMax ? full : cut(previewMarkdown(preview, shallow).join("\n"), charsMax);
  const isRefused = preview.groups.some(({ objects }) => objects.some(({ action }) => action === "refuse" || action === "conflict"));
  const isSilent = !differs(preview) && preview.same.length === 0 && preview.unknown.length > 0;
  return { state: isRefused ? "failure" : isSilent ? "error" : "success", headline, markdown };
}

function placeOf({ file, line, message, hint }: Preview["problems"][number]): string {
  const place = file === undefined || file === "" ? "" : `${file}${line === undefined ? "" : `:${line}`}: `;
  return `${place}${message}${hint === undefined ? "" : ` (${hint})`}`;
}

function cut(markdown: string, charsMax: number): string {
  if (markdown.length <= charsMax) return markdown;
  return `${markdown.slice(0, charsMax - 100).replace(/\n[^\n]*$/, "")}\n\n</details>\n\n… it is longer than a comment may be: fleet diff shows all of it`;
}
