import type { HubDatabase, TargetRow } from "./hub-database.ts";
import type { Member } from "./platform-world.ts";

/** Where hub, agents and clusters do not agree: what must be nothing after all faults have ended. "G4: …" of the view, "G8: …" of objects. */
export function viewDifferences(db: HubDatabase, members: ReadonlyMap<string, Member>): string[] {
  return [...members].flatMap(([name, member]) => [
    ...undelivered(db, name, member),
    ...[...db.targets.values()].filter(({ cluster }) => cluster === name).flatMap((target) => ofTarget(db, target, member)),
    ...strayRows(db, name, member),
    ...strayObjects(member),
  ]);
}

/** Reports that are still on their way. */
function undelivered(db: HubDatabase, name: string, { agent, disk }: Member): string[] {
  if (!agent) return [`G4: no agent runs in ${name}`];
  const position = db.clusters.get(name)?.position;
  if (position?.epoch !== disk.epoch) return [`G4: the hub reads another outbox of ${name}`];
  return position.watermark === disk.newest ? [] : [`G4: the hub has reports of ${name} to ${position.watermark}, its outbox to ${disk.newest}`];
}

function ofTarget(db: HubDatabase, target: TargetRow, { agent, cluster }: Member): string[] {
  const { fleet, generation, digest, tombstone, isRemoved } = target;
  const what = `${fleet} in ${cluster.name}`;
  const here = agent?.fleetsHere().find(({ name }) => name === fleet);
  if (tombstone !== null) return isRemoved && !here ? [] : [`G4: ${what} is to be removed and is not`];
  if (here?.target?.generation !== generation || here.target.digest !== digest)
    return [`G4: ${what} follows generation ${here?.target?.generation ?? "none"}, ${generation} is released`];
  const state = db.targetStates.get(`${fleet} ${cluster.name}`);
  if (state?.generation !== generation) return [`G4: ${what} is shown at generation ${state?.generation ?? "none"}, it runs ${generation}`];
  const found: string[] = [];
  for (const [key, content] of here.desired.contents) {
    const live = cluster.objects.get(key);
    const isOthers = live?.owner !== undefined && !live.owner.startsWith(`${fleet}/`);
    if (isOthers) continue;
    if (live?.content !== content) found.push(`G4: ${key} of ${what} is not what Git says`);
    const row = db.objectStates.get(cluster.name)?.get(`${fleet} ${key}`);
    if (row?.uid !== live?.uid || row?.sync !== "Synced") found.push(`G4: ${key} of ${what} is shown as ${row?.sync ?? "missing"}, and is Synced`);
  }
  for (const key of here.inventory.keys()) if (!here.desired.objects.has(key)) found.push(`G8: ${key} of ${what} is left over: the target does not name it`);
  return found;
}

/** The hub shows an object that no agent knows. */
function strayRows(db: HubDatabase, name: string, { agent }: Member): string[] {
  const found: string[] = [];
  for (const [of, row] of db.objectStates.get(name) ?? []) {
    const [fleet = ""] = of.split(" ");
    const here = agent?.fleetsHere().find((one) => one.name === fleet);
    if (!here?.desired.objects.has(row.objectId) && !here?.inventory.has(row.objectId)) found.push(`G4: ${of} is shown in ${name}, and is not there`);
  }
  return found;
}

/** An object carries a fleet's mark, and the fleet does not know of it. */
function strayObjects({ agent, cluster }: Member): string[] {
  const found: string[] = [];
  for (const { key, owner, uid } of cluster.objects.values()) {
    const [fleet = ""] = owner?.split("/") ?? [];
    if (fleet === "") continue;
    const entry = agent
      ?.fleetsHere()
      .find(({ name }) => name === fleet)
      ?.inventory.get(key);
    if (entry?.uid !== uid) found.push(`G8: ${key} in ${cluster.name} carries the mark of ${fleet}, which has forgotten it`);
  }
  return found;
}
