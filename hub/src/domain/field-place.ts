/** How a drifted field names its place: by managedFields' members, which know list items by their keys, else by a JSON pointer. */
export interface FieldName {
  readonly path: string;
  readonly members: readonly string[];
}

export type FieldPlace = readonly (string | number)[];

/**
 * Where a field is in an object, as keys and indexes; undefined when the object has not what leads to it. The last key of a map need not be
 * there: it is where the value would be.
 */
export function placeOfField(object: unknown, { path, members }: FieldName): FieldPlace | undefined {
  const steps = members.length > 0 ? members : pointerSteps(path);
  const place: (string | number)[] = [];
  let at: unknown = object;
  for (const [index, step] of steps.entries()) {
    const next = stepOf(at, step, members.length > 0);
    if (next === undefined) return undefined;
    place.push(next);
    at = (at as Record<string | number, unknown>)[next];
    if (at === undefined && index < steps.length - 1) return undefined;
  }
  return place;
}

/** The value at a place; undefined when nothing is there. */
export function valueAtPlace(object: unknown, place: FieldPlace): unknown {
  return place.reduce<unknown>((at, step) => (typeof at === "object" && at !== null && Object.hasOwn(at, step) ? (at as never)[step] : undefined), object);
}

/** As RFC 6901 writes it. */
export function pointerOf(place: FieldPlace): string {
  return place.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function pointerSteps(path: string): string[] {
  return path
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function stepOf(at: unknown, step: string, isMember: boolean): string | number | undefined {
  if (typeof at !== "object" || at === null) return undefined;
  if (Array.isArray(at)) return isMember ? itemOf(at, step) : indexIn(at, step);
  return isMember ? (step.startsWith("f:") ? step.slice(2) : undefined) : step;
}

function itemOf(list: readonly unknown[], member: string): number | undefined {
  const text = member.slice(2);
  if (member.startsWith("i:")) return indexIn(list, text);
  const wanted = jsonOf(text);
  if (member.startsWith("v:")) return only(list, (item) => JSON.stringify(item) === JSON.stringify(wanted));
  if (!member.startsWith("k:") || typeof wanted !== "object" || wanted === null) return undefined;
  const keys = Object.entries(wanted);
  const says = (item: unknown, key: string): unknown => (item as Record<string, unknown> | null)?.[key];
  // Keys may be defaulted (a port's protocol): a file need not say them.
  return (
    only(list, (item) => keys.every(([key, value]) => says(item, key) === value)) ??
    only(list, (item) => keys.every(([key, value]) => [undefined, value].includes(says(item, key) as never)))
  );
}

function only(list: readonly unknown[], matches: (item: unknown) => boolean): number | undefined {
  const found = list.flatMap((item, index) => (matches(item) ? [index] : []));
  return found.length === 1 ? found[0] : undefined;
}

function indexIn(list: readonly unknown[], text: string): number | undefined {
  return /^\d{1,9}$/.test(text) && Number(text) < list.length ? Number(text) : undefined;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
