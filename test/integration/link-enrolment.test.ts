import { X509Certificate } from "node:crypto";
import type { EnrolError } from "@flotilla/agent/link/enrol";
import { enrolmentClient, callUnary } from "@flotilla/agent/link/hub-client";
import { idOnlyTracer } from "@flotilla/agent/telemetry";
import { authorityOf, createAuthority } from "@flotilla/hub/stream/certificate-authority";
import type { EnrolResponse } from "@flotilla/proto/gen/enrolment";
import { status } from "@grpc/grpc-js";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { waitFor } from "../harness/wait-for.ts";
import { type LinkRig, type Replica, startLinkRig } from "./link-rig.ts";

let rig: LinkRig;
let hub: Replica;

beforeAll(async () => {
  rig = await startLinkRig();
  hub = await rig.replica();
});

afterAll(() => rig.stop());

const failure = (promise: Promise<unknown>): Promise<EnrolError> =>
  promise.then(
    () => expect.unreachable("it should have failed"),
    (error: EnrolError) => error,
  );

describe("enrolment", () => {
  it("trades a token for a certificate of the token's cluster, which opens the link", async () => {
    const identity = await rig.enrol(hub, "happy");
    expect(identity.cluster).toBe("happy");
    expect(new X509Certificate(identity.certificatePem).subjectAltName).toBe("URI:spiffe://flotilla/cluster/happy");
    const agent = await rig.agent(identity);
    await waitFor(() => agent.link.isConnected);
    const { rows } = await rig.pool.query("SELECT phase, hub_id, facts, kubernetes_version, agent_version FROM seen_clusters WHERE name = 'happy'");
    expect(rows[0]).toMatchObject({ phase: "Connected", hub_id: hub.hubId, facts: { nodes: "3" }, kubernetes_version: "v1.36.3", agent_version: "test" });
    const events = await rig.pool.query("SELECT reason FROM events WHERE cluster = 'happy'");
    expect(events.rows).toEqual([{ reason: "AgentEnrolled" }]);
  });

  it("gives a token's worth to one of many who show it at once", async () => {
    const token = await rig.addCluster("raced");
    const tries = await Promise.allSettled([1, 2, 3, 4].map(() => rig.enrol(hub, "raced", { token })));
    expect(tries.filter((result) => result.status === "fulfilled")).toHaveLength(1);
  });

  it("refuses a token that was used, one that expired and one that is unknown, and says which", async () => {
    const used = await rig.addCluster("used");
    await rig.enrol(hub, "used", { token: used });
    expect(await failure(rig.enrol(hub, "used", { token: used }))).toMatchObject({ code: "TokenRefused", message: expect.stringContaining("used already") });
    const expired = await rig.addCluster("expired", 1);
    await waitFor(async () => (await rig.pool.query("SELECT 1 FROM enrol_tokens WHERE cluster = 'expired' AND expires_at < now()")).rowCount === 1);
    expect(await failure(rig.enrol(hub, "expired", { token: expired }))).toMatchObject({
      code: "TokenRefused",
      message: expect.stringContaining("has expired"),
    });
    expect(await failure(rig.enrol(hub, "none", { token: "fle_nothing" }))).toMatchObject({
      code: "TokenRefused",
      message: expect.stringContaining("not known"),
    });
    const events = await rig.pool.query("SELECT cluster FROM events WHERE reason = 'EnrolmentRefused' ORDER BY cluster");
    expect(events.rows.map((row) => row.cluster)).toEqual(expect.arrayContaining(["expired", "used"]));
  });

  it("sends no token to a hub with another CA", async () => {
    const token = await rig.addCluster("pinned");
    const error = await failure(rig.enrol(hub, "pinned", { token, caHash: "0".repeat(64) }));
    expect(error).toMatchObject({ code: "WrongHub", message: expect.stringContaining(rig.ca.caHash) });
    expect((await rig.enrol(hub, "pinned", { token })).cluster).toBe("pinned");
  });

  it("says that nobody answers, and that an address is none", async () => {
    expect(await failure(rig.enrol(hub, "nobody", { address: "localhost:1" }))).toMatchObject({ code: "Unreachable" });
    expect(await failure(rig.enrol(hub, "nobody", { address: "localhost" }))).toMatchObject({
      code: "Unreachable",
      message: expect.stringContaining("HOST:PORT"),
    });
  });

  it("gives an agent with another cluster's name in its CSR the token's cluster", async () => {
    const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
    const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const san = new x509.SubjectAlternativeNameExtension([{ type: "url", value: "spiffe://flotilla/cluster/victim" }]);
    const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: "CN=victim", keys, signingAlgorithm: algorithm, extensions: [san] });
    await rig.addCluster("victim");
    const token = await rig.addCluster("attacker");
    const client = enrolmentClient(`localhost:${hub.enrolment.port}`, rig.ca.caPem, idOnlyTracer);
    const { identity } = await callUnary<EnrolResponse>(client, "enrol", { token, csr: new Uint8Array(request.rawData) }, 5_000);
    expect(identity!.cluster).toBe("attacker");
    expect(new X509Certificate(identity!.certificate).subjectAltName).toBe("URI:spiffe://flotilla/cluster/attacker");
    const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
    const privateKeyPem = `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`;
    const stolen = {
      cluster: "victim",
      privateKeyPem,
      certificatePem: identity!.certificate,
      caPem: rig.ca.caPem,
      linkAddress: identity!.linkAddress,
      enrolAddress: "",
    };
    const agent = await rig.agent(stolen);
    await waitFor(async () => (await rig.pool.query("SELECT 1 FROM events WHERE reason = 'LinkRefused' AND cluster = 'attacker'")).rowCount === 1);
    expect(agent.link.isConnected).toBe(false);
    expect((await rig.pool.query("SELECT session FROM clusters WHERE name = 'victim'")).rows[0].session).toBe("0");
    client.close();
    await agent.stop();
  });

  it("does not burn the token of a bad request, and limits tries per address", async () => {
    const other = await rig.replica();
    const token = await rig.addCluster("limited");
    const client = enrolmentClient(`localhost:${other.enrolment.port}`, rig.ca.caPem, idOnlyTracer);
    await expect(callUnary(client, "enrol", { token, csr: new Uint8Array(3) }, 5_000)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    expect((await rig.enrol(other, "limited", { token })).cluster).toBe("limited");
    const codes = await Promise.all(
      Array.from({ length: 40 }, () => callUnary(client, "enrol", { token: "x", csr: new Uint8Array(3) }, 5_000).catch((error) => error.code)),
    );
    expect(codes).toContain(status.RESOURCE_EXHAUSTED);
    expect(await failure(rig.enrol(other, "limited"))).toMatchObject({ code: "TooMany", retryAfterMs: expect.any(Number) });
    client.close();
  });

  it("does not speak on the link without a certificate, or with one of another CA", async () => {
    const foreign = await authorityOf(await createAuthority());
    const identity = await rig.enrol(hub, "stranger");
    const { newCertificateRequest } = await import("@flotilla/agent/link/certificate-request");
    const request = newCertificateRequest();
    const forged = await foreign.issueClient(request.csr, "stranger");
    const agent = await rig.agent({ ...identity, privateKeyPem: request.privateKeyPem, certificatePem: forged.certificatePem });
    const client = enrolmentClient(`localhost:${hub.link.port}`, rig.ca.caPem, idOnlyTracer);
    await expect(callUnary(client, "enrol", { token: "x", csr: new Uint8Array(1) }, 5_000)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    client.close();
    expect(agent.link.isConnected).toBe(false);
    expect((await rig.pool.query("SELECT session FROM clusters WHERE name = 'stranger'")).rows[0].session).toBe("0");
    await agent.stop();
  });
});
