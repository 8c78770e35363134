import { Compile } from "typebox/compile";
import type { TSchema } from "typebox";
import { ApiProblem } from "./api-problem.ts";

/** Where a request's part is, for people. */
const partNames: Readonly<Record<string, string>> = { body: "the body", querystring: "the query", params: "the path", headers: "the headers" };

interface SchemaError {
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

/** Fastify's validator over typebox: parameters are texts and are converted, bodies are taken as they are. All errors at once. */
export function compileValidator({ schema, httpPart }: { schema: unknown; httpPart?: string }): (value: unknown) => { value: unknown } | { error: Error } {
  const validator = Compile(schema as TSchema);
  const isText = httpPart !== "body";
  return (value) => {
    const converted = isText ? validator.Convert(value ?? {}) : value;
    if (validator.Check(converted)) return { value: converted };
    return { error: requestProblem(httpPart ?? "", [...validator.Errors(converted)] as SchemaError[]) };
  };
}

function requestProblem(httpPart: string, errors: readonly SchemaError[]): ApiProblem {
  const where = partNames[httpPart] ?? "the request";
  const lines = errors
    .slice(0, 20)
    .map((error) => `${error.instancePath === "" ? "" : `${error.instancePath.slice(1).replaceAll("/", ".")} `}${describe(error)}`);
  const problems = [...new Set(lines)].map((message) => ({ code: "invalid-request", message }));
  return new ApiProblem(400, "invalid-request", `${where} is not right: ${problems[0]?.message ?? "it cannot be read"}`, {
    problems,
    hint: "GET /openapi.json tells what each path takes",
  });
}

function describe({ message, params }: SchemaError): string {
  const { additionalProperties, requiredProperties } = params as { additionalProperties?: readonly string[]; requiredProperties?: readonly string[] };
  if (additionalProperties !== undefined) return `has '${additionalProperties.join("', '")}', which is not known here`;
  if (requiredProperties !== undefined) return `lacks '${requiredProperties.join("', '")}'`;
  return message;
}
