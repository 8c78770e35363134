import { compileCel, type CelVariables, type CompiledCel } from "./cel.ts";

/**
 * What `ready` of a dependency can speak of:
 *
 * - `bundle`: objects, applied, healthy, drifted, failed (counts of the bundle that is waited for), health (the worst, as a kstatus word), synced.
 * - `objects`: live objects of that bundle by "Kind/namespace/name" ("Kind/name" without a namespace), whole, as the API server gives them.
 *   Only those that the expression names in quotes are read; of Secret-like kinds only metadata.
 */
export const readinessVariables: CelVariables = {
  bundle: { objects: "int", applied: "int", healthy: "int", drifted: "int", failed: "int", health: "string", synced: "bool" },
  objects: "map<string, dyn>",
};

/** An expression reads at most this many objects. */
export const maxReadinessObjects = 10;

/** Compile a readiness expression; lint and agent by the same rules. */
export function compileReadiness(text: string): CompiledCel {
  const compiled = compileCel(text, readinessVariables);
  if (!compiled.ok) return compiled;
  const names = compiled.expression.keysOf("objects");
  if (names.length > maxReadinessObjects)
    return { ok: false, problem: { message: `the expression names ${names.length} objects, at most ${maxReadinessObjects} are read`, offset: 0 } };
  const odd = names.find((name) => !/^[A-Z][A-Za-z0-9]*(\/[^/]+){1,2}$/.test(name));
  if (odd !== undefined)
    return {
      ok: false,
      problem: { message: `objects are named "Kind/namespace/name" or "Kind/name", '${odd}' is not`, offset: Math.max(0, text.indexOf(odd)) },
    };
  return compiled;
}
