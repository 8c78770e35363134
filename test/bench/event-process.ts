import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { enrol } from "@flotilla/agent/link/enrol";
import { openLink } from "@flotilla/agent/link/link";
import { FleetReporter } from "@flotilla/agent/reconcile/fleet-reporter";
import { newFleetRun } from "@flotilla/agent/reconcile/fleet-run";
import { openOutbox, type Outbox } from "@flotilla/agent/report/outbox";
import { startPublisher } from "@flotilla/agent/report/publisher";
import type { Log } from "@flotilla/agent/log";
import { idOnlyTracer } from "@flotilla/agent/telemetry";
import { TargetSchema } from "@flotilla/proto/gen/target";
import type { EventAnswers, EventCounts, EventMember, EventQuestion } from "./event-words.ts";

/**
 * One process of agents without a cluster: each has the agent's own reporter, outbox on disk, link with mutual TLS and publisher, and tells of objects that were
 * applied, each once. `node event-process.ts FOLDER`, forked with IPC by event-crowd.ts.
 */

const [folder = ""] = process.argv.slice(2);
const tellError = (fields: object, message: string): void => void process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
const log: Log = { debug() {}, info() {}, warn() {}, error: tellError };
const bundles = 10;

interface Teller {
  readonly name: string;
  readonly reporter: FleetReporter;
  readonly outbox: Outbox;
  readonly isConnected: boolean;
  told: number;
  close(): Promise<void>;
}

const tellers: Teller[] = [];
let timer: NodeJS.Timeout | undefined;

async function openTeller({ name, enrolAddress, token, caHash }: EventMember): Promise<Teller> {
  const dir = join(folder, name);
  await mkdir(dir, { recursive: true });
  let identity = await enrol({ address: enrolAddress, token, caHash, agentVersion: "bench", tracer: idOnlyTracer });
  const outbox = await openOutbox({ dir, cluster: name, log });
  const link = openLink({
    identity,
    identityStore: { load: async () => identity, save: async (next) => void (identity = next) },
    bodies: { has: () => true, put: async () => undefined },
    outbox,
    log,
    agentVersion: "bench",
    tracer: idOnlyTracer,
    handlers: {
      onTarget: () => undefined,
      onCommand: async () => undefined,
      onConnected: () => undefined,
      onDisconnected: () => undefined,
      held: () => [],
      facts: () => ({}),
      kubernetesVersion: () => "v1.36.3",
    },
  });
  const publisher = startPublisher({ outbox, credentials: (key) => link.issueBrokerCredentials(key), log });
  const run = newFleetRun("shop");
  run.target = create(TargetSchema, { fleet: "shop", generation: 1n, revision: randomBytes(20).toString("hex"), digest: randomBytes(32).toString("hex") });
  run.desired = { ...run.desired, bundles: new Map(Array.from({ length: bundles }, (_, index) => [`app-${index}`, policyOf(`app-${index}`)])) };
  const reporter = new FleetReporter(run, outbox, log, () => undefined);
  return {
    name,
    reporter,
    outbox,
    get isConnected() {
      return link.isConnected && publisher.isConnected;
    },
    told: 0,
    async close() {
      reporter.close();
      await publisher.close();
      await link.close();
      await outbox.close();
    },
  };
}

type Policy = ReturnType<typeof newFleetRun>["desired"]["bundles"] extends ReadonlyMap<string, infer P> ? P : never;

/** Nothing but its name and digest is read for a report of events. */
function policyOf(name: string): Policy {
  return { name, digest: randomBytes(32).toString("hex"), healthTimeoutMs: 300_000 } as Partial<Policy> as Policy;
}

/** An object of its own for each event: whoever counts them later finds each missing and each second one. */
function tellOne(teller: Teller): void {
  teller.told += 1;
  const name = `app-${String(teller.told).padStart(7, "0")}`;
  teller.reporter.event("Applied", `ConfigMap default/${name} configured`, {
    bundle: `app-${teller.told % bundles}`,
    object: { group: "", kind: "ConfigMap", namespace: "default", name },
  });
}

/** As many as are due since the last look, by turns: a process that was held up makes up for it. */
function startTelling(perSecond: number): void {
  clearInterval(timer);
  if (perSecond === 0) return;
  const began = performance.now();
  let done = 0;
  timer = setInterval(() => {
    const due = Math.floor(((performance.now() - began) / 1_000) * perSecond);
    for (; done < due; done += 1) tellOne(tellers[done % tellers.length] as Teller);
  }, 10);
}

const answers: { [Ask in keyof EventAnswers]: (question: Extract<EventQuestion, { ask: Ask }>) => Promise<EventAnswers[Ask]> } = {
  async join({ members }) {
    tellers.push(...(await Promise.all(members.map(openTeller))));
    return tellers.length;
  },
  async tell({ perSecond }) {
    startTelling(perSecond);
    if (perSecond === 0) await Promise.all(tellers.map(({ reporter }) => reporter.flush()));
    return undefined;
  },
  async count() {
    const { user, system } = process.cpuUsage();
    const waiting = tellers.reduce((sum, { outbox }) => sum + Number(outbox.newestSeq - outbox.watermark), 0);
    const connected = tellers.filter(({ isConnected }) => isConnected).length;
    return {
      told: Object.fromEntries(tellers.map(({ name, told }) => [name, told])),
      waiting,
      connected,
      cpuSeconds: (user + system) / 1e6,
    } satisfies EventCounts;
  },
  async stop() {
    clearInterval(timer);
    await Promise.all(tellers.map((teller) => teller.close()));
    return undefined;
  },
};

process.on("unhandledRejection", (error) => tellError({ error: String((error as Error).stack) }, "an error nobody waited for"));
process.on("disconnect", () => process.exit(1));
process.on("message", ({ id, question }: { id: number; question: EventQuestion }) => {
  const answer = answers[question.ask] as (question: EventQuestion) => Promise<unknown>;
  answer(question).then(
    (value) => process.send?.({ id, value }, () => question.ask === "stop" && process.exit(0)),
    (error: unknown) => process.send?.({ id, error: String((error as Error).stack) }),
  );
});
process.send?.({ id: 0 });
