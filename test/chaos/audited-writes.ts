import type { ChaosRig } from "./chaos-rig.ts";

/** A write of a ConfigMap that an API server carried out, as its audit log has it: what the agents say of themselves is not asked. */
export interface AuditedWrite {
  readonly cluster: string;
  readonly object: string;
  /** When the request came, epoch ms by a clock that is right. */
  readonly at: number;
  readonly kind: "made" | "changed" | "deleted";
  readonly byAgent: boolean;
  /** A delete said whose UID it meant. */
  readonly hasUid: boolean;
}

/** All writes to the fleet's namespace in the clusters with a real API server, oldest first. */
export async function auditedWrites(rig: ChaosRig): Promise<AuditedWrite[]> {
  const each = rig.members.map(async ({ name: cluster, kube }) => {
    const writes: AuditedWrite[] = [];
    for (const { verb, userAgent, requestURI, objectRef, requestObject, requestReceivedTimestamp, responseStatus, stage } of await kube.auditedRequests()) {
      const [kind, object] = [kindOf(verb, responseStatus?.code), objectRef?.name];
      if (kind === undefined || stage !== "ResponseComplete" || requestURI.includes("dryRun")) continue;
      if (objectRef?.namespace !== "default" || objectRef.resource !== "configmaps" || object === undefined) continue;
      const hasUid = Boolean(requestObject?.preconditions?.uid);
      writes.push({ cluster, object, at: Date.parse(requestReceivedTimestamp), kind, byAgent: userAgent === "flotilla-agent", hasUid });
    }
    return writes;
  });
  return (await Promise.all(each)).flat().sort((a, b) => a.at - b.at);
}

/** An apply answers 201 when it made the object. */
function kindOf(verb: string, code: number | undefined): AuditedWrite["kind"] | undefined {
  if (code === 201) return "made";
  if (code !== 200) return undefined;
  if (verb === "delete") return "deleted";
  return verb === "patch" || verb === "update" ? "changed" : undefined;
}
