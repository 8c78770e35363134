import { compileCel, type CelVariables, type CompiledCel } from "./cel.ts";

/**
 * What `after.check` of a wave can speak of:
 *
 * - `wave`: its name, and counts of its clusters: clusters, healthy, updating, failed, skipped.
 * - `clusters`: one entry for each of its clusters that counts: name, labels, mark (Updating, Healthy, Failed, Skipped), health (a kstatus word),
 *   synced, drifted and failed (numbers of objects), message.
 */
export const waveCheckVariables: CelVariables = {
  wave: { name: "string", clusters: "int", healthy: "int", updating: "int", failed: "int", skipped: "int" },
  clusters: "list<dyn>",
};

/** Compile the check of a wave; lint and hub by the same rules. */
export function compileWaveCheck(text: string): CompiledCel {
  return compileCel(text, waveCheckVariables);
}
