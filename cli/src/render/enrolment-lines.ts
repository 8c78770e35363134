import { durationOf } from "@flotilla/proto/plain-words";
import type { Enrolment } from "@flotilla/proto/rest/contract";
import type { Environment } from "../fleet-context.ts";

/** The one command that joins a cluster, ready to paste. Run through npx, it is written so. */
export function installCommand(enrolment: Enrolment, env: Environment): string {
  const fleet = env.npm_command === "exec" ? "npx fleet" : "fleet";
  const { cluster, enrolAddress, caHash, token } = enrolment;
  return `${fleet} agent install --cluster ${cluster} --hub ${enrolAddress} --ca-hash ${caHash} --token ${token}`;
}

/** What stands beside the command, on stderr. */
export function enrolmentRemarks(enrolment: Enrolment, now: number): string[] {
  return [
    `cluster ${enrolment.cluster} may join for ${durationOf(Date.parse(enrolment.expiresAt) - now)}, once. Run this where kubectl reaches it (--context NAME for another than the current one):`,
    "",
  ];
}
