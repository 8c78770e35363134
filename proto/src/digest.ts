import { createHash } from "node:crypto";

/** A JSON value as YAML or an API server gives it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A Kubernetes object as JSON. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly [key: string]: unknown;
  };
  readonly [key: string]: unknown;
}

/** SHA-256, hex. */
export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/**
 * Canonical JSON: keys sorted by code unit, no spaces, `undefined` members left out (RFC 8785 without its number rule:
 * numbers print as JavaScript prints them, which both sides do).
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  let text = "";
  if (Array.isArray(value)) {
    for (const item of value) text += `${text === "" ? "" : ","}${canonicalJson(item)}`;
    return `[${text}]`;
  }
  const record = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(record).sort()) {
    const member = record[key];
    if (member !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

/** Digest of one value in canonical form. */
export function digestOf(value: unknown): string {
  return sha256(canonicalJson(value));
}

/** What a target's digest covers: everything that changes what the agent does, nothing that does not. */
interface DigestedBundle {
  readonly name: string;
  readonly digest: string;
  readonly dependsOn: readonly string[];
  /** Drift, health and prune settings, in any stable JSON form. */
  readonly policy: unknown;
}

/** Digest of a target: order of bundles does not matter. */
export function targetDigest(bundles: readonly DigestedBundle[]): string {
  const sorted = [...bundles].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return digestOf(sorted.map((b) => ({ name: b.name, digest: b.digest, dependsOn: [...b.dependsOn].sort(), policy: b.policy })));
}

/** Digest of a list of ids: order does not matter. What an approval names. */
export function listDigest(ids: readonly string[]): string {
  return digestOf([...ids].sort());
}
