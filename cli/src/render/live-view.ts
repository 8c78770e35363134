import { setTimeout as delay } from "node:timers/promises";
import { followChanges } from "../connect/follow-changes.ts";
import type { FleetContext } from "../fleet-context.ts";
import type { HubClient } from "../hub-client.ts";
import { redrawMs, refreshMs } from "../limits.ts";

export interface LiveView {
  readonly fleet?: string | undefined;
  /** Reads and lays out; called again after every change. */
  readonly draw: () => Promise<readonly string[]>;
  /** Rows are cut to a terminal's height; a document (JSON, YAML) never is. */
  readonly document?: boolean;
}

/**
 * Shows a view until Ctrl-C: redrawn in place on a terminal, and elsewhere only the lines that are new are appended.
 * It looks again on every change that the hub tells, and at least every five seconds.
 */
export async function showLive(context: FleetContext, client: HubClient, view: LiveView): Promise<void> {
  const { stdout } = context.process;
  const inPlace = stdout.isTTY === true && view.document !== true;
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, ended.signal]);
  const doorbell = listen(context, client, view.fleet, signal);
  let before: readonly string[] = [];
  if (inPlace) stdout.write("\u001B[2J");
  try {
    while (!signal.aborted) {
      doorbell.reset();
      const lines = await view.draw();
      if (inPlace) stdout.write(frame(lines, stdout.rows));
      else stdout.write(newLines(lines, before, view.document === true));
      before = lines;
      await Promise.race([doorbell.rung(), delay(refreshMs, undefined, { signal }).catch(() => undefined)]);
      await delay(redrawMs, undefined, { signal }).catch(() => undefined);
    }
  } catch (error) {
    if (!context.signal.aborted) throw error;
  } finally {
    ended.abort();
    await doorbell.stopped;
  }
}

/** Home, every line cleared to its end, then everything below: no flicker. */
function frame(lines: readonly string[], rows: number | undefined): string {
  const shown =
    rows !== undefined && lines.length > rows - 1
      ? [...lines.slice(0, Math.max(1, rows - 2)), `… ${lines.length - rows + 2} more; without --watch all are printed`]
      : lines;
  return `\u001B[H${shown.map((line) => `${line}\u001B[K\n`).join("")}\u001B[J`;
}

function newLines(lines: readonly string[], before: readonly string[], whole: boolean): string {
  if (whole) return lines.join("\n") === before.join("\n") ? "" : `${lines.join("\n")}\n`;
  // A row that only grew older is no news.
  const known = new Set(before.map(withoutAges));
  return lines
    .filter((line) => !known.has(withoutAges(line)))
    .map((line) => `${line}\n`)
    .join("");
}

function withoutAges(line: string): string {
  return line.replaceAll(/ *\b\d+[dhms]\b( ago)?/g, "").replaceAll(/ +/g, " ");
}

interface Doorbell {
  reset(): void;
  rung(): Promise<void>;
  readonly stopped: Promise<void>;
}

function listen(context: FleetContext, client: HubClient, fleet: string | undefined, signal: AbortSignal): Doorbell {
  let bell = Promise.withResolvers<void>();
  const stopped = (async () => {
    for await (const message of followChanges(context, client, { fleet, quiet: true, signal })) {
      if (message.event === "change") bell.resolve();
    }
  })().catch(() => undefined);
  signal.addEventListener("abort", () => bell.resolve());
  return {
    reset: () => {
      bell = Promise.withResolvers<void>();
      if (signal.aborted) bell.resolve();
    },
    rung: () => bell.promise,
    stopped,
  };
}
