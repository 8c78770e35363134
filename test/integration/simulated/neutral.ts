import type { RawAnswer } from "../../harness/simulated/raw-client.ts";

/** An answer without what is another in every cluster: versions, UIDs, times, allocated addresses. All else must be the same. */
export function neutral({ status, body }: RawAnswer): unknown {
  return { status, body: walk(sortedConflicts(body)) };
}

const changing = new Set(["resourceVersion", "time", "creationTimestamp", "deletionTimestamp", "lastTransitionTime", "clusterIP", "nodePort", "continue"]);
const uid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

function walk(value: unknown): unknown {
  if (typeof value === "string")
    return value
      .replaceAll(uid, "<uid>")
      .replaceAll(/Key: [^,]*, ResourceVersion: 0, AdditionalErrorMsg: /g, "")
      .replaceAll(/in record \(\d+\)/g, "in record (<version>)");
  if (Array.isArray(value)) return value.map(walk);
  if (typeof value !== "object" || value === null) return value;
  const { managedFields } = value as { managedFields?: unknown[] };
  if (Array.isArray(managedFields))
    return walk({ ...value, managedFields: undefined, owners: managedFields.toSorted((a, b) => (ownerKey(a) < ownerKey(b) ? -1 : 1)) });
  return Object.fromEntries(
    Object.entries(value).map(([name, child]) => [
      name,
      name === "clusterIPs" ? "<addresses>" : changing.has(name) && child !== null ? `<${name}>` : walk(child),
    ]),
  );
}

/** Owners are listed by the second in which they wrote: two servers may be on both sides of its end. */
function ownerKey(owner: unknown): string {
  const { manager, operation, apiVersion, subresource } = owner as Record<string, string | undefined>;
  return [manager, operation, apiVersion, subresource].join();
}

/** The order among managers is that of a Go map. */
function sortedConflicts(body: RawAnswer["body"]): object {
  const details = body.details as { causes?: { message: string; field: string }[] } | undefined;
  if (body.reason !== "Conflict" || !details?.causes) return body;
  return { ...body, details: { ...details, causes: details.causes.toSorted((a, b) => (a.message + a.field < b.message + b.field ? -1 : 1)) } };
}
