import { compileCel, type CelVariables, type CompiledCel } from "./cel.ts";

/** What an expression of `health.checks` can speak of: the live object's own fields, and the whole of it as `object`. */
export const healthVariables: CelVariables = {
  apiVersion: "string",
  kind: "string",
  metadata: "dyn",
  spec: "dyn",
  status: "dyn",
  data: "dyn",
  object: "dyn",
};

/** Compile one expression of a health check; lint and agent by the same rules. */
export function compileHealthCheck(text: string): CompiledCel {
  return compileCel(text, healthVariables);
}
