import { cleanText } from "@flotilla/proto/plain-words";
import type { ProblemRow } from "@flotilla/proto/rest/contract";
import { objectText } from "./object-text.ts";

export type Severity = "error" | "warning";

/** `fleet.yaml:12:5: error: message (bundle web) hint: …`: the form that editors jump to. */
export function problemLine(problem: ProblemRow, severity: Severity): string {
  // An empty file name is the folder itself.
  const place = !problem.file ? "" : `${[problem.file, problem.line, problem.column].filter((part) => part !== undefined).join(":")}: `;
  const hint = problem.hint === undefined || problem.hint === "" ? "" : `\n  hint: ${problem.hint}`;
  return cleanLines(`${place}${severity}: ${problem.message}${contextOf(problem)}${hint}`);
}

function contextOf({ bundle, object, cluster }: ProblemRow): string {
  const parts = [bundle && `bundle ${bundle}`, object && objectText(object), cluster && `cluster ${cluster}`].filter(Boolean);
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

/** A workflow command of GitHub Actions: it marks the line in the pull request. */
export function githubLine(problem: ProblemRow, severity: Severity): string {
  const properties = [
    ["file", problem.file],
    ["line", problem.line],
    ["col", problem.column],
    ["title", problem.code],
  ].filter(([, value]) => value !== undefined);
  const text = problem.hint ? `${problem.message}\n${problem.hint}` : problem.message;
  return `::${severity} ${properties.map(([name, value]) => `${name}=${escapeProperty(String(value))}`).join(",")}::${escapeMessage(text)}`;
}

function escapeMessage(text: string): string {
  return text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeMessage(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
}

function cleanLines(text: string): string {
  return text.split("\n").map(cleanText).join("\n");
}
