import type { Json } from "@flotilla/proto/digest";
import type { Values } from "./fleet-spec.ts";

/**
 * Values laid over each other, later ones on top, as Helm does it: maps are merged, everything else (lists too) is
 * replaced. null stays null: in a chart it takes the chart's own default away.
 */
export function mergeValues(...layers: readonly Values[]): Values {
  return layers.reduce<Values>((below, above) => mergeMaps(below, above), {});
}

/** The value at a dotted name: "image.tag". Undefined when there is none. */
export function valueAt(values: Values, name: string): Json | undefined {
  let value: Json | undefined = values as Json;
  for (const part of name.split(".")) {
    if (!isMap(value) || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  return value;
}

/** Every dotted name that leads to a value, maps included. */
export function valueNames(values: Values, prefix = ""): string[] {
  return Object.entries(values).flatMap(([key, value]) => [prefix + key, ...(isMap(value) ? valueNames(value, `${prefix}${key}.`) : [])]);
}

/** Whether a JSON value is a map. */
export function isMap(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mergeMaps(below: Values, above: Values): Values {
  const merged = new Map(Object.entries(below));
  for (const [key, value] of Object.entries(above)) {
    const under = merged.get(key);
    merged.set(key, isMap(under) && isMap(value) ? mergeMaps(under, value) : value);
  }
  return Object.fromEntries(merged);
}
