import { describe, expect, it } from "vitest";
import { type AuditedAct, auditHash, emptyAudit, followAudit } from "./audit.ts";

function chain(length: number): (AuditedAct & { hash: string })[] {
  const acts: (AuditedAct & { hash: string })[] = [];
  for (let seq = 1; seq <= length; seq += 1) {
    const act: AuditedAct = {
      seq,
      at: "2026-11-25T03:00:00.000Z",
      actor: "0123456789ab",
      actorName: "ops",
      act: "cluster.label",
      fleet: "",
      cluster: `berlin-${seq}`,
      details: { labels: { env: "prod", tier: null } },
      reason: "",
      source: "127.0.0.1",
      outcome: "done",
      previous: acts.at(-1)?.hash ?? emptyAudit.hash,
    };
    acts.push({ ...act, hash: auditHash(act) });
  }
  return acts;
}

describe("the chain of the audit log", () => {
  it("holds over acts as they were written, in pages of any size", () => {
    const acts = chain(7);
    const first = followAudit(emptyAudit, acts.slice(0, 3));
    expect(first).toEqual({ head: { seq: 3, hash: acts[2]?.hash } });
    expect(followAudit({ seq: 3, hash: acts[2]?.hash ?? "" }, acts.slice(3))).toEqual({ head: { seq: 7, hash: acts[6]?.hash } });
    expect(followAudit(emptyAudit, [])).toEqual({ head: emptyAudit });
  });

  it("does not depend on the order in which a reader got the members of an act", () => {
    const [act] = chain(1);
    expect(auditHash(Object.fromEntries(Object.entries(act ?? {}).toReversed()) as unknown as AuditedAct)).toBe(act?.hash);
  });

  it.each([
    ["was changed", 3, (acts: ReturnType<typeof chain>) => acts.map((act) => (act.seq === 3 ? { ...act, reason: "another" } : act))],
    ["is missing", 3, (acts: ReturnType<typeof chain>) => acts.filter(({ seq }) => seq !== 3)],
    ["comes twice", 4, (acts: ReturnType<typeof chain>) => [...acts.slice(0, 3), ...acts.slice(2)]],
    [
      "was changed together with its own hash",
      4,
      (acts: ReturnType<typeof chain>) =>
        acts.map((act) => {
          if (act.seq !== 3) return act;
          const forged = { ...act, actor: "somebody else" };
          return { ...forged, hash: auditHash(forged) };
        }),
    ],
  ])("breaks where an act %s", (_what, seq, forge) => {
    expect(followAudit(emptyAudit, forge(chain(6)))).toMatchObject({ fault: { seq } });
  });
});
