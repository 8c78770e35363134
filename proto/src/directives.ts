import type { KubeObject } from "./digest.ts";

/**
 * What an object's annotations ask of the agent: Flotilla's own words, and those of Flux, Argo CD and Helm that mean the same, so that a
 * repository written for them behaves the same. Sources: Flux kustomize-controller "Controlling the apply behavior of resources", Argo CD
 * "Sync Options", "Sync Phases and Waves", "Compare Options", Helm "Chart Hooks" as Argo CD reads them.
 */
export interface Directives {
  /** disabled: never deleted. confirm: only by an approval. last: after everything else is pruned, applied and healthy. */
  readonly prune: (typeof words.prune)[number];
  /** override: Git wins. merge: what others hold they keep. ifNotPresent: created, never changed. ignore: never applied. */
  readonly ssa: (typeof words.ssa)[number];
  /** disabled: neither applied, healed nor pruned; only watched. */
  readonly reconcile: (typeof words.reconcile)[number];
  /** recreate: deleted and made again where a changed field cannot be changed in place. */
  readonly force: (typeof words.force)[number];
  /** Smaller goes first; stages follow each other when all before is healthy. */
  readonly stage: number;
  /** Whether the object names a stage itself: 0 is then a stage and not "does not matter". */
  readonly hasStage: boolean;
  /** Set on hooks: run at these phases, not kept. */
  readonly hook?: Hook;
  /** undefined: as its bundle. */
  readonly drift?: (typeof words.drift)[number];
  /** undefined: as its bundle. */
  readonly adopt?: (typeof words.adopt)[number];
  /** Stays when the fleet is deleted or leaves the cluster, also with the removal policy "delete". */
  readonly keepOnRemoval: boolean;
  /** Not in Git any more: neither out of sync nor pruned. */
  readonly ignoreExtraneous: boolean;
}

export type HookPhase = (typeof words.hook)[number];
export type HookDeletePolicy = (typeof words)["hook-delete-policy"][number];

export interface Hook {
  readonly phases: readonly HookPhase[];
  /** Never empty; "before-creation" when nothing is said. */
  readonly deletePolicies: readonly HookDeletePolicy[];
}

/** What one annotation comes to here, or why to nothing. */
export interface DirectiveNote {
  readonly annotation: string;
  /** The word of its value that this is about. */
  readonly word: string;
  /** For people: what it does here, or why it does nothing. */
  readonly meaning: string;
  /** What to write instead, where there is something. */
  readonly hint?: string;
}

export interface ReadDirectives {
  readonly directives: Directives;
  readonly honoured: readonly DirectiveNote[];
  readonly notHonoured: readonly DirectiveNote[];
}

/** A bundle's defaults: what holds for objects that say nothing themselves. Words that are not known count as not said. */
export interface DirectiveDefaults {
  readonly prune?: string;
  readonly ssa?: string;
  readonly force?: string;
  readonly adopt?: string;
}

/** The words that Flotilla's own annotations take. */
export const words = {
  prune: ["enabled", "disabled", "confirm", "last"],
  ssa: ["override", "merge", "ifNotPresent", "ignore"],
  reconcile: ["enabled", "disabled"],
  force: ["never", "recreate"],
  drift: ["heal", "report", "heal-unless-drifted"],
  adopt: ["always", "if-no-diff", "never"],
  hook: ["pre", "sync", "post", "failure", "skip", "pre-delete", "post-delete"],
  "hook-delete-policy": ["before-creation", "succeeded", "failed"],
} as const;

/** Stages are small numbers, as Argo CD's waves are; what is outside is a slip. */
export const stageMax = 100_000;

const own = "flotilla.dev/";
const flux = "kustomize.toolkit.fluxcd.io/";
const argo = "argocd.argoproj.io/";
const helm = "helm.sh/";

/** Whether an annotation may be a directive, of anybody's. */
export function isDirective(annotation: string): boolean {
  return [own, flux, argo, helm].some((prefix) => annotation.startsWith(prefix));
}

/** What was read so far: the first word for a subject counts, because readers are asked by precedence. */
interface Draft {
  prune?: Directives["prune"];
  ssa?: Directives["ssa"];
  reconcile?: Directives["reconcile"];
  force?: Directives["force"];
  drift?: Directives["drift"];
  adopt?: Directives["adopt"];
  stage?: number;
  phases?: HookPhase[];
  deletePolicies?: HookDeletePolicy[];
  keepOnRemoval?: boolean;
  ignoreExtraneous?: boolean;
}

/** What one word of an annotation means: settings and a sentence, or why it means nothing here. */
type Meaning =
  | { readonly set: Draft; readonly says: string; readonly isList?: boolean }
  | { readonly says: string; readonly isAlways: true }
  | { readonly refused: string; readonly hint?: string };

/** Words of one annotation, in lower case. */
type Vocabulary = Readonly<Record<string, Meaning>>;

const always = (says: string): Meaning => ({ says, isAlways: true });
const refused = (why: string, hint?: string): Meaning => ({ refused: why, ...(hint !== undefined && { hint }) });

const says = {
  pruneOff: "never deleted by Flotilla",
  pruneConfirm: "deleted only when a person approves",
  pruneLast: "deleted after everything else, when all is applied and healthy",
  pruneOn: "deleted when it is no longer in Git",
  recreate: "deleted and made again when a field cannot be changed in place",
  keep: "stays when the fleet is removed",
  pre: "runs before the bundle is applied",
  sync: "runs while the bundle is applied",
  post: "runs when the bundle is applied and healthy",
  failure: "runs when the sync failed",
  skip: "is not applied",
  preDelete: "runs before the objects of its bundle are deleted, when the bundle or the fleet is removed",
  postDelete: "runs when the objects of its bundle are deleted, when the bundle or the fleet is removed",
  before: "deleted before it runs again",
  succeeded: "deleted when it succeeded",
  failed: "deleted when it failed",
} as const;

/** Our own annotations. Their words are exact; all others' are read without regard to case, as their own programs read them. */
const ownVocabulary: Readonly<Record<string, Vocabulary>> = {
  [`${own}prune`]: {
    enabled: { set: { prune: "enabled" }, says: says.pruneOn },
    disabled: { set: { prune: "disabled" }, says: says.pruneOff },
    confirm: { set: { prune: "confirm" }, says: says.pruneConfirm },
    last: { set: { prune: "last" }, says: says.pruneLast },
  },
  [`${own}ssa`]: {
    override: { set: { ssa: "override" }, says: "fields in Git are taken back from others" },
    merge: { set: { ssa: "merge" }, says: "fields that others hold stay theirs" },
    ifnotpresent: { set: { ssa: "ifNotPresent" }, says: "created when missing, never changed" },
    ignore: { set: { ssa: "ignore" }, says: "never applied" },
  },
  [`${own}reconcile`]: {
    enabled: { set: { reconcile: "enabled" }, says: "kept as in Git" },
    disabled: { set: { reconcile: "disabled" }, says: "neither applied, healed nor deleted" },
  },
  [`${own}force`]: { never: { set: { force: "never" }, says: "never made again" }, recreate: { set: { force: "recreate" }, says: says.recreate } },
  [`${own}drift`]: {
    heal: { set: { drift: "heal" }, says: "drift is corrected" },
    report: { set: { drift: "report" }, says: "drift is only reported" },
    "heal-unless-drifted": { set: { drift: "heal-unless-drifted" }, says: "changes by hand stay" },
  },
  [`${own}adopt`]: {
    always: { set: { adopt: "always" }, says: "taken over when it is there already" },
    "if-no-diff": { set: { adopt: "if-no-diff" }, says: "taken over when it is there already and equal" },
    never: { set: { adopt: "never" }, says: "left alone when it is there already" },
  },
  [`${own}hook`]: {
    pre: { set: { phases: ["pre"] }, says: says.pre, isList: true },
    sync: { set: { phases: ["sync"] }, says: says.sync, isList: true },
    post: { set: { phases: ["post"] }, says: says.post, isList: true },
    failure: { set: { phases: ["failure"] }, says: says.failure, isList: true },
    skip: { set: { phases: ["skip"] }, says: says.skip, isList: true },
    "pre-delete": { set: { phases: ["pre-delete"] }, says: says.preDelete, isList: true },
    "post-delete": { set: { phases: ["post-delete"] }, says: says.postDelete, isList: true },
  },
  [`${own}hook-delete-policy`]: {
    "before-creation": { set: { deletePolicies: ["before-creation"] }, says: says.before, isList: true },
    succeeded: { set: { deletePolicies: ["succeeded"] }, says: says.succeeded, isList: true },
    failed: { set: { deletePolicies: ["failed"] }, says: says.failed, isList: true },
  },
};

const fluxVocabulary: Readonly<Record<string, Vocabulary>> = {
  [`${flux}prune`]: { disabled: { set: { prune: "disabled" }, says: says.pruneOff }, enabled: { set: { prune: "enabled" }, says: says.pruneOn } },
  [`${flux}ssa`]: ownVocabulary[`${own}ssa`] as Vocabulary,
  [`${flux}reconcile`]: ownVocabulary[`${own}reconcile`] as Vocabulary,
  [`${flux}force`]: { enabled: { set: { force: "recreate" }, says: says.recreate }, disabled: { set: { force: "never" }, says: "never made again" } },
  [`${flux}substitute`]: {
    disabled: refused("${…} is replaced for whole bundles", "set substitute: false on the bundle, or write $${…} for ${…}"),
    enabled: always("${…} is replaced"),
  },
};

const argoVocabulary: Readonly<Record<string, Vocabulary>> = {
  [`${argo}sync-options`]: {
    "prune=false": { set: { prune: "disabled" }, says: says.pruneOff },
    "prune=confirm": { set: { prune: "confirm" }, says: says.pruneConfirm },
    "prune=true": { set: { prune: "enabled" }, says: says.pruneOn },
    "prunelast=true": { set: { prune: "last" }, says: says.pruneLast },
    "delete=false": { set: { keepOnRemoval: true }, says: says.keep },
    "delete=confirm": { set: { keepOnRemoval: true }, says: says.keep },
    "force=true": { set: { force: "recreate" }, says: says.recreate },
    "serversideapply=true": always("every apply is server-side"),
    "serversideapply=false": refused("every apply is server-side"),
    "skipdryrunonmissingresource=true": always("a missing definition is waited for"),
    "applyoutofsynconly=true": always("only what changed is applied"),
    "respectignoredifferences=true": always("ignored fields that others hold are not applied"),
    "replace=true": refused("objects are applied, never replaced: fields that only others set stay", 'with "Force=true" it is made again when it has to be'),
    "validate=false": refused("the API server validates every apply"),
    "clientsideapplymigration=false": refused("fields of kubectl's client-side apply are taken over"),
    "createnamespace=true": refused("is a word for Applications, not for objects", "put the Namespace into the bundle"),
    "failonsharedresource=true": always("an object has one owner; the other fleet is told"),
  },
  [`${argo}hook`]: {
    presync: { set: { phases: ["pre"] }, says: says.pre, isList: true },
    sync: { set: { phases: ["sync"] }, says: says.sync, isList: true },
    postsync: { set: { phases: ["post"] }, says: says.post, isList: true },
    syncfail: { set: { phases: ["failure"] }, says: says.failure, isList: true },
    skip: { set: { phases: ["skip"] }, says: says.skip, isList: true },
    predelete: { set: { phases: ["pre-delete"] }, says: says.preDelete, isList: true },
    postdelete: { set: { phases: ["post-delete"] }, says: says.postDelete, isList: true },
  },
  [`${argo}hook-delete-policy`]: {
    hooksucceeded: { set: { deletePolicies: ["succeeded"] }, says: says.succeeded, isList: true },
    hookfailed: { set: { deletePolicies: ["failed"] }, says: says.failed, isList: true },
    beforehookcreation: { set: { deletePolicies: ["before-creation"] }, says: says.before, isList: true },
  },
  [`${argo}compare-options`]: {
    ignoreextraneous: { set: { ignoreExtraneous: true }, says: "neither out of sync nor deleted when it is not in Git" },
    "serversidediff=true": always("differences are those of the API server's own dry run"),
    "serversidediff=false": refused("differences are those of the API server's own dry run"),
    "includemutationwebhook=true": always("what webhooks change on our own apply is no drift"),
  },
};

const hookOf = (phase: HookPhase, meaning: string): Meaning => ({ set: { phases: [phase] }, says: meaning, isList: true });

const helmVocabulary: Readonly<Record<string, Vocabulary>> = {
  // As Argo CD reads a chart: install and upgrade are one thing, a sync.
  [`${helm}hook`]: {
    "pre-install": hookOf("pre", says.pre),
    "pre-upgrade": hookOf("pre", says.pre),
    "post-install": hookOf("post", says.post),
    "post-upgrade": hookOf("post", says.post),
    "pre-delete": hookOf("pre-delete", says.preDelete),
    "crd-install": always("definitions are always applied first"),
    "post-delete": hookOf("post-delete", says.postDelete),
    "pre-rollback": refused("a rollback is a sync to an older revision"),
    "post-rollback": refused("a rollback is a sync to an older revision"),
    test: refused("tests of a chart are left out"),
    "test-success": refused("tests of a chart are left out"),
  },
  [`${helm}hook-delete-policy`]: {
    "before-hook-creation": { set: { deletePolicies: ["before-creation"] }, says: says.before, isList: true },
    "hook-succeeded": { set: { deletePolicies: ["succeeded"] }, says: says.succeeded, isList: true },
    "hook-failed": { set: { deletePolicies: ["failed"] }, says: says.failed, isList: true },
  },
  [`${helm}resource-policy`]: { keep: { set: { prune: "disabled", keepOnRemoval: true }, says: says.pruneOff } },
};

/** Annotations whose value is a stage. */
const stageAnnotations: ReadonlySet<string> = new Set([`${own}stage`, `${argo}sync-wave`, `${helm}hook-weight`]);

/** By precedence: ours, Flux', Argo CD's, Helm's. */
const vocabularies: readonly Readonly<Record<string, Vocabulary>>[] = [ownVocabulary, fluxVocabulary, argoVocabulary, helmVocabulary];
const prefixes: readonly string[] = [own, flux, argo, helm];

/** Directives of an object that says nothing, in a bundle that says nothing: shared, because most objects are like that. */
const silent: ReadDirectives = freeze({ directives: settle({}, {}), honoured: [], notHonoured: [] });

/**
 * Read the directives of one object. Never throws: a word that is not known is told in `notHonoured` with those that are, and counts as
 * not said.
 */
export function readDirectives(object: Pick<KubeObject, "metadata">, defaults: DirectiveDefaults = {}): ReadDirectives {
  const annotations = Object.entries(object.metadata.annotations ?? {}).filter(([name]) => isDirective(name));
  if (annotations.length === 0) return isEmpty(defaults) ? silent : { ...silent, directives: settle({}, defaults) };
  const draft: Draft = {};
  const notes: { honoured: DirectiveNote[]; notHonoured: DirectiveNote[] } = { honoured: [], notHonoured: [] };
  prefixes.forEach((prefix, rank) => {
    const said: Draft = {};
    for (const [name, value] of annotations) if (name.startsWith(prefix)) readOne(name, value, vocabularies[rank] ?? {}, said, notes);
    for (const subject of Object.keys(said) as (keyof Draft)[]) Object.assign(draft, subject in draft ? {} : { [subject]: said[subject] });
  });
  return { directives: settle(draft, defaults), ...notes };
}

function readOne(name: string, value: string, vocabulary: Readonly<Record<string, Vocabulary>>, said: Draft, notes: Notes): void {
  if (stageAnnotations.has(name)) return readStage(name, value, said, notes);
  const known = vocabulary[name];
  if (!known) return;
  for (const word of value.split(",").map((part) => part.trim())) {
    if (word === "") continue;
    const meaning = Object.hasOwn(known, word.toLowerCase()) ? known[word.toLowerCase()] : undefined;
    if (!meaning)
      notes.notHonoured.push({ annotation: name, word, meaning: "is not a word that it takes", hint: `it takes ${Object.keys(known).map(spell).join(", ")}` });
    else if ("refused" in meaning)
      notes.notHonoured.push({ annotation: name, word, meaning: meaning.refused, ...(meaning.hint !== undefined && { hint: meaning.hint }) });
    else {
      notes.honoured.push({ annotation: name, word, meaning: meaning.says });
      if ("set" in meaning) merge(said, meaning.set);
    }
  }
}

type Notes = { readonly honoured: DirectiveNote[]; readonly notHonoured: DirectiveNote[] };

function readStage(annotation: string, value: string, said: Draft, notes: Notes): void {
  const stage = Number(value.trim());
  if (!/^\s*[+-]?\d+\s*$/.test(value) || Math.abs(stage) > stageMax) {
    notes.notHonoured.push({
      annotation,
      word: value,
      meaning: "is not a stage",
      hint: `a stage is a whole number from -${stageMax} to ${stageMax}, in quotes`,
    });
    return;
  }
  said.stage ??= stage;
  notes.honoured.push({ annotation, word: value.trim(), meaning: `applied in stage ${stage}` });
}

/** Of one program's annotations the first word for a subject counts; lists grow. */
function merge(said: Draft, set: Draft): void {
  const { phases, deletePolicies, ...single } = set;
  if (phases) said.phases = [...new Set([...(said.phases ?? []), ...phases])];
  if (deletePolicies) said.deletePolicies = [...new Set([...(said.deletePolicies ?? []), ...deletePolicies])];
  for (const subject of Object.keys(single) as (keyof typeof single)[]) Object.assign(said, subject in said ? {} : { [subject]: single[subject] });
}

function settle(draft: Draft, defaults: DirectiveDefaults): Directives {
  const adopt = draft.adopt ?? oneOf(words.adopt, defaults.adopt);
  return {
    prune: draft.prune ?? oneOf(words.prune, defaults.prune) ?? "enabled",
    ssa: draft.ssa ?? oneOf(words.ssa, defaults.ssa) ?? "override",
    reconcile: draft.reconcile ?? "enabled",
    force: draft.force ?? oneOf(words.force, defaults.force) ?? "never",
    stage: draft.stage ?? 0,
    hasStage: draft.stage !== undefined,
    ...(draft.phases && { hook: { phases: draft.phases, deletePolicies: draft.deletePolicies ?? ["before-creation"] } }),
    ...(draft.drift && { drift: draft.drift }),
    ...(adopt && { adopt }),
    keepOnRemoval: draft.keepOnRemoval ?? false,
    ignoreExtraneous: draft.ignoreExtraneous ?? false,
  };
}

function oneOf<Word extends string>(known: readonly Word[], word: string | undefined): Word | undefined {
  return known.find((candidate) => candidate === word);
}

/** As it is written: the tables are in lower case. */
function spell(word: string): string {
  return word === "ifnotpresent" ? "ifNotPresent" : word;
}

function isEmpty(defaults: DirectiveDefaults): boolean {
  return !defaults.prune && !defaults.ssa && !defaults.force && !defaults.adopt;
}

function freeze(read: ReadDirectives): ReadDirectives {
  return Object.freeze({ ...read, directives: Object.freeze(read.directives) });
}
