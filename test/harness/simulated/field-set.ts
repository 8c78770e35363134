/**
 * A set of field paths, as FieldsV1 writes it. A path element is its FieldsV1 text: `f:name`, `k:{"name":"main"}`, `v:"value"`, `i:0`.
 */
export class FieldSet {
  readonly members: Set<string>;
  readonly children: Map<string, FieldSet>;

  constructor(members: Iterable<string> = [], children: Iterable<readonly [string, FieldSet]> = []) {
    this.members = new Set(members);
    this.children = new Map(children);
  }

  static of(...paths: readonly (readonly string[])[]): FieldSet {
    const set = new FieldSet();
    for (const path of paths) set.insert(path);
    return set;
  }

  get isEmpty(): boolean {
    return this.members.size === 0 && [...this.children.values()].every((child) => child.isEmpty);
  }

  insert(path: readonly string[]): void {
    const last = path.at(-1);
    if (last === undefined) return;
    this.under(path.slice(0, -1)).members.add(last);
  }

  /** The set below a path, made when it is not there. */
  under(path: readonly string[]): FieldSet {
    return path.reduce<FieldSet>((set, step) => {
      const child = set.children.get(step) ?? new FieldSet();
      set.children.set(step, child);
      return child;
    }, this);
  }

  union(other: FieldSet): FieldSet {
    const children = new Map(this.children);
    for (const [step, child] of other.children) children.set(step, children.get(step)?.union(child) ?? child);
    return new FieldSet([...this.members, ...other.members], children);
  }

  intersection(other: FieldSet): FieldSet {
    return this.#combine(
      other,
      (step) => other.members.has(step),
      (child, theirs) => theirs && child.intersection(theirs),
    );
  }

  difference(other: FieldSet): FieldSet {
    return this.#combine(
      other,
      (step) => !other.members.has(step),
      (child, theirs) => (theirs ? child.difference(theirs) : child),
    );
  }

  /** Without the other's members and everything below them. */
  without(other: FieldSet): FieldSet {
    return this.#combine(
      other,
      (step) => !other.members.has(step),
      (child, theirs, step) => (other.members.has(step) ? undefined : theirs ? child.without(theirs) : child),
    );
  }

  equals(other: FieldSet): boolean {
    return this.difference(other).isEmpty && other.difference(this).isEmpty;
  }

  /** Every path, members before what lies below, in order. */
  paths(): string[][] {
    const here = [...this.members].toSorted().map((step) => [step]);
    const below = [...this.children].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([step, child]) => child.paths().map((path) => [step, ...path]));
    return [...here, ...below];
  }

  #combine(
    other: FieldSet,
    keeps: (step: string) => boolean,
    below: (child: FieldSet, theirs: FieldSet | undefined, step: string) => FieldSet | undefined,
  ): FieldSet {
    const children: [string, FieldSet][] = [];
    for (const [step, child] of this.children) {
      const rest = below(child, other.children.get(step), step);
      if (rest && !rest.isEmpty) children.push([step, rest]);
    }
    return new FieldSet([...this.members].filter(keeps), children);
  }
}

interface FieldsV1 {
  readonly [step: string]: FieldsV1;
}

export function decodeFields(fields: unknown): FieldSet {
  const set = new FieldSet();
  for (const [step, below] of Object.entries((fields ?? {}) as FieldsV1)) {
    if (step === ".") continue;
    const names = Object.keys(below);
    if (names.length === 0 || "." in below) set.members.add(step);
    if (names.some((name) => name !== ".")) set.children.set(step, decodeFields(below));
  }
  return set;
}

export function encodeFields(set: FieldSet): FieldsV1 {
  const steps = [...new Set([...set.members, ...set.children.keys()])].toSorted();
  return Object.fromEntries(
    steps.flatMap((step): [string, FieldsV1][] => {
      const child = set.children.get(step);
      const below = child && !child.isEmpty ? encodeFields(child) : {};
      if (!set.members.has(step)) return Object.keys(below).length > 0 ? [[step, below]] : [];
      return [[step, Object.keys(below).length > 0 ? { ".": {}, ...below } : {}]];
    }),
  );
}

/** A path as the API server's messages tell it: `.spec.containers[name="main"].image`. */
export function tellPath(path: readonly string[]): string {
  return path.map(tellStep).join("");
}

function tellStep(step: string): string {
  const text = step.slice(2);
  if (step.startsWith("f:")) return `.${text}`;
  if (step.startsWith("v:")) return `[=${text}]`;
  if (step.startsWith("i:")) return `[${text}]`;
  const keys = Object.entries(JSON.parse(text) as Record<string, unknown>);
  return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
}
