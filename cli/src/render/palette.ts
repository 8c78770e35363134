import type { Environment, OutputStream } from "../fleet-context.ts";

/** What a piece of text means; colours follow from it. */
export type Tone = "good" | "busy" | "bad" | "unsure" | "faint" | "strong" | "plain";

const codes: Readonly<Record<Tone, string>> = {
  good: "32",
  busy: "33",
  bad: "31",
  unsure: "35",
  faint: "2",
  strong: "1",
  plain: "",
};

/** Whether a stream gets colours: FORCE_COLOR, then NO_COLOR, then whether it is a terminal. */
export function wantsColour(stream: OutputStream, env: Environment): boolean {
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== "") return env.FORCE_COLOR !== "0" && env.FORCE_COLOR !== "false";
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== "") return false;
  return stream.isTTY === true && env.TERM !== "dumb";
}

export type Paint = (text: string, tone: Tone) => string;

export function paintFor(stream: OutputStream, env: Environment): Paint {
  if (!wantsColour(stream, env)) return (text) => text;
  return (text, tone) => (tone === "plain" || text === "" ? text : `\u001B[${codes[tone]}m${text}\u001B[0m`);
}

const tones: Readonly<Record<string, Tone>> = {
  Synced: "good",
  Current: "good",
  Connected: "good",
  Healed: "good",
  Accepted: "good",
  Ended: "good",
  OutOfSync: "busy",
  InProgress: "busy",
  Pending: "busy",
  Terminating: "busy",
  Warning: "busy",
  Drifted: "busy",
  Failed: "bad",
  NotFound: "bad",
  Removed: "bad",
  Unknown: "unsure",
};

/** The tone of a status word. */
export function toneOf(word: string): Tone {
  return tones[word] ?? "plain";
}
