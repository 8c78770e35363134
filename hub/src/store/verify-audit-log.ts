import { emptyAudit, followAudit } from "@flotilla/proto/audit";
import type { AuditVerdict } from "@flotilla/proto/rest/contract";
import type pg from "pg";
import { auditPageRows } from "../limits.ts";
import { readAuditLog } from "./audit-log.ts";

/** Follows the whole chain, page by page: whether every act is there as it was written, and which is the first that is not. */
export async function verifyAuditLog(pool: pg.Pool): Promise<AuditVerdict> {
  let head = emptyAudit;
  let cursor: string | undefined;
  do {
    const page = await readAuditLog(pool, { limit: auditPageRows, cursor, order: "asc" });
    const followed = followAudit(head, page.items);
    head = followed.head;
    if (followed.fault !== undefined) return { ok: false, acts: head.seq, head, fault: followed.fault };
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
  return { ok: true, acts: head.seq, head, fault: null };
}
