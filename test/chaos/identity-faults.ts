import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { newCertificateRequest } from "@flotilla/agent/link/certificate-request";
import { openAuthorityStore } from "@flotilla/hub/store/authorities";
import { openSealing } from "@flotilla/hub/store/sealing";
import { openAuthorities } from "@flotilla/hub/stream/authorities";
import type { Enrolment } from "@flotilla/proto/rest/contract";
import pg from "pg";
import { quietLog } from "../harness/quiet-log.ts";
import { waitFor } from "../harness/wait-for.ts";
import type { ChaosRig, RealMember } from "./chaos-rig.ts";
import { type FaultDriver, hubAndServers } from "./fault-driver.ts";

/** Of the certificate that an agent is left with while it is stopped: nobody waits for a day. */
const lifetimeMs = 2_000;

/** Who an agent is, is over. */
export const identityFaults: readonly FaultDriver[] = [
  {
    name: "agent away until its certificate has expired, and back by a new token",
    // All that it takes to come back; what hub and Postgres forget meanwhile would be its certificate.
    subjects: ["agents", "API servers", "links", ...hubAndServers],
    async act(rig, dice) {
      const member = dice.pick(rig.members);
      const { name, agent } = member;
      await agent.stop();
      try {
        const expiresAt = await leaveCertificate(rig, member);
        await waitFor(() => Date.now() > expiresAt, { what: "the end of a certificate" });
        await agent.restart();
        const said = await waitFor(async () => whyTurnedAway(await readFile(agent.logFile, "utf8"), agent.pid), {
          what: `the refusal of ${name}`,
          timeoutMs: 30_000,
        });
        await agent.stop();
        return { cluster: name, what: said };
      } finally {
        // Without one it would stay away for good.
        const { token } = await rig.api.request<Enrolment>("POST", `/api/v1/clusters/${name}/tokens`);
        if (agent.running) await agent.stop();
        await agent.restart(undefined, token);
        // A certificate that a database forgets takes another token.
        await waitFor(async () => isBack(await readFile(agent.logFile, "utf8"), agent.pid), { what: `the return of ${name}`, timeoutMs: 60_000 });
      }
    },
  },
];

function isBack(log: string, pid: number): boolean {
  return log.split("\n").some((one) => one.includes(`"pid":${pid},`) && one.includes("connected to the hub") && !one.includes("not connected"));
}

/** Of one life of the agent: its log has all of them. What its certificate says is over only by a clock that may be wrong. */
function whyTurnedAway(log: string, pid: number): string | undefined {
  const line = log.split("\n").find((one) => one.includes(`"pid":${pid},`) && one.includes("not connected to the hub"));
  return line === undefined ? undefined : (JSON.parse(line) as { reason: string }).reason;
}

/** The hub's own CA signs a certificate that is soon over, and the agent finds it as its own. @returns when it is over, epoch ms. */
async function leaveCertificate({ encryptionKeyFile, postgresStore }: ChaosRig, { name, kube }: RealMember): Promise<number> {
  const text = async (file: string) => (await readFile(join(postgresStore, file), "utf8")).trim();
  const pool = new pg.Pool({ connectionString: `postgres://flotilla:${await text("password")}@127.0.0.1:${await text("port")}/flotilla`, max: 2 });
  pool.on("error", () => undefined);
  const authorities = await openAuthorities(openAuthorityStore(pool, await openSealing(encryptionKeyFile)), {
    ...quietLog,
    error: () => undefined,
  });
  try {
    const { csr, privateKeyPem } = newCertificateRequest();
    const { certificatePem, serial, spkiHash, notAfter, authority } = await authorities.active.issueClient(csr, name, lifetimeMs);
    const values = [serial, name, spkiHash, notAfter, authority];
    await pool.query("INSERT INTO certificates (serial, cluster, spki_hash, not_after, authority) VALUES ($1, $2, $3, $4, $5)", values);
    const base64 = (pem: string): string => Buffer.from(pem).toString("base64");
    const data = { privateKeyPem: base64(privateKeyPem), certificatePem: base64(certificatePem) };
    await kube.client.mergePatch("/api/v1/namespaces/flotilla-system/secrets/flotilla-agent-identity", { data });
    return notAfter.getTime();
  } finally {
    await authorities.close();
    await pool.end();
  }
}
