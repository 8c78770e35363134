import { X509Certificate } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { caHashesOf } from "@flotilla/agent/link/trusted-cas";
import { hubActor } from "@flotilla/hub/domain/actor";
import { activateAuthority, readAuthorities, retireAuthority, stageAuthority } from "@flotilla/hub/store/authorities";
import { createAuthority } from "@flotilla/hub/stream/certificate-authority";
import { FleetReportSchema } from "@flotilla/proto/gen/report";
import { protocolVersion } from "@flotilla/proto/limits";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { waitFor, waitForValue } from "../harness/wait-for.ts";
import { type LinkRig, rawStream, type Replica, type RigAgent, startLinkRig } from "./link-rig.ts";

let rig: LinkRig;
let hubs: [Replica, Replica];
/** The CA that the hub began with. */
let first: string;

beforeEach(async () => {
  rig = await startLinkRig();
  hubs = [await rig.replica(), await rig.replica()];
  first = rig.ca.caHash;
});

afterEach(() => rig.stop());

const reason = { ...hubActor, reason: "a test" };
const stage = async () => stageAuthority(rig.pool, rig.sealing, reason, await createAuthority());
const retire = (hash: string, force = false) => retireAuthority(rig.pool, reason, { hash, force });

/** As soon as the hub allows it: not every replica trusts a new CA at once. */
async function activate(hash: string, force = false): Promise<void> {
  await waitFor(() => activateAuthority(rig.pool, reason, { hash, force }), { what: `CA ${hash.slice(0, 12)} to be activated` });
}

const caOf = async (hash: string) => (await readAuthorities(rig.pool)).find((row) => row.hash === hash);

/** Until every agent trusts it, or has a certificate of it. */
const untilCounted = (hash: string, what: "trusting" | "holders", wanted: number) =>
  waitForValue(
    async () => (await caOf(hash))?.[what],
    (count) => count === wanted,
    { what: `${wanted} ${what} CA ${hash.slice(0, 12)}`, timeoutMs: 30_000 },
  );

const isOf = (agent: RigAgent, hash: string): boolean => {
  const signer = [...hubs[0].authorities.trusted].find(({ caHash }) => caHash === hash);
  return signer !== undefined && new X509Certificate(agent.identity.certificatePem).verify(new X509Certificate(signer.caPem).publicKey);
};

async function joined(cluster: string, replica: Replica): Promise<RigAgent> {
  const agent = await rig.agent(await rig.enrol(replica, cluster), { publishes: { stallMinMs: 1_000 }, dir: `outbox-${cluster}` });
  await waitFor(() => agent.link.isConnected && agent.publisher?.isConnected, { what: `${cluster} to connect` });
  return agent;
}

/** The same agent in another life, at another replica when one is given: what it kept is all it knows. */
async function again(agent: RigAgent, cluster: string, replica?: Replica): Promise<RigAgent> {
  const linkAddress = replica === undefined ? agent.identity.linkAddress : `localhost:${replica.link.port}`;
  return await rig.agent({ ...agent.identity, linkAddress }, { publishes: { stallMinMs: 1_000 }, dir: `outbox-${cluster}` });
}

/** Why streams ended, except that an agent opened one anew with a new certificate. */
const endsOf = (agent: RigAgent): string[] => agent.ends.filter((end) => end !== "the certificate was renewed");

const report = (message: string) => ({ case: "fleet" as const, value: create(FleetReportSchema, { fleet: "shop", revision: message }) });

describe("the hub's CA is changed (fault 36)", () => {
  it("under agents of two replicas: each step reaches all of them, no stream is refused, and at the end only the new one is trusted", async () => {
    const agents = await Promise.all(Array.from({ length: 6 }, (_, index) => joined(`a${index}`, hubs[(index % 2) as 0 | 1])));
    await untilCounted(first, "trusting", 6);
    const second = await stage();
    await untilCounted(second, "trusting", 6);
    expect(agents.map((agent) => caHashesOf(agent.identity.caPem))).toEqual(agents.map(() => [first, second]));
    expect((await caOf(second))?.holders).toBe(0);
    await activate(second);
    await untilCounted(second, "holders", 6);
    expect(agents.every((agent) => isOf(agent, second))).toBe(true);
    // Certificates of the new CA are taken by the other replica too.
    const [mover] = agents as [RigAgent];
    await mover.stop();
    const moved = await again(mover, "a0", hubs[1]);
    await waitFor(() => moved.link.isConnected, { what: "the agent at the other replica" });
    expect((await retire(first)).lockedOut).toEqual([]);
    await waitForValue(
      () => [moved, ...agents.slice(1)].map((agent) => caHashesOf(agent.identity.caPem)),
      (hashes) => hashes.every((own) => own.join() === second),
      { what: "every agent to forget the old CA" },
    );
    for (const agent of agents) expect(endsOf(agent)).toEqual([]);
    expect(agents.slice(1).every((agent) => agent.link.isConnected)).toBe(true);
    const { rows } = await rig.pool.query("SELECT act, outcome FROM audit_log WHERE act LIKE 'authority.%' AND outcome = 'done' ORDER BY seq");
    expect(rows.map(({ act }) => act)).toEqual(["authority.stage", "authority.activate", "authority.retire"]);
    expect((await rig.pool.query("SELECT 1 FROM authorities WHERE hash = $1 AND sealed_key IS NOT NULL", [first])).rowCount).toBe(0);
  });

  it("while an agent is away over stage and activation: it comes back by the old CA, whose retirement is refused until it has changed", async () => {
    const present = await joined("present", hubs[0]);
    const away = await joined("away", hubs[1]);
    await away.outbox.record(report("before"));
    await away.stop();
    const second = await stage();
    await untilCounted(second, "trusting", 1);
    await activate(second);
    await untilCounted(second, "holders", 1);
    expect(isOf(present, second)).toBe(true);
    await expect(retire(first)).rejects.toThrow(/still hang on CA .*: away$/);
    expect((await rig.pool.query("SELECT details FROM audit_log WHERE act = 'authority.retire' AND outcome = 'refused'")).rowCount).toBe(1);
    const back = await again(away, "away");
    await untilCounted(second, "holders", 2);
    expect(endsOf(back)).toEqual([]);
    expect((await retire(first)).lockedOut).toEqual([]);
    await waitFor(() => back.link.isConnected, { what: "the agent after the retirement" });
  });

  it("and retired by force over an agent that is away: it is locked out, named, and comes back by a token with its outbox", async () => {
    const away = await joined("away", hubs[0]);
    await away.stop();
    const second = await stage();
    await activate(second);
    expect(await retire(first, true)).toMatchObject({ lockedOut: ["away"] });
    const refused = await again(away, "away");
    await waitFor(() => refused.outbox.epoch !== "" && !refused.link.isConnected, { what: "an agent that is not connected" });
    await waitForValue(
      () => hubs[0].authorities.trusted.map(({ caHash }) => caHash),
      (hashes) => hashes.join() === second,
      { what: "the replica to forget the old CA" },
    );
    expect(refused.link.isConnected).toBe(false);
    await refused.stop();
    const token = await rig.addCluster("away");
    const identity = await rig.enrol(hubs[0], "away", { token, caHash: second });
    const back = await rig.agent(identity, { dir: "outbox-away" });
    await waitFor(() => back.link.isConnected, { what: "the agent with a new token" });
    expect(back.outbox.epoch).toBe(away.outbox.epoch);
  });

  it("and a token that was printed before still enrols, by the CA that it names, and its agent changes at once", async () => {
    const token = await rig.addCluster("late");
    const second = await stage();
    await activate(second);
    const late = await rig.agent(await rig.enrol(hubs[1], "late", { token, caHash: first }));
    expect(caHashesOf(late.identity.caPem)).toEqual([first]);
    await untilCounted(second, "holders", 1);
    expect(caHashesOf(late.identity.caPem)).toEqual([second, first]);
    const fresh = await rig.enrol(hubs[0], "fresh", { caHash: second });
    expect(caHashesOf(fresh.caPem)).toEqual([second]);
  });

  it("not while an agent of the version before is connected, which cannot hear of it: it is named", async () => {
    const identity = await rig.enrol(hubs[0], "aged");
    const stream = rawStream(identity);
    stream.say({ case: "hello", value: { cluster: "aged", protocolVersion, epoch: "a".repeat(32) } });
    const welcome = await waitFor(() => stream.answers[0]?.message, { what: "Welcome" });
    expect(welcome.case === "welcome" && "trust" in welcome.value && welcome.value.trust !== undefined).toBe(false);
    const second = await stage();
    await waitFor(
      () =>
        activateAuthority(rig.pool, reason, { hash: second, force: false }).catch(
          (error: Error) => error.message.includes("connected do not trust") && error.message,
        ),
      { what: "the refusal that names it" },
    ).then((message) => expect(message).toMatch(/: aged$/));
    stream.close();
  });

  it("in an order that can go wrong only with a word that says so", async () => {
    await expect(retire(first)).rejects.toThrow("it signs: another must be activated first");
    await expect(retire("f".repeat(64))).rejects.toThrow("there is no CA");
    const second = await stage();
    await expect(stage()).rejects.toThrow("staged already");
    await expect(activateAuthority(rig.pool, reason, { hash: second, force: false })).rejects.toThrow("not every replica");
    // Given up before it signed anything.
    expect((await retire(second)).lockedOut).toEqual([]);
    await expect(activateAuthority(rig.pool, reason, { hash: second, force: false })).rejects.toThrow("its key is gone");
    const third = await stage();
    await activate(third);
    await expect(activateAuthority(rig.pool, reason, { hash: third, force: false })).rejects.toThrow("it signs already");
    // And back, while both are trusted.
    await activate(first);
    expect((await caOf(third))?.state).toBe("retiring");
    expect((await caOf(first))?.state).toBe("active");
  });
});
