import { boolYaml11Tag, CORE_SCHEMA, defineMappingTag, defineScalarTag, mapTag, mergeTag, NOT_RESOLVED, nullYaml11Tag, type Schema } from "js-yaml";
import { isReference, TypedReference } from "../domain/substitute.ts";

/** A scalar that YAML allows and JSON, or a JavaScript number, cannot hold. */
export class ScalarError extends Error {
  override readonly name = "ScalarError";
}

const integer = /^[-+]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|0[0-7_]+|0|[1-9][0-9_]*)$/;
const decimal = /^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$/;
const unsupported = /^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$/;
const numberStart = [..."-+.0123456789"];

/** Integers as go-yaml 2 reads them (0777 and 0o17 octal, 0b1 binary, 1_000), which is what kubectl uses. */
const kubeInteger = defineScalarTag<number>("tag:yaml.org,2002:int", {
  implicit: true,
  implicitFirstChars: numberStart,
  resolve: (source) => {
    if (!integer.test(source)) return NOT_RESOLVED;
    const digits = source.replaceAll("_", "");
    const negative = digits.startsWith("-");
    const value = unsignedInteger(digits.replace(/^[-+]/, ""));
    if (Number.isNaN(value)) return NOT_RESOLVED;
    // Between 2^53 and 2^64 kubectl keeps every digit and we could not; beyond it is a float for both.
    if (value > Number.MAX_SAFE_INTEGER && value < 2 ** 64)
      throw new ScalarError(`the number ${source} has more digits than can be kept exactly; put it in quotes if it is text`);
    return value === 0 ? 0 : negative ? -value : value;
  },
  identify: (value) => Number.isInteger(value),
});

function unsignedInteger(digits: string): number {
  if (/^0[xXbBoO]/.test(digits)) return Number(digits);
  return digits.length > 1 && digits.startsWith("0") ? Number.parseInt(digits, 8) : Number(digits);
}

const kubeFloat = defineScalarTag<number>("tag:yaml.org,2002:float", {
  implicit: true,
  implicitFirstChars: numberStart,
  resolve: (source) => {
    const digits = source.replaceAll("_", "");
    const value = decimal.test(digits) ? Number(digits) : Number.NaN;
    if (unsupported.test(digits) || Math.abs(value) === Number.POSITIVE_INFINITY)
      throw new ScalarError(`${source} is no number that Kubernetes takes; put it in quotes if it is text`);
    return Number.isNaN(value) ? NOT_RESOLVED : value;
  },
  identify: (value) => typeof value === "number",
});

/** go-yaml decodes !!binary to the text that it holds. */
const kubeBinary = defineScalarTag<string>("tag:yaml.org,2002:binary", {
  resolve: (source) => Buffer.from(source, "base64").toString("utf8"),
  identify: () => false,
});

/** A bare `${name}` is remembered as such, so that substitution can give it a typed value. */
const bareReference = defineScalarTag<TypedReference>("tag:flotilla.dev,2026:reference", {
  implicit: true,
  implicitFirstChars: ["$"],
  resolve: (source) => (isReference(source) ? new TypedReference(source) : NOT_RESOLVED),
  identify: () => false,
});

/** Maps with keys that JSON can have. */
const kubeMap = defineMappingTag<Record<string, unknown>>("tag:yaml.org,2002:map", {
  ...mapTag,
  addPair: (carrier, key, value) => {
    if (key instanceof TypedReference) return mapTag.addPair(carrier, key.text, value);
    return typeof key === "object" ? "a key must be text, and here it is not" : mapTag.addPair(carrier, key, value);
  },
});

/** Scalars as kubectl reads them: YAML 1.1 booleans, octal numbers and merge keys, dates as text. */
export const kubeSchema: Schema = CORE_SCHEMA.withTags([kubeMap, kubeInteger, kubeFloat, boolYaml11Tag, nullYaml11Tag, mergeTag, kubeBinary]);

/** The same, for files in which `${name}` means something. */
export const kubeTemplateSchema: Schema = kubeSchema.withTags([bareReference]);
