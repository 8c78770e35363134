import { randomUUID } from "node:crypto";
import type pg from "pg";
import { foldAnswers, type GateAnswer, questionOf } from "../domain/gates.ts";
import type { RolloutSpec } from "../domain/fleet-spec.ts";
import type { GateAsk, GateState } from "../domain/rollout.ts";
import { batchRowsMax } from "../limits.ts";
import { noteDecision } from "./begin-rollout.ts";
import { inFencedTransaction, type Lease } from "./leases.ts";
import { notify } from "./listen.ts";
import { inBatches } from "./unnest.ts";

interface AskedRollout {
  readonly id: string;
  readonly revision: string;
  readonly plan: RolloutSpec;
}

/**
 * Asks clusters what a rollout's gates want to know: a command for each cluster that has not passed the gate yet. Does nothing when the rollout
 * has ended meanwhile.
 *
 * @throws StoreError `fenced`.
 */
export async function askGates(pool: pg.Pool, lease: Lease, fleet: string, { id, revision, plan }: AskedRollout, asks: readonly GateAsk[]): Promise<void> {
  await inFencedTransaction(pool, lease, async (client) => {
    const { rows } = await client.query<{ gates: GateState[] }>("SELECT gates FROM rollouts WHERE id = $1 AND phase = 'Running' FOR UPDATE", [id]);
    let gates = rows[0]?.gates;
    if (!gates) return;
    for (const ask of asks) {
      const asked = questionOf(plan, revision, ask);
      if (!asked) continue;
      const gate: GateOfRollout = { rollout: id, ...ask };
      const clusters = await openClusters(client, gate, ask.clusters);
      for (const part of inBatches(clusters, batchRowsMax)) await askClusters(client, fleet, gate, asked, part);
      gates = withState(gates, { wave: ask.wave, name: ask.name, kind: ask.kind, ...foldAnswers(await readAnswers(client, gate)), at: await nowOf(client) });
      if (clusters.length > 0) await notify(client, "flotilla_commands", { clusters });
    }
    await saveGates(client, id, fleet, gates);
  });
}

/** Which gate of which rollout. */
interface GateOfRollout {
  readonly rollout: string;
  readonly wave: number;
  readonly kind: GateState["kind"];
  readonly name: string;
}

const ofGate = "rollout = $1 AND wave = $2 AND kind = $3 AND gate = $4";
const keyOf = ({ rollout, wave, kind, name }: GateOfRollout): readonly unknown[] => [rollout, wave, kind, name];

/** Those that have not passed it. Who is not asked any more does not count any more: it left, or is away. */
async function openClusters(client: pg.ClientBase, gate: GateOfRollout, clusters: readonly string[]): Promise<readonly string[]> {
  await client.query(`DELETE FROM gate_answers WHERE ${ofGate} AND NOT cluster = ANY($5::text[])`, [...keyOf(gate), clusters]);
  const { rows } = await client.query<{ cluster: string }>(`SELECT cluster FROM gate_answers WHERE ${ofGate} AND verdict = 'passed'`, [...keyOf(gate)]);
  const passed = new Set(rows.map(({ cluster }) => cluster));
  return clusters.filter((cluster) => !passed.has(cluster));
}

async function askClusters(
  client: pg.ClientBase,
  fleet: string,
  gate: GateOfRollout,
  { question, lifeMs }: NonNullable<ReturnType<typeof questionOf>>,
  clusters: readonly string[],
): Promise<void> {
  const ids = clusters.map(() => randomUUID());
  await client.query({
    name: "ask-gate",
    text: `INSERT INTO commands (id, cluster, kind, fleet, expires_at, question)
           SELECT k.id, k.cluster, 'gate', $3, now() + $4 * interval '1 ms', $5::jsonb FROM unnest($1::text[], $2::text[]) AS k (id, cluster)`,
    values: [ids, clusters, fleet, lifeMs, JSON.stringify(question)],
  });
  await client.query({
    name: "note-asked-gate",
    text: `INSERT INTO gate_answers AS a (rollout, wave, kind, gate, cluster, command)
           SELECT $1, $2, $3, $4, k.cluster, k.id FROM unnest($5::text[], $6::text[]) AS k (id, cluster)
           ON CONFLICT (rollout, wave, kind, gate, cluster) DO UPDATE SET command = EXCLUDED.command, asked_at = now(), verdict = NULL, message = '', answered_at = NULL`,
    values: [...keyOf(gate), ids, clusters],
  });
}

/** What a cluster answered to a command; nothing when it was asked anew meanwhile. Part of the transaction that takes the answer. */
export async function answerGate(client: pg.ClientBase, command: string, answer: GateAnswer): Promise<void> {
  const asked = await client.query<GateOfRollout>(
    `SELECT rollout::text AS rollout, wave, kind, gate AS name FROM gate_answers WHERE command = $1 AND cluster = $2`,
    [command, answer.cluster],
  );
  const [gate] = asked.rows;
  if (!gate) return;
  // In the order in which they are asked: the rollout first.
  const { rows } = await client.query<{ fleet: string; phase: string; gates: GateState[] }>(
    "SELECT fleet, phase, gates FROM rollouts WHERE id = $1 FOR UPDATE",
    [gate.rollout],
  );
  const [rollout] = rows;
  if (rollout?.phase !== "Running") return;
  await client.query(`UPDATE gate_answers SET verdict = $3, message = $4, answered_at = now() WHERE command = $1 AND cluster = $2`, [
    command,
    answer.cluster,
    answer.verdict,
    answer.message.slice(0, 500),
  ]);
  const fold = foldAnswers(await readAnswers(client, gate));
  const known = rollout.gates.find((state) => isOf(state, gate));
  if (known && known.verdict === fold.verdict && known.message === fold.message) return;
  // While it is being asked the time that it was asked at stands: who is silent is asked again by it.
  const at = fold.verdict === "asked" ? (known?.at ?? (await nowOf(client))) : await nowOf(client);
  await saveGates(client, gate.rollout, rollout.fleet, withState(rollout.gates, { wave: gate.wave, name: gate.name, kind: gate.kind, ...fold, at }));
  if (fold.verdict !== "asked" && fold.verdict !== known?.verdict)
    await noteDecision(client, {
      rollout: gate.rollout,
      kind: "gate",
      wave: gate.wave,
      reason: `${gate.kind} gate ${gate.name}: ${fold.verdict}: ${fold.message}`,
    });
}

async function readAnswers(client: pg.ClientBase, gate: GateOfRollout): Promise<readonly GateAnswer[]> {
  const { rows } = await client.query<GateAnswer>({
    name: "read-gate-answers",
    text: `SELECT cluster, verdict, message FROM gate_answers WHERE ${ofGate}`,
    values: [...keyOf(gate)],
  });
  return rows;
}

const isOf = (state: GateState, gate: Pick<GateOfRollout, "wave" | "kind" | "name">): boolean =>
  state.wave === gate.wave && state.kind === gate.kind && state.name === gate.name;

function withState(gates: readonly GateState[], state: GateState): GateState[] {
  return [...gates.filter((known) => !isOf(known, state)), state];
}

async function saveGates(client: pg.ClientBase, rollout: string, fleet: string, gates: readonly GateState[]): Promise<void> {
  await client.query("UPDATE rollouts SET gates = $2::jsonb, version = nextval('change_version') WHERE id = $1", [rollout, JSON.stringify(gates)]);
  await notify(client, "flotilla_rollouts", { fleets: [fleet] });
  await notify(client, "flotilla_changes", { fleets: [fleet], clusters: [] });
}

/** The clock that decisions are made by, epoch ms. */
async function nowOf(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ now: number }>("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::float8 AS now");
  return rows[0]?.now ?? Date.now();
}
