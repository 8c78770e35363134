import { newCertificateRequest } from "@flotilla/agent/link/certificate-request";
import type { Identity } from "@flotilla/agent/link/link";
import { silentLog } from "@flotilla/agent/log";
import { reconnectPerSessionMs } from "@flotilla/hub/limits";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTcpProxy, type TcpProxy } from "../harness/tcp-proxy.ts";
import { waitFor } from "../harness/wait-for.ts";
import { type LinkRig, type Replica, type RigAgent, startLinkRig } from "./link-rig.ts";

const herd = 200;
/** What the hub tells so many agents to spread over. */
const spreadMs = herd * reconnectPerSessionMs;
/** Both sides of every handshake are this process: a busy machine takes a while. */
const allBackMs = 60_000;

let rig: LinkRig;
let hub: Replica;
let proxy: TcpProxy;
const agents: RigAgent[] = [];
/** What agents waited before they came back, as they logged it. */
const waits: number[] = [];

const log = {
  ...silentLog,
  warn(fields: object, message: string) {
    if (message === "not connected to the hub") waits.push((fields as { waitMs: number }).waitMs);
  },
};

/** As enrolment leaves it, without the door's limit of tokens a second. */
async function enrolled(cluster: string): Promise<Identity> {
  await rig.pool.query("INSERT INTO clusters (name, enrolled_at, last_seen_at) VALUES ($1, now(), now())", [cluster]);
  const request = newCertificateRequest();
  const { serial, spkiHash, notAfter, certificatePem } = await rig.ca.issueClient(request.csr, cluster);
  await rig.pool.query("INSERT INTO certificates (serial, cluster, spki_hash, not_after) VALUES ($1, $2, $3, $4)", [serial, cluster, spkiHash, notAfter]);
  return { cluster, certificatePem, privateKeyPem: request.privateKeyPem, caPem: rig.ca.caPem, linkAddress: `localhost:${proxy.port}`, enrolAddress: "" };
}

const allConnected = () => waitFor(() => agents.every(({ link }) => link.isConnected), { what: `${herd} streams`, timeoutMs: allBackMs });

beforeAll(async () => {
  rig = await startLinkRig();
  // The port is known before the hub listens, so that the hub can begin when all its clusters are there, as one that starts again does.
  const first = await rig.replica();
  const { port } = first.link;
  await first.close();
  proxy = await startTcpProxy({ target: { host: "127.0.0.1", port } });
  const identities: Identity[] = [];
  for (let index = 0; index < herd; index += 1) identities.push(await enrolled(`herd-${index}`));
  hub = await rig.replica({ port });
  for (const identity of identities) agents.push(await rig.agent(identity, { log }));
  await allConnected();
}, 180_000);

afterAll(async () => {
  await rig?.stop();
  await proxy?.stop();
});

describe("a herd of agents (fault 27)", () => {
  it("that lost its hub in one moment comes back spread over a time that grows with its size, and all of it", async () => {
    waits.length = 0;
    proxy.reset();
    await waitFor(() => waits.length >= herd, { what: "every stream's end" });
    const first = waits.slice(0, herd);
    expect(Math.max(...first)).toBeLessThanOrEqual(spreadMs);
    const parts = [0, 1, 2, 3].map((part) => first.filter((wait) => Math.min(3, Math.floor((wait / spreadMs) * 4)) === part).length);
    // 50 in each quarter on average, with a deviation of 6.
    for (const count of parts) expect(count, `in quarters of ${spreadMs} ms: ${parts.join(", ")}`).toBeGreaterThan(20);
    await allConnected();
    expect(hub.link.sessions).toBe(herd);
  });
});
