import { cleanText } from "@flotilla/proto/plain-words";
import type { Rendered } from "@flotilla/proto/rest/contract";
import { createTwoFilesPatch } from "diff";
import type { Paint } from "./palette.ts";
import { structured } from "./print.ts";

/** One object that differs. */
export interface ObjectDifference {
  /** "Kind/namespace/name", with the group after the kind where there is one. */
  readonly object: string;
  readonly bundle: string;
  readonly change: "created" | "configured" | "deleted";
  /** Unified diff of the YAML. */
  readonly diff: string;
}

/** What differs between two sets of objects, object by object, in the order of their names. */
export async function compareRendered(
  before: Rendered,
  after: Rendered,
  paint: Paint,
): Promise<{ readonly lines: readonly string[]; readonly objects: readonly ObjectDifference[] }> {
  const [old, now] = [byName(before), byName(after)];
  const objects: ObjectDifference[] = [];
  for (const name of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const [was, is] = [old.get(name), now.get(name)];
    const [left, right] = [was ? await yamlOf(was.object) : "", is ? await yamlOf(is.object) : ""];
    if (left === right) continue;
    const diff = createTwoFilesPatch(name, name, left, right, before.revision.slice(0, 12), after.revision.slice(0, 12), { context: 3 });
    objects.push({
      object: name,
      bundle: (is ?? was)?.bundle ?? "",
      change: was === undefined ? "created" : is === undefined ? "deleted" : "configured",
      diff,
    });
  }
  return {
    lines: objects.flatMap(({ diff }) =>
      diff
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("===="))
        .map((line) => toned(cleanText(line), paint)),
    ),
    objects,
  };
}

function toned(line: string, paint: Paint): string {
  if (line.startsWith("+++") || line.startsWith("---")) return paint(line, "strong");
  if (line.startsWith("@@")) return paint(line, "faint");
  return line.startsWith("+") ? paint(line, "good") : line.startsWith("-") ? paint(line, "bad") : line;
}

interface Named {
  readonly bundle: string;
  readonly object: Record<string, unknown>;
}

function byName({ bundles }: Rendered): ReadonlyMap<string, Named> {
  return new Map(bundles.flatMap(({ name, objects }) => objects.map((object) => [nameOf(object), { bundle: name, object }] as const)));
}

function nameOf(object: Record<string, unknown>): string {
  const { apiVersion = "", kind = "", metadata = {} } = object as { apiVersion?: string; kind?: string; metadata?: { namespace?: string; name?: string } };
  const group = apiVersion.includes("/") ? `.${apiVersion.slice(0, apiVersion.indexOf("/"))}` : "";
  return [`${kind}${group}`, ...(metadata.namespace === undefined ? [] : [metadata.namespace]), metadata.name ?? ""].join("/");
}

async function yamlOf(object: Record<string, unknown>): Promise<string> {
  return `${await structured(object, "yaml")}\n`;
}
