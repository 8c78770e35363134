import { cleanText } from "@flotilla/proto/plain-words";
import { readDirectives } from "@flotilla/proto/directives";
import { counted } from "./counted.ts";

/** What one word of one annotation comes to. */
export interface DirectiveFinding {
  readonly annotation: string;
  readonly word: string;
  readonly honoured: boolean;
  readonly meaning: string;
  readonly object: string;
  readonly file?: string;
  readonly line?: number;
}

/** Words of Flux, Argo CD and Helm, each once: what it does here, how often it is said, and where first. */
export function honouredLines(directives: readonly DirectiveFinding[]): string[] {
  return linesOf(
    directives.filter(({ honoured }) => honoured),
    "honoured",
  );
}

/** And those that come to nothing, with why. */
export function notHonouredLines(directives: readonly DirectiveFinding[]): string[] {
  return linesOf(
    directives.filter(({ honoured }) => !honoured),
    "not honoured",
  );
}

function linesOf(directives: readonly DirectiveFinding[], verdict: string): string[] {
  const words = Map.groupBy(
    directives.filter(({ annotation }) => !annotation.startsWith("flotilla.dev/")),
    ({ annotation, word }) => `${annotation}: ${word}`,
  );
  return [...words].map(([text, [first, ...others]]) => {
    const place = first?.file === undefined ? "" : `; ${first.file}:${first.line ?? 1}`;
    return cleanText(`${verdict}: ${text}: ${first?.meaning ?? ""} (${counted(others.length + 1, "object")}${place})`);
  });
}

/** What the annotations of rendered objects ask; what is not a Kubernetes object asks nothing. */
export function directivesOf(objects: readonly object[]): DirectiveFinding[] {
  return objects.flatMap((object) => {
    const { kind = "", metadata } = object as { readonly kind?: string; readonly metadata?: Parameters<typeof readDirectives>[0]["metadata"] };
    if (metadata === undefined) return [];
    const { honoured, notHonoured } = readDirectives({ metadata });
    const id = `${kind}/${metadata.name}`;
    return [...honoured.map((note) => ({ ...note, honoured: true, object: id })), ...notHonoured.map((note) => ({ ...note, honoured: false, object: id }))];
  });
}
