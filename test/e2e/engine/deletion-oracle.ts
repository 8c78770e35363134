import { createHash } from "node:crypto";

/**
 * Judges every DELETE that the agent sent, from the audit log, the versions that a watch of the test's own saw, and the history of targets.
 * Written from the guarantees (G5 to G7), without a line of the planner: it knows targets as they were sent, not as they were read.
 */

/** One object as a target names it. */
export interface NamedObject {
  readonly key: string;
  readonly bundle: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** One target as it was handed to the agent. */
export interface SentTarget {
  readonly fleet: string;
  readonly generation: number;
  readonly revision: string;
  /** Epoch ms, just before it was handed over. */
  readonly at: number;
  readonly isComplete: boolean;
  readonly tombstone?: "orphan" | "delete";
  readonly objects: readonly NamedObject[];
  /** Default of `prune`, and budget, of bundles that have one. */
  readonly pruneDefaults: Readonly<Record<string, string>>;
  readonly budgets: Readonly<Record<string, number>>;
  /** One of its objects can never be applied. */
  readonly isBroken: boolean;
  readonly approval?: { readonly revision: string; readonly digest: string };
}

/** One DELETE of the audit log that the API server carried out. */
export interface SeenDelete {
  readonly key: string;
  readonly at: number;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** One version of an object, as the watch of the test saw it. */
export interface SeenVersion {
  readonly key: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** "fleet/generation" of the content in it; undefined when a person wrote it. */
  readonly applied: string | undefined;
}

export interface History {
  readonly targets: readonly SentTarget[];
  readonly deletes: readonly SeenDelete[];
  readonly versions: readonly SeenVersion[];
  /** Lists that the agent reported as held, by what their digest should be. */
  readonly heldLists: readonly (readonly string[])[];
  /** Between a restart and the time when the newest targets were handed over again, the one before may still be followed. */
  readonly restarts: readonly { readonly from: number; readonly to: number }[];
}

/** What the judgement came to. */
export interface Judgement {
  readonly violations: readonly string[];
  readonly approved: number;
  readonly unapproved: number;
}

/** A DELETE that was on its way when the next target came is the one before's. */
const inFlightMs = 1_500;
const owner = "flotilla.dev/owner";
const protectedKind =
  /^(\/Namespace|\/PersistentVolume(Claim)?|apps\/StatefulSet|rbac\.authorization\.k8s\.io\/ClusterRole|apiextensions\.k8s\.io\/CustomResourceDefinition)\//;

export function judgeDeletes(history: History): Judgement {
  const violations: string[] = [];
  const unapproved: { target: SentTarget; bundle: string; key: string; at: number }[] = [];
  let approved = 0;
  for (const deletion of history.deletes) {
    const verdict = judge(deletion, history);
    if (typeof verdict === "string") violations.push(`${deletion.key} (uid ${deletion.uid}, version ${deletion.resourceVersion}): ${verdict}`);
    else if (verdict.isApproved) approved += 1;
    else unapproved.push({ ...verdict, key: deletion.key, at: deletion.at });
  }
  return { violations: [...violations, ...overspent(unapproved, history)], approved, unapproved: unapproved.length };
}

interface Allowed {
  readonly target: SentTarget;
  readonly bundle: string;
  readonly isApproved: boolean;
}

function judge(deletion: SeenDelete, history: History): Allowed | string {
  if (deletion.uid === "" || deletion.resourceVersion === "") return "deleted without UID and resource version as preconditions";
  const ofUid = history.versions.filter(({ key, uid }) => key === deletion.key && uid === deletion.uid);
  const live = ofUid.find(({ resourceVersion }) => resourceVersion === deletion.resourceVersion);
  if (!live) return "a version was deleted that nobody saw";
  const marks = ofUid.slice(0, ofUid.indexOf(live) + 1).map(({ annotations }) => annotations[owner]);
  const [fleet, bundle = ""] = marks.findLast((mark) => mark !== undefined)?.split("/") ?? [];
  if (fleet === undefined) return "it was never applied by a fleet (G7)";
  const reasons: string[] = [];
  for (const target of followedAt(fleet, deletion.at, history)) {
    const verdict = allowedBy(target, bundle, deletion, live, history);
    if (typeof verdict !== "string") return verdict;
    reasons.push(`generation ${target.generation}: ${verdict}`);
  }
  return `fleet ${fleet} had no right to: ${reasons.join("; ") || "it followed no target"}`;
}

/** Targets that the agent may have been following at a time: the newest valid one, and the one before while it may be at work. */
function followedAt(fleet: string, at: number, { targets, restarts }: History): SentTarget[] {
  const valid = targets
    .filter((target) => target.fleet === fleet && target.at <= at)
    .reduce<SentTarget[]>((kept, target) => (isFollowed(target, kept) ? [...kept, target] : kept), []);
  const newest = valid.at(-1);
  if (!newest) return [];
  const isTransition = at - newest.at <= inFlightMs || restarts.some(({ from, to }) => at >= from && at <= to + inFlightMs);
  const before = valid.slice(0, -1).findLast((target) => target.generation < newest.generation);
  return isTransition && before ? [newest, before] : [newest];
}

function isFollowed(target: SentTarget, earlier: readonly SentTarget[]): boolean {
  const newest = earlier.at(-1);
  // One generation with two contents is refused as well.
  if (!target.isComplete || (newest && target.generation <= newest.generation)) return false;
  return target.tombstone !== undefined || target.objects.length > 0;
}

function allowedBy(target: SentTarget, bundle: string, deletion: SeenDelete, live: SeenVersion, history: History): Allowed | string {
  const { key, at } = deletion;
  // What came after the target that was followed was not known.
  const own = history.targets.filter((other) => other.fleet === target.fleet && other.at <= target.at);
  const naming = lastNaming(own, key, history);
  const isSaid = (word: string) => wordOf(live.annotations) === word || (naming.length > 0 && naming.every((said) => said.word === word));
  if (isSaid("disabled")) return "it is guarded (G6)";
  if (target.objects.some((object) => object.key === key)) return isRecreated(target, key) ? { target, bundle, isApproved: true } : "the target names it (G5)";
  const others = new Set(history.targets.map(({ fleet }) => fleet).filter((fleet) => fleet !== target.fleet));
  for (const fleet of others)
    if (followedAt(fleet, at, history).every((other) => other.objects.some((object) => object.key === key)) && followedAt(fleet, at, history).length > 0)
      return `fleet ${fleet} names it (G7)`;
  if (target.tombstone === "orphan") return "the tombstone leaves everything";
  const isApproved =
    target.approval !== undefined && target.approval.revision === target.revision && listOf(target.approval.digest, history)?.includes(key) === true;
  if (!isApproved && protectedKind.test(key)) return "its kind is protected and nobody approved it (G6)";
  if (!isApproved && isSaid("confirm")) return "it asks for confirmation and nobody approved it";
  if (target.tombstone === "delete") return { target, bundle, isApproved: true };
  if (target.isBroken) return "not everything of the target could be applied (fault 5)";
  return { target, bundle, isApproved };
}

/** What the last targets that named it said of its deletion: back to the newest that the agent surely worked on, because its content was seen. */
function lastNaming(own: readonly SentTarget[], key: string, { versions }: History): { word: string | undefined }[] {
  const said: { word: string | undefined }[] = [];
  const followed = own.reduce<SentTarget[]>((kept, target) => (isFollowed(target, kept) ? [...kept, target] : kept), []);
  for (const target of followed.toReversed()) {
    const object = target.objects.find((candidate) => candidate.key === key);
    if (!object) continue;
    said.unshift({ word: wordOf(object.annotations) ?? target.pruneDefaults[object.bundle] });
    if (versions.some(({ applied }) => applied === `${target.fleet}/${target.generation}`)) break;
  }
  return said;
}

/** Made again to change what cannot be changed in place. */
function isRecreated(target: SentTarget, key: string): boolean {
  return target.objects.some((object) => object.key === key && object.annotations["flotilla.dev/force"] === "recreate");
}

/** The strictest word that annotations say about deletion, in the words that the test uses. */
function wordOf(annotations: Readonly<Record<string, string>>): string | undefined {
  const ours = annotations["flotilla.dev/prune"];
  const flux = annotations["kustomize.toolkit.fluxcd.io/prune"];
  const argo = annotations["argocd.argoproj.io/sync-options"] ?? "";
  if (annotations["kustomize.toolkit.fluxcd.io/reconcile"] === "disabled" || annotations["argocd.argoproj.io/compare-options"] === "IgnoreExtraneous")
    return "disabled";
  if (ours !== undefined) return ours;
  if (flux !== undefined) return flux;
  return /Prune=false/.test(argo) ? "disabled" : /Prune=confirm/.test(argo) ? "confirm" : undefined;
}

function listOf(digest: string, { heldLists }: History): readonly string[] | undefined {
  return heldLists.find(
    (list) =>
      createHash("sha256")
        .update(JSON.stringify([...list].sort()))
        .digest("hex") === digest,
  );
}

/** Budgets, by revision: max(5, 10 %) of what the fleet ever named, or a bundle's own number. */
function overspent(deletes: readonly { target: SentTarget; bundle: string; key: string; at: number }[], { targets }: History): string[] {
  const violations: string[] = [];
  for (const [reign, group] of Map.groupBy(deletes, ({ target }) => `${target.fleet} at revision ${target.revision}`)) {
    const { target } = group[0] as (typeof group)[number];
    const known = new Set(targets.filter(({ fleet, at }) => fleet === target.fleet && at <= target.at).flatMap(({ objects }) => objects.map(({ key }) => key)));
    const pooled = group.filter(({ bundle }) => target.budgets[bundle] === undefined);
    const allowed = Math.max(5, Math.floor(known.size / 10));
    if (pooled.length > allowed)
      violations.push(`${reign}: ${pooled.length} unapproved deletes, ${allowed} allowed (G6): ${pooled.map(({ key }) => key).join(", ")}`);
    for (const [bundle, budget] of Object.entries(target.budgets)) {
      const own = group.filter((deleted) => deleted.bundle === bundle);
      if (own.length > budget) violations.push(`${reign}: ${own.length} unapproved deletes of bundle ${bundle}, ${budget} allowed (G6)`);
    }
  }
  return violations;
}
