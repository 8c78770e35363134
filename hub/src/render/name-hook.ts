import { canonicalJson, sha256, type Json } from "@flotilla/proto/digest";
import { readDirectives } from "@flotilla/proto/directives";
import { isMap } from "../domain/merge-values.ts";

/** Jobs and Pods end up in labels, which take 63 characters. */
const nameCharsMax = 63;
const hashChars = 10;

/**
 * Give a hook that has only a `generateName` a name: what it generates from, and a hash of its content. So it is another object when it is
 * changed, and the same one for every cluster, agent and restart. All else is given back as it is: what is kept, and not run, needs a name of
 * its own.
 */
export function nameHook(content: Json): Json {
  if (!isMap(content) || !isMap(content["metadata"])) return content;
  const { metadata } = content;
  const { name, generateName, annotations } = metadata;
  const isNameless = name === undefined || name === null || name === "";
  if (!isNameless || typeof generateName !== "string" || generateName === "" || !isMap(annotations)) return content;
  const texts = Object.fromEntries(Object.entries(annotations).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  if (!readDirectives({ metadata: { name: "", annotations: texts } }).directives.hook) return content;
  const hash = sha256(canonicalJson(content)).slice(0, hashChars);
  return { ...content, metadata: { ...metadata, name: `${generateName.slice(0, nameCharsMax - hashChars)}${hash}` } };
}
