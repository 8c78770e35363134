import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create } from "@bufbuild/protobuf";
import { newCertificateRequest } from "@flotilla/agent/link/certificate-request";
import { silentLog } from "@flotilla/agent/log";
import { revokeCredentials } from "@flotilla/hub/store/enrolment-store";
import { openLinkStore } from "@flotilla/hub/store/link-store";
import { FleetReportSchema } from "@flotilla/proto/gen/report";
import type { Target } from "@flotilla/proto/gen/target";
import { unpackBody } from "@flotilla/proto/body";
import { certificateBackdateMs, maxChunkBytes, protocolVersion } from "@flotilla/proto/limits";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startTcpProxy } from "../harness/tcp-proxy.ts";
import { waitFor } from "../harness/wait-for.ts";
import { bodyOf, type LinkRig, rawStream, type Replica, startLinkRig } from "./link-rig.ts";

let rig: LinkRig;
let hub: Replica;

beforeAll(async () => {
  rig = await startLinkRig();
  hub = await rig.replica({ heartbeatIntervalMs: 200, heartbeatDeadlineMs: 1_000 });
});

afterAll(() => rig.stop());

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** What this process, and the hub in it, holds after garbage went. */
function liveBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const joined = async (cluster: string, replica = hub) => {
  const agent = await rig.agent(await rig.enrol(replica, cluster));
  await waitFor(() => agent.link.isConnected, { what: `${cluster} to connect` });
  return agent;
};

describe("an agent of another version (fault 40)", () => {
  it.each([
    [protocolVersion, undefined],
    [protocolVersion + 1, `the agent speaks protocol ${protocolVersion + 1}; this hub serves ${protocolVersion} and the one before`],
    [0, `the agent speaks protocol 0; this hub serves ${protocolVersion} and the one before`],
    [99, `the agent speaks protocol 99; this hub serves ${protocolVersion} and the one before`],
  ])("that speaks protocol %i is served, or told why not", async (version, refusal) => {
    const cluster = `speaks-${version}`;
    const stream = rawStream(await rig.enrol(hub, cluster));
    stream.say({ case: "hello", value: { cluster, protocolVersion: version, epoch: "a".repeat(32) } });
    const heard = await waitFor(() => stream.end ?? stream.answers[0]?.message.case, { what: "the hub's answer" });
    expect(heard).toContain(refusal ?? "welcome");
    stream.close();
  });
});

describe("reports", () => {
  it("may leave out bundles that are as they were: Welcome tells the agent", async () => {
    const heard: boolean[] = [];
    const handlers = { onConnected: (hub: { readonly takesChangedBundles: boolean }) => void heard.push(hub.takesChangedBundles) };
    const agent = await rig.agent(await rig.enrol(hub, "brief"), { handlers });
    await waitFor(() => heard.length > 0, { what: "Welcome" });
    expect(heard).toEqual([true]);
    await agent.stop();
  });
});

describe("targets", () => {
  it("arrive whole, a 3 MB body in chunks, each body once", async () => {
    const agent = await joined("whole");
    const large = bodyOf("large", 4_000_000);
    const small = bodyOf("small");
    expect(large.compressed.length).toBeGreaterThan(3 * maxChunkBytes - 200_000);
    for (const body of [large, small]) await rig.saveBody(body);
    await rig.release({ fleet: "shop", cluster: "whole", generation: 1, bodies: [large, small] });
    await waitFor(() => agent.targets.length === 1);
    expect(unpackBody(large.digest, agent.bodies.get(large.digest)!)).toHaveLength(1);
    const next = bodyOf("next");
    await rig.saveBody(next);
    await rig.release({ fleet: "shop", cluster: "whole", generation: 2, bodies: [large, next] });
    await waitFor(() => agent.targets.length === 2);
    expect(agent.targets.map(({ generation, complete }) => [generation, complete])).toEqual([
      [1n, true],
      [2n, true],
    ]);
    const phases = async () => (await rig.pool.query("SELECT fleet, cluster, error FROM phases WHERE phase = 'send' AND cluster = 'whole'")).rows;
    expect(await waitFor(async () => ((await phases()).length > 0 ? phases() : undefined))).toEqual([{ fleet: "shop", cluster: "whole", error: "" }]);
  });

  it("are found by the poll when nobody was told", async () => {
    const agent = await joined("silent");
    const body = bodyOf("quiet");
    await rig.saveBody(body);
    const policy = { drift: "report", ignore: [], healthTimeoutMs: 1, pruneBudget: { objects: 1, percent: 1 } };
    const bundles = [
      { name: "b", digest: body.digest, objectCount: 1, bodyBytes: body.compressed.length, dependsOn: [], policy, excluded: ["/ConfigMap/default/x"] },
    ];
    await rig.pool.query("INSERT INTO target_specs (digest, bundles) VALUES ('d', $1)", [JSON.stringify(bundles)]);
    await rig.pool.query("INSERT INTO targets (fleet, cluster, generation, revision, digest, bundles) VALUES ('shop', 'silent', 7, 'r', 'd', $1)", [
      JSON.stringify(bundles),
    ]);
    await waitFor(() => agent.targets.length === 1, { timeoutMs: 6_000 });
    expect(agent.targets[0]!.bundles[0]!.excluded).toEqual(["/ConfigMap/default/x"]);
  });

  it("are not sent again to an agent that holds them, and are after they changed while it was away", async () => {
    const agent = await joined("back");
    const body = bodyOf("back");
    await rig.saveBody(body);
    await rig.release({ fleet: "shop", cluster: "back", generation: 1, bodies: [body] });
    await waitFor(() => agent.targets.length === 1);
    await agent.stop();
    const again = await rig.agent(agent.identity, {
      handlers: { held: () => agent.targets.map(({ fleet, generation, digest }) => ({ $typeName: "fleet.v1.HeldTarget", fleet, generation, digest })) },
    });
    again.bodies.set(body.digest, body.compressed);
    await waitFor(() => again.link.isConnected);
    await rig.release({ fleet: "other", cluster: "back", generation: 1, bodies: [body] });
    await waitFor(() => again.targets.length > 0);
    expect(again.targets.map(({ fleet }) => fleet)).toEqual(["other"]);
  });

  it.each([
    ["come after the little that the agent lacks, where it takes that unasked", true, ["bodyChunk", "target"]],
    ["come alone to an agent of the version before, which asks", false, ["target"]],
  ])("%s", async (_what, takesBodiesUnasked, expected) => {
    const cluster = `unasked-${takesBodiesUnasked}`;
    const agent = await joined(cluster);
    await agent.stop();
    const [first, next] = [bodyOf("first"), bodyOf(`next of ${cluster}`)];
    for (const body of [first, next]) await rig.saveBody(body);
    const digest = await rig.release({ fleet: "shop", cluster, generation: 1, bodies: [first] });
    const { answers, say, close } = rawStream(agent.identity);
    const targets = [{ fleet: "shop", generation: 1n, digest }];
    say({ case: "hello", value: { cluster, protocolVersion, epoch: "a".repeat(32), targets, takesBodiesUnasked } });
    await waitFor(() => answers.some(({ message }) => message.case === "welcome"));
    // What the agent holds is known when its targets have been read once: one of another fleet says so.
    await rig.release({ fleet: "other", cluster, generation: 1, bodies: [first] });
    const ofBodies = () => answers.map(({ message }) => message.case ?? "").filter((name) => name === "bodyChunk" || name === "target");
    await waitFor(() => ofBodies().length === 1);
    await rig.release({ fleet: "shop", cluster, generation: 2, bodies: [first, next] });
    await waitFor(() => ofBodies().filter((name) => name === "target").length === 2);
    expect(ofBodies().slice(1)).toEqual(expected);
    close();
  });

  it("of another cluster cannot be had by asking for their bodies", async () => {
    const secret = bodyOf("secret");
    await rig.saveBody(secret);
    await rig.release({ fleet: "shop", cluster: "owner", generation: 1, bodies: [secret] });
    const spy = await joined("spy");
    const mine = bodyOf("mine");
    await rig.saveBody(mine);
    await spy.stop();
    const { answers, say, close } = rawStream(spy.identity);
    say({ case: "hello", value: { cluster: "spy", protocolVersion, epoch: "a".repeat(32) } });
    await waitFor(() => answers.some(({ message }) => message.case === "welcome"));
    say({ case: "bodyRequest", value: { digests: [secret.digest] } });
    const refused = await waitFor(() => answers.find(({ message }) => message.case === "bodyUnavailable"));
    expect(refused.message.value).toMatchObject({ digest: secret.digest, reason: "it is not part of a target of this cluster" });
    expect(answers.some(({ message }) => message.case === "bodyChunk")).toBe(false);
    close();
  });

  it("do not queue up for an agent behind a slow wire: it gets the newest, the hub's memory stays, and others do not wait (fault 29)", async () => {
    const replica = await rig.replica({ heartbeatIntervalMs: 500, heartbeatDeadlineMs: 20_000 });
    const proxy = await startTcpProxy({ target: { host: "127.0.0.1", port: replica.link.port } });
    // Only the newest is kept: what this process holds is to be the hub's.
    const behind = async (name: string, port: number) => {
      const seen = { count: 0, newest: 0n };
      const onTarget = ({ generation }: Target) => Object.assign(seen, { count: seen.count + 1, newest: generation });
      const agent = await rig.agent({ ...(await rig.enrol(replica, name)), linkAddress: `localhost:${port}` }, { handlers: { onTarget } });
      await waitFor(() => agent.link.isConnected, { what: `${name} to connect` });
      return { agent, seen };
    };
    const quick = await behind("quick", replica.link.port);
    const slow = await behind("slow", proxy.port);
    // 64 kbit/s: a target of 300 bundles takes seconds, and all of them would be tens of megabytes.
    proxy.limitRate(8_000);
    const bodies = Array.from({ length: 300 }, (_, index) => bodyOf(`part-${index}`, 20));
    for (const body of bodies) await rig.saveBody(body);
    const releases = 300;
    let before = 0;
    for (let generation = 1; generation <= releases; generation += 1) {
      if (generation === 100) before = liveBytes();
      const revision = generation.toString(16).padStart(40, "0");
      for (const cluster of ["quick", "slow"]) await rig.release({ fleet: "shop", cluster, generation, bodies, revision });
    }
    await waitFor(() => quick.seen.newest === BigInt(releases), { what: "the quick agent's newest target", timeoutMs: 5_000 });
    const grownBytes = liveBytes() - before;
    // 1 to 3 MB were seen here, and 41 MB with a queue planted.
    expect(grownBytes).toBeLessThan(15_000_000);
    proxy.heal();
    await waitFor(() => slow.seen.newest === BigInt(releases), { what: "the slow agent's newest target", timeoutMs: 30_000 });
    expect(slow.seen.count).toBeLessThan(releases / 10);
    expect(slow.agent.ends).toEqual([]);
    for (const { agent } of [quick, slow]) await agent.stop();
    await proxy.stop();
    await replica.close();
  });

  it("with a tombstone carry no bundles", async () => {
    const agent = await joined("leaver");
    const body = bodyOf("leaver");
    await rig.saveBody(body);
    await rig.release({ fleet: "shop", cluster: "leaver", generation: 4, bodies: [body], tombstone: "delete" });
    await waitFor(() => agent.targets.length === 1);
    expect(agent.targets[0]).toMatchObject({ bundles: [], tombstone: { policy: 2 }, generation: 4n });
  });
});

describe("commands", () => {
  it("are carried out once, and answered", async () => {
    const agent = await joined("commanded");
    await rig.pool.query(
      "INSERT INTO commands (id, cluster, kind, fleet, expires_at) VALUES ('c1', 'commanded', 'sync', 'shop', now() + interval '1 minute'), ('c2', 'commanded', 'sync', 'late', now() - interval '1 second')",
    );
    await rig.pool.query("SELECT pg_notify('flotilla_commands', '{\"clusters\":[\"commanded\"]}')");
    await waitFor(
      async () =>
        (await rig.pool.query("SELECT 1 FROM commands WHERE id = 'c1' AND acked_at IS NOT NULL AND error IS NULL AND sent_at IS NOT NULL")).rowCount === 1,
    );
    expect(agent.commands.map(({ id }) => id)).toEqual(["c1"]);
    await rig.pool.query("UPDATE commands SET acked_at = NULL WHERE id = 'c1'");
    await waitFor(async () => (await rig.pool.query("SELECT 1 FROM commands WHERE id = 'c1' AND acked_at IS NOT NULL")).rowCount === 1);
    expect(agent.commands).toHaveLength(1);
  });

  it("of a person do not wait for gates, however many are open", async () => {
    const carriedOut: string[] = [];
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const agent = await rig.agent(await rig.enrol(hub, "gated"), {
      handlers: {
        onCommand: async ({ id, kind }) => {
          carriedOut.push(id);
          if (kind.case === "gate") await ended;
        },
      },
    });
    await waitFor(() => agent.link.isConnected);
    const question = { revision: "a".repeat(40), wave: "canary", kind: "job", job: { name: "smoke", namespace: "shop", spec: {}, timeoutMs: 60_000 } };
    await rig.pool.query(
      `INSERT INTO commands (id, cluster, kind, fleet, expires_at, question)
       SELECT 'gate-' || n, 'gated', 'gate', 'shop', now() + interval '1 minute', $1::jsonb FROM generate_series(1, 40) n`,
      [JSON.stringify(question)],
    );
    await rig.pool.query("SELECT pg_notify('flotilla_commands', '{\"clusters\":[\"gated\"]}')");
    const gates = (): number => carriedOut.filter((id) => id.startsWith("gate-")).length;
    await waitFor(() => gates() === 16);
    await rig.pool.query("INSERT INTO commands (id, cluster, kind, fleet, expires_at) VALUES ('urgent', 'gated', 'sync', 'shop', now() + interval '1 minute')");
    await rig.pool.query("SELECT pg_notify('flotilla_commands', '{\"clusters\":[\"gated\"]}')");
    await waitFor(async () => (await rig.pool.query("SELECT 1 FROM commands WHERE id = 'urgent' AND acked_at IS NOT NULL")).rowCount === 1);
    expect(gates()).toBe(16);
    end();
    await waitFor(
      async () => (await rig.pool.query("SELECT 1 FROM commands WHERE cluster = 'gated' AND kind = 'gate' AND acked_at IS NOT NULL")).rowCount === 40,
    );
  });

  it("ask for a snapshot when the row wishes one, and tell why one failed", async () => {
    const agent = await rig.agent(await rig.enrol(hub, "wished"), {
      handlers: {
        onCommand: async () => {
          throw new Error("the API server is away");
        },
      },
    });
    await waitFor(() => agent.link.isConnected);
    await rig.pool.query("UPDATE clusters SET wants_snapshot = true WHERE name = 'wished'");
    const answered = await waitFor(
      async () => (await rig.pool.query("SELECT kind, error FROM commands WHERE cluster = 'wished' AND acked_at IS NOT NULL")).rows[0],
    );
    expect(answered).toEqual({ kind: "snapshot", error: "the API server is away" });
    expect((await rig.pool.query("SELECT wants_snapshot FROM clusters WHERE name = 'wished'")).rows[0].wants_snapshot).toBe(false);
  });

  it("are found by who looks for what waits, and with them wishes and rights that were just taken away; nothing else is", async () => {
    const store = openLinkStore(rig.pool, rig.sealing);
    const own = async () => {
      const { commands, states } = await store.readWaiting(60_000);
      return [commands, states].map((names) => names.filter((name) => name.startsWith("waits-")).sort());
    };
    for (const name of ["command", "done", "late", "snapshot", "resend", "revoked", "nothing"]) await rig.addCluster(`waits-${name}`);
    expect(await own()).toEqual([[], []]);
    const command =
      "INSERT INTO commands (id, cluster, kind, expires_at, acked_at) VALUES ($1, 'waits-' || $1, 'resync', now() + $2 * interval '1 minute', $3)";
    await rig.pool.query(command, ["command", 1, null]);
    await rig.pool.query(command, ["done", 1, new Date()]);
    await rig.pool.query(command, ["late", -1, null]);
    await rig.pool.query("UPDATE clusters SET wants_snapshot = name = 'waits-snapshot', wants_resend = name = 'waits-resend' WHERE name LIKE 'waits-%'");
    await rig.pool.query(
      "INSERT INTO certificates (serial, cluster, spki_hash, not_after, revoked_at) SELECT 'w' || age, CASE age WHEN 0 THEN 'waits-revoked' ELSE 'waits-nothing' END, 'x', now(), now() - age * interval '1 hour' FROM generate_series(0, 1) age",
    );
    expect(await own()).toEqual([["waits-command"], ["waits-resend", "waits-revoked", "waits-snapshot"]]);
  });

  it("renew the certificate, and the stream goes on with the new one", async () => {
    const agent = await joined("renewed");
    const before = agent.identity.certificatePem;
    await rig.pool.query("INSERT INTO commands (id, cluster, kind, expires_at) VALUES ('r1', 'renewed', 'renew', now() + interval '1 minute')");
    await waitFor(() => agent.identity.certificatePem !== before && agent.link.isConnected);
    const { rows } = await rig.pool.query("SELECT count(*)::int AS alive FROM certificates WHERE cluster = 'renewed' AND revoked_at IS NULL");
    expect(rows[0].alive).toBe(2);
  });
});

describe("time", () => {
  it("renews a certificate at two thirds of its life, and the stream goes on with the new one (fault 34)", async () => {
    const enrolled = await rig.enrol(hub, "timed");
    const request = newCertificateRequest();
    // Backdated by five minutes as all are: two thirds of its life are over in six seconds, without the chance of half a minute more or less.
    const issued = await rig.ca.issueClient(request.csr, "timed", certificateBackdateMs / 2 + 9_000);
    await rig.pool.query("INSERT INTO certificates (serial, cluster, spki_hash, not_after) VALUES ($1, 'timed', $2, $3)", [
      issued.serial,
      issued.spkiHash,
      issued.notAfter,
    ]);
    const chance = vi.spyOn(Math, "random").mockReturnValue(0.5);
    const agent = await rig
      .agent({ ...enrolled, certificatePem: issued.certificatePem, privateKeyPem: request.privateKeyPem })
      .finally(() => chance.mockRestore());
    await waitFor(() => agent.link.isConnected, { what: "the first stream" });
    expect(agent.identity.certificatePem).toBe(issued.certificatePem);
    await waitFor(() => agent.identity.certificatePem !== issued.certificatePem, { what: "the renewal" });
    await waitFor(() => agent.link.isConnected, { what: "the next stream" });
    const { rows } = await rig.pool.query("SELECT reason FROM events WHERE cluster = 'timed' AND reason = 'CertificateRenewed'");
    expect(rows).toHaveLength(1);
  });

  it("ends a stream when its certificate has expired, and a new token brings the agent back with its outbox (fault 34)", async () => {
    const enrolled = await rig.enrol(hub, "expired");
    const first = await rig.agent(enrolled, { dir: "expired" });
    await waitFor(() => first.link.isConnected);
    await first.outbox.record({ case: "fleet", value: create(FleetReportSchema, { fleet: "shop" }) });
    await first.stop();
    const request = newCertificateRequest();
    const issued = await rig.ca.issueClient(request.csr, "expired", 4_000);
    await rig.pool.query("INSERT INTO certificates (serial, cluster, spki_hash, not_after) VALUES ($1, 'expired', $2, $3)", [
      issued.serial,
      issued.spkiHash,
      issued.notAfter,
    ]);
    const identity = { ...enrolled, certificatePem: issued.certificatePem, privateKeyPem: request.privateKeyPem };
    // A stream without an agent: an agent would renew in time.
    const stream = rawStream(identity);
    stream.say({ case: "hello", value: { cluster: "expired", protocolVersion, epoch: first.outbox.epoch } });
    await waitFor(() => stream.answers.some(({ message }) => message.case === "welcome"));
    const beat = setInterval(() => stream.say({ case: "heartbeat", value: { count: 1n } }), 100);
    const end = await waitFor(() => stream.end, { what: "the end of the stream", timeoutMs: 10_000 });
    clearInterval(beat);
    expect(end).toContain("the client certificate has expired");
    expect(Date.now()).toBeGreaterThanOrEqual(issued.notAfter.getTime());
    stream.close();

    const reasons: string[] = [];
    const log = { ...silentLog, warn: (fields: object) => void reasons.push((fields as { reason?: string }).reason ?? "") };
    const late = await rig.agent(identity, { dir: "expired", log });
    await waitFor(() => reasons.length > 0, { what: "the late agent's first refusal" });
    expect(reasons[0]).toMatch(/the certificate of this agent has expired \(.*\): start it with a new token, from fleet cluster token expired/);
    expect(late.link.isConnected).toBe(false);
    await late.stop();
    const back = await rig.agent(await rig.enrol(hub, "expired"), { dir: "expired" });
    await waitFor(() => back.link.isConnected, { what: "the agent with a new token" });
    expect(back.outbox).toMatchObject({ epoch: first.outbox.epoch, newestSeq: 1n, oldestSeq: 1n });
  });

  it("moves a stream now and then: the hub says goodbye, and the agent is back on its own", async () => {
    const replica = await rig.replica({ heartbeatIntervalMs: 200, heartbeatDeadlineMs: 1_000, sessionAgeMs: 600 });
    const agent = await joined("moved", replica);
    await waitFor(() => agent.ends.includes("streams move now and then"), { what: "the goodbye" });
    await waitFor(() => agent.link.isConnected, { what: "the next stream" });
    await agent.stop();
    await replica.close();
  });
});

describe("watermarks", () => {
  it("reach the outbox, and a new epoch begins at 0", async () => {
    const agent = await joined("marked");
    await agent.outbox.record({ case: "fleet", value: create(FleetReportSchema, { fleet: "shop" }) });
    await rig.pool.query("UPDATE clusters SET watermark = 1 WHERE name = 'marked'");
    await rig.pool.query("SELECT pg_notify('flotilla_watermarks', '{\"clusters\":[\"marked\"]}')");
    await waitFor(() => agent.outbox.watermark === 1n);
    expect(agent.outbox.oldestSeq).toBe(2n);
    await agent.stop();
    const other = await rig.agent(agent.identity);
    await waitFor(() => other.link.isConnected);
    expect((await rig.pool.query("SELECT epoch, watermark FROM clusters WHERE name = 'marked'")).rows[0]).toEqual({
      epoch: other.outbox.epoch,
      watermark: "0",
    });
  });

  it("beyond what the outbox holds begin a new epoch and ask for a snapshot", async () => {
    const agent = await joined("restored");
    const { epoch } = agent.outbox;
    let asked = 0;
    agent.outbox.onSnapshotNeeded(() => (asked += 1));
    await rig.pool.query("UPDATE clusters SET watermark = 100 WHERE name = 'restored'");
    await waitFor(
      async () =>
        agent.outbox.epoch !== epoch &&
        (await rig.pool.query("SELECT 1 FROM clusters WHERE name = 'restored' AND epoch = $1 AND watermark = 0", [agent.outbox.epoch])).rowCount === 1,
    );
    expect(asked).toBeGreaterThan(0);
  });
});

describe("the end of a stream", () => {
  it("comes within 5 s when its cluster is revoked, and no new one opens (fault 38)", async () => {
    const agent = await joined("revoked");
    const started = Date.now();
    await revokeCredentials(rig.pool, "revoked");
    await waitFor(() => !agent.link.isConnected, { timeoutMs: 5_000, everyMs: 10 });
    expect(Date.now() - started).toBeLessThan(5_000);
    expect(agent.ends.join()).toContain("revoked");
    const again = await rig.agent(agent.identity);
    await waitFor(async () => (await rig.pool.query("SELECT hub_id FROM clusters WHERE name = 'revoked'")).rows[0].hub_id === null);
    expect(again.link.isConnected).toBe(false);
  });

  it("comes within 5 s also when nobody was told", async () => {
    const agent = await joined("removed");
    await rig.pool.query("UPDATE clusters SET removed_at = now() WHERE name = 'removed'");
    await waitFor(() => agent.ends.length > 0, { timeoutMs: 5_000 });
  });

  it("is seen on both sides when the wire goes dead without a word (fault 28)", async () => {
    const proxy = await startTcpProxy({ target: { host: "127.0.0.1", port: hub.link.port } });
    const identity = { ...(await rig.enrol(hub, "halfopen")), linkAddress: `localhost:${proxy.port}` };
    const agent = await rig.agent(identity);
    await waitFor(() => agent.link.isConnected);
    const isHeld = async () => (await rig.pool.query("SELECT hub_id FROM clusters WHERE name = 'halfopen'")).rows[0].hub_id !== null;
    await waitFor(isHeld);
    proxy.hold();
    await waitFor(() => agent.ends.some((end) => end.includes("silent")), { timeoutMs: 5_000 });
    await waitFor(async () => !(await isHeld()), { timeoutMs: 5_000 });
    proxy.heal();
    await waitFor(() => agent.link.isConnected, { timeoutMs: 30_000 });
    await agent.stop();
    await proxy.stop();
  });

  it("comes to the older of two streams of one cluster, also at another replica", async () => {
    const second = await rig.replica({ heartbeatIntervalMs: 200, heartbeatDeadlineMs: 1_000 });
    const agent = await joined("twice");
    const twin = await rig.agent({ ...agent.identity, linkAddress: `localhost:${second.link.port}` });
    await waitFor(() => twin.link.isConnected);
    await waitFor(() => agent.ends.some((end) => end.includes("newer stream")));
    await agent.stop();
    await second.close();
  });

  it("comes in order when a replica drains, and its agents go to the next one", async () => {
    const first = await rig.replica();
    const agent = await rig.agent(await rig.enrol(first, "moved"));
    await waitFor(() => agent.link.isConnected);
    const port = first.link.port;
    await first.link.drain();
    expect(first.link.sessions).toBe(0);
    expect(agent.ends.join()).toContain("the hub is going away");
    await first.close();
    const proxy = await startTcpProxy({ target: { host: "127.0.0.1", port: hub.link.port }, port });
    await waitFor(() => agent.link.isConnected, { timeoutMs: 20_000 });
    expect((await rig.pool.query("SELECT hub_id FROM clusters WHERE name = 'moved'")).rows[0].hub_id).toBe(hub.hubId);
    await agent.stop();
    await proxy.stop();
  });

  it("does not come to one that is heard: its lease is kept", async () => {
    // Patient with a process that stalls: what is asked is whether the lease grows.
    const replica = await rig.replica({ heartbeatIntervalMs: 500, heartbeatDeadlineMs: 20_000 });
    const agent = await rig.agent(await rig.enrol(replica, "leased"));
    await waitFor(() => agent.link.isConnected);
    const lease = async () => (await rig.pool.query("SELECT lease_until FROM clusters WHERE name = 'leased'")).rows[0].lease_until as Date;
    const first = await lease();
    await waitFor(async () => (await lease()) > first, { timeoutMs: 10_000 });
    expect(agent.ends).toEqual([]);
    await agent.stop();
    await replica.close();
  });
});
