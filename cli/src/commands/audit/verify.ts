import { buildCommand } from "@stricli/core";
import { type AuditFault, type AuditHead, emptyAudit, followAudit } from "@flotilla/proto/audit";
import type { AuditRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import { exitCodes } from "../../exit-codes.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { FleetError } from "../../fleet-error.ts";
import type { HubClient } from "../../hub-client.ts";
import { documentFlag, helpText } from "../../input/parameters.ts";
import { remark, say, structured } from "../../render/print.ts";

interface Flags extends HubFlags {
  readonly head: AuditHead | undefined;
  readonly output: "json" | "yaml" | undefined;
}

export const auditVerifyCommand = buildCommand({
  docs: {
    brief: "Check that no act was changed, taken out or put in",
    fullDescription: helpText(
      "Reads every act and follows the chain of hashes here, not in the hub. Prints the head; keep it, and give it with --head the next time: then acts that were cut off at the end, or a log that was made anew, are seen too.\nEnds with 1 where the chain is broken.",
      "fleet audit verify",
      "fleet audit verify --head 1204:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      "fleet audit verify -o json | jq -r '\"\\(.head.seq):\\(.head.hash)\"'",
    ),
  },
  parameters: {
    flags: {
      ...hubFlags,
      head: { kind: "parsed", parse: parseHead, optional: true, placeholder: "SEQ:HASH", brief: "A head that an earlier run printed" },
      output: documentFlag,
    },
    aliases: { o: "output" },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const { head, fault } = await follow(await connect(this, flags), flags.head);
    if (flags.output !== undefined) say(this, await structured({ ok: fault === undefined, acts: head.seq, head, fault: fault ?? null }, flags.output));
    if (fault !== undefined) throw new FleetError(`the audit log is broken at act ${fault.seq}: ${fault.why}`, exitCodes.failed, { hint: hintOf(head) });
    if (flags.output !== undefined) return;
    say(this, `${head.seq}:${head.hash}`);
    remark(this, `${head.seq} act${head.seq === 1 ? "" : "s"}, unbroken; the line above is the head`);
  },
});

function parseHead(input: string): AuditHead {
  const [, seq, hash] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(input) ?? [];
  if (seq === undefined || hash === undefined) throw new Error("it takes NUMBER:HASH, as `fleet audit verify` prints it");
  return { seq: Number(seq), hash };
}

/** The chain from its first act on; memory holds a page. */
async function follow(client: HubClient, known: AuditHead | undefined): Promise<{ readonly head: AuditHead; readonly fault?: AuditFault }> {
  let head = emptyAudit;
  for await (const { items } of client.pages<AuditRow>("/audit", { order: "asc" })) {
    const followed = followAudit(head, items);
    const changed = known && items.find(({ seq, hash }) => seq === known.seq && hash !== known.hash);
    if (changed)
      return {
        head,
        fault: { seq: changed.seq, why: "it is not the act that --head names: the log was made anew, or restored to an older state and continued" },
      };
    if (followed.fault !== undefined) return followed;
    ({ head } = followed);
  }
  if (known && head.seq < known.seq) return { head, fault: { seq: head.seq + 1, why: `acts up to ${known.seq} were there, and are cut off` } };
  return { head };
}

function hintOf(head: AuditHead): string {
  return head.seq === 0 ? "nothing before it can be trusted" : `acts 1 to ${head.seq} are as they were written; a backup of the database tells what followed`;
}
