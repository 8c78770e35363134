import { isDeepStrictEqual } from "node:util";
import { customForm } from "./custom-kinds.ts";
import { allocate, fillDefaults, newUid } from "./defaults.ts";
import { applyOwned, ConflictError, updateOwned, type Writer } from "./field-ownership.ts";
import { FieldSet } from "./field-set.ts";
import { goForm } from "./go-form.ts";
import { apiVersionOf, type ServedKind, storageKey } from "./kinds.ts";
import { alreadyExists, badRequest, conflict, invalid, preconditionFailed, StatusError } from "./kube-status.ts";
import type { ObjectStore, StoredObject } from "./object-store.ts";
import { type Fields, isFields, TypedValueError, validateTyped, textOf } from "./typed-value.ts";
import { validateObject } from "./validate-object.ts";

/** Everything a write is about. */
export interface Write {
  readonly kind: ServedKind;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  readonly writer: Writer;
  readonly isDryRun: boolean;
  readonly now: string;
}

export interface Written {
  readonly object: StoredObject;
  readonly isCreated: boolean;
}

/** Kinds whose generation counts changes of what is wanted; custom resources all do. */
const counted = new Set(
  "/Pod /ReplicationController apps/Deployment apps/StatefulSet apps/DaemonSet apps/ReplicaSet batch/Job batch/CronJob networking.k8s.io/Ingress networking.k8s.io/NetworkPolicy policy/PodDisruptionBudget apiextensions.k8s.io/CustomResourceDefinition admissionregistration.k8s.io/ValidatingWebhookConfiguration admissionregistration.k8s.io/MutatingWebhookConfiguration admissionregistration.k8s.io/ValidatingAdmissionPolicy admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding".split(
    " ",
  ),
);

/** An object as a request gives it, as the server reads it. */
function read(kind: ServedKind, object: Fields): Fields {
  const named = { ...object, apiVersion: apiVersionOf(kind), kind: kind.kind };
  if (kind.custom) return customForm(kind.custom.openApi, named);
  // Writing a Go struct and filling in defaults meet: what a default adds is written as a struct again.
  const form = goForm(kind.schema, named) as Fields;
  fillDefaults(kind, form);
  return goForm(kind.schema, form) as Fields;
}

/** What there is before there is anything. */
function empty(kind: ServedKind): Fields {
  const named = { apiVersion: apiVersionOf(kind), kind: kind.kind };
  return kind.custom ? { ...named, metadata: {} } : (goForm(kind.schema, named) as Fields);
}

export function parse({ text }: StoredObject): Fields {
  return JSON.parse(text) as Fields;
}

function metadataOf(object: Fields): Fields {
  return (object.metadata ?? {}) as Fields;
}

/** Fields that an endpoint does not write. */
function ignoredBy({ kind, subresource }: Write): FieldSet {
  if (subresource === "status") return kind.custom ? FieldSet.of(["f:spec"], ["f:metadata"]) : FieldSet.of(["f:spec"], ["f:metadata", "f:labels"]);
  return kind.subresources.includes("status") ? FieldSet.of(["f:status"]) : new FieldSet();
}

/** @throws StatusError */
export function createObject(store: ObjectStore, write: Write, given: Fields): Written {
  if (!metadataOf(given).name && metadataOf(given).generateName)
    given = { ...given, metadata: { ...metadataOf(given), name: `${textOf(metadataOf(given).generateName)}${newUid().slice(0, 5)}` } };
  const name = textOf(metadataOf(given).name ?? "");
  const placed = place({ ...write, name }, given);
  const next = updateOwned(empty(write.kind), read(write.kind, placed), contextOf({ ...write, name }), true);
  return create(store, { ...write, name }, next);
}

function contextOf(write: Write) {
  return { schema: write.kind.schema, writer: write.writer, ignored: ignoredBy(write), now: write.now };
}

function place({ kind, namespace }: Write, object: Fields): Fields {
  const { namespace: given, ...metadata } = metadataOf(object);
  if (kind.isNamespaced && given !== undefined && given !== "" && given !== namespace)
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  return { ...object, metadata: { ...metadata, ...(kind.isNamespaced && { namespace }) } };
}

function create(store: ObjectStore, write: Write, next: Fields): Written {
  const { kind, namespace, name, now } = write;
  const { resourceVersion: _, deletionTimestamp: __, ...metadata } = metadataOf(next);
  const hasStatus = kind.subresources.includes("status");
  const object: Fields = { ...next, metadata: { ...metadata, uid: newUid(), creationTimestamp: now, ...(isCounted(kind) && { generation: 1 }) } };
  if (hasStatus && !(kind.kind === "CustomResourceDefinition")) delete object.status;
  allocate(kind, object);
  const shaped = kind.custom ? object : (goForm(kind.schema, object) as Fields);
  const problems = validateObject(kind, shaped, undefined);
  if (problems.length > 0) throw invalid(kind, name, problems);
  if (store.get(storageKey(kind), namespace, name)) throw alreadyExists(kind, name);
  return { object: write.isDryRun ? preview(store, shaped) : store.put(storageKey(kind), shaped), isCreated: true };
}

function preview(store: ObjectStore, object: Fields): StoredObject {
  const { name, namespace } = metadataOf(object) as { name: string; namespace?: string };
  return { name, namespace: namespace ?? "", version: store.version, labels: {}, text: JSON.stringify(object) };
}

function isCounted(kind: ServedKind): boolean {
  return kind.custom !== undefined || counted.has(`${kind.group}/${kind.kind}`);
}

/**
 * Write a changed object: PUT, and patches that are no apply.
 *
 * @param given the whole object as it should be.
 * @throws StatusError
 */
export function updateObject(store: ObjectStore, write: Write, stored: StoredObject, given: Fields): Written {
  const live = parse(stored);
  checkIdentity(write, given, live);
  if (write.kind.custom && !metadataOf(given).resourceVersion) {
    const cause = { reason: "FieldValueInvalid", message: "Invalid value: 0: must be specified for an update", field: "metadata.resourceVersion" };
    throw invalid({ ...write.kind, kind: write.kind.plural }, write.name, [cause]);
  }
  const next = read(write.kind, keepAllocated(write.kind, place(write, given), live));
  return commit(store, write, live, stored, updateOwned(live, onlyOwnPart(write, next, live), contextOf(write)));
}

function checkIdentity({ kind, name }: Write, given: Fields, live: Fields): void {
  const { name: named, resourceVersion, uid } = metadataOf(given);
  const about = metadataOf(live);
  if (named !== undefined && named !== "" && named !== name)
    throw badRequest(`the name of the object (${textOf(named)}) does not match the name on the URL (${name})`);
  if (uid !== undefined && uid !== "" && uid !== about.uid)
    throw conflict(
      kind,
      name,
      `StorageError: invalid object, Code: 4, Precondition failed: UID in precondition: ${textOf(uid)}, UID in object meta: ${textOf(about.uid)}`,
    );
  if (resourceVersion !== undefined && resourceVersion !== "" && resourceVersion !== about.resourceVersion)
    throw conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again");
}

/** An update that leaves out what was allocated does not give it back. */
function keepAllocated(kind: ServedKind, next: Fields, live: Fields): Fields {
  if (kind.kind !== "Service" || kind.group !== "" || !isFields(next.spec) || !isFields(live.spec)) return next;
  const { clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy } = live.spec;
  return {
    ...next,
    spec: {
      ...Object.fromEntries(Object.entries({ clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy }).filter(([, value]) => value !== undefined)),
      ...next.spec,
    },
  };
}

/** The main endpoint does not write the status, that of the status nothing else. */
function onlyOwnPart({ kind, subresource }: Write, next: Fields, live: Fields): Fields {
  if (subresource === "status") {
    const { managedFields } = metadataOf(next);
    return { ...live, metadata: { ...metadataOf(live), ...(managedFields !== undefined && { managedFields }) }, status: next.status };
  }
  if (!kind.subresources.includes("status")) return next;
  const { status: _, ...rest } = next;
  return live.status === undefined ? rest : { ...rest, status: live.status };
}

function commit(store: ObjectStore, write: Write, live: Fields, stored: StoredObject, next: Fields): Written {
  const { kind, name } = write;
  const object = settled(write, live, next);
  if (isSame(live, object)) return { object: stored, isCreated: false };
  const problems = [...validateFinalizers(live, object), ...validateObject(kind, object, live)];
  if (problems.length > 0) throw invalid(kind, name, problems);
  if (write.isDryRun) return { object: preview(store, object), isCreated: false };
  const { deletionTimestamp, finalizers } = metadataOf(object);
  const isGone = deletionTimestamp !== undefined && (finalizers as string[] | undefined)?.length === undefined && !hasOwnFinalizers(kind, object);
  if (!isGone) return { object: store.put(storageKey(kind), object), isCreated: false };
  store.remove(storageKey(kind), object);
  return {
    object: { ...stored, text: JSON.stringify({ ...object, metadata: { ...metadataOf(object), resourceVersion: textOf(stored.version) } }) },
    isCreated: false,
  };
}

/** A namespace has finalizers of its own; pods end when their kubelet says so. */
export function hasOwnFinalizers(kind: ServedKind, object: Fields): boolean {
  if (kind.group !== "") return false;
  if (kind.kind === "Namespace") return (((object.spec as Fields | undefined)?.finalizers as string[] | undefined) ?? []).length > 0;
  return kind.kind === "Pod" && Number(metadataOf(object).deletionGracePeriodSeconds ?? 0) > 0;
}

function settled(write: Write, live: Fields, next: Fields): Fields {
  const { kind } = write;
  const about = metadataOf(live);
  const { finalizers, ...given } = metadataOf(next);
  const kept = Object.fromEntries(
    ["name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"]
      .filter((field) => about[field] !== undefined)
      .map((field) => [field, about[field]]),
  );
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"]) delete given[field];
  const hasFinalizers = Array.isArray(finalizers) && finalizers.length > 0;
  const object: Fields = { ...next, metadata: { ...given, ...(hasFinalizers && { finalizers }), ...kept } };
  const isWanted = isCounted(kind) && write.subresource === "" && !isDeepStrictEqual(wantedOf(kind, live), wantedOf(kind, object));
  if (isWanted) (object.metadata as Fields).generation = Number(about.generation ?? 0) + 1;
  const shaped = kind.custom ? object : (goForm(kind.schema, object) as Fields);
  return shaped;
}

/** What a change of makes a new generation. */
function wantedOf(kind: ServedKind, object: Fields): unknown {
  const { metadata: _, status, ...rest } = object;
  return kind.custom && !kind.subresources.includes("status") ? { ...rest, status } : rest;
}

function validateFinalizers(live: Fields, object: Fields) {
  if (metadataOf(live).deletionTimestamp === undefined) return [];
  const had = new Set((metadataOf(live).finalizers ?? []) as string[]);
  const added = ((metadataOf(object).finalizers ?? []) as string[]).filter((finalizer) => !had.has(finalizer));
  if (added.length === 0) return [];
  const told = `[]string{${added.map((finalizer) => JSON.stringify(finalizer)).join(", ")}}`;
  const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${told}`;
  const cause = { reason: "FieldValueForbidden", message, field: "metadata.finalizers" };
  return [cause, cause];
}

/** Only times of managers may differ: such a write is none. */
function isSame(live: Fields, next: Fields): boolean {
  for (const field of new Set([...Object.keys(live), ...Object.keys(next)])) {
    if (field !== "metadata" && !isSameValue(live[field], next[field])) return false;
  }
  return isDeepStrictEqual(withoutTimes(live), withoutTimes(next));
}

/** As JSON: what is undefined is not there, and fields have no order. */
function isSameValue(live: unknown, next: unknown): boolean {
  const [before, after] = [JSON.stringify(live), JSON.stringify(next)] as (string | undefined)[];
  if (before === after) return true;
  return before !== undefined && after !== undefined && isDeepStrictEqual(JSON.parse(before), JSON.parse(after));
}

function withoutTimes(object: Fields): unknown {
  const { managedFields, ...metadata } = metadataOf(object);
  const entries = ((managedFields ?? []) as Fields[]).map((entry) => ({ ...entry, time: undefined }));
  return JSON.parse(JSON.stringify({ ...metadata, managedFields: entries }));
}

/**
 * Server-side apply.
 *
 * @throws StatusError
 */
export function applyObject(store: ObjectStore, write: Write, config: Fields, force: boolean): Written {
  const { kind, namespace, name } = write;
  const stored = store.get(storageKey(kind), namespace, name);
  checkConfig(write, config, stored);
  const live = stored ? parse(stored) : { ...empty(kind), metadata: {} };
  try {
    validateTyped(kind.schema, config);
  } catch (error) {
    if (!(error instanceof TypedValueError)) throw error;
    const about = metadataOf(config);
    const version = kind.group === "" ? `/${kind.version}` : apiVersionOf(kind);
    throw new StatusError(
      500,
      "",
      `failed to create typed patch object (${textOf(about.namespace ?? "")}/${textOf(about.name ?? "")}; ${version}, Kind=${kind.kind}): ${error.message}`,
    );
  }
  const applied = applied_(live, config, write, { force, empty: stored ? empty(kind) : undefined });
  const placed = place(write, applied.merged);
  const named = { ...placed, metadata: { ...metadataOf(placed), name } };
  const next = applied.withOwners(read(kind, named));
  if (!stored) return create(store, write, next);
  return commit(store, write, live, stored, onlyOwnPart(write, next, live));
}

function applied_(live: Fields, config: Fields, write: Write, { force, empty: nothing }: { force: boolean; empty: Fields | undefined }) {
  try {
    return applyOwned(live, config, contextOf(write), force, nothing);
  } catch (error) {
    if (error instanceof ConflictError) throw new StatusError(409, "Conflict", error.message, { causes: error.causes });
    throw error;
  }
}

function checkConfig({ kind, name, namespace }: Write, config: Fields, stored: StoredObject | undefined): void {
  const about = metadataOf(config);
  if (config.apiVersion !== apiVersionOf(kind) || config.kind !== kind.kind)
    throw badRequest(`Incorrect version specified in apply patch. Specified patch version: ${textOf(config.apiVersion)}, expected: ${apiVersionOf(kind)}`);
  if (about.managedFields !== undefined) throw badRequest("metadata.managedFields must be nil");
  if (about.name !== undefined && about.name !== name)
    throw badRequest(`the name of the object (${textOf(about.name)}) does not match the name on the URL (${name})`);
  if (kind.isNamespaced && about.namespace !== undefined && about.namespace !== namespace)
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  if (about.uid === undefined || about.uid === "") return;
  if (!stored) throw conflict(kind, name, `uid mismatch: the provided object specified uid ${textOf(about.uid)}, and no existing object was found`);
  if (metadataOf(parse(stored)).uid !== about.uid) {
    const cause = { reason: "FieldValueInvalid", message: `Invalid value: ${JSON.stringify(about.uid)}: field is immutable`, field: "metadata.uid" };
    throw invalid(kind, name, [cause, cause]);
  }
}

export interface DeleteOptions {
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: string;
  readonly gracePeriodSeconds?: number;
}

/** @returns the object when it stays for now (finalizers, grace), or its last version. */
export function deleteObject(
  store: ObjectStore,
  write: Write,
  stored: StoredObject,
  options: DeleteOptions,
): { readonly isGone: boolean; readonly object: StoredObject } {
  const { kind, name } = write;
  const object = parse(stored);
  const about = metadataOf(object);
  const { uid, resourceVersion } = options.preconditions ?? {};
  if (uid !== undefined && uid !== about.uid) {
    const told = `the UID in the precondition (${uid}) does not match the UID in record (${textOf(about.uid)}). The object might have been deleted and then recreated`;
    throw preconditionFailed(kind, name, told);
  }
  if (resourceVersion !== undefined && resourceVersion !== about.resourceVersion) {
    const told = `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${textOf(about.resourceVersion)}). The object might have been modified`;
    throw preconditionFailed(kind, name, told);
  }
  const marked = markDeleted(kind, object, options, write.now);
  const stays = ((metadataOf(marked).finalizers ?? []) as string[]).length > 0 || hasOwnFinalizers(kind, marked);
  if (write.isDryRun) return { isGone: !stays, object: stored };
  if (!stays) return { isGone: true, object: store.remove(storageKey(kind), object) };
  if (isSame(object, marked)) return { isGone: false, object: stored };
  return { isGone: false, object: store.put(storageKey(kind), marked) };
}

function markDeleted(kind: ServedKind, object: Fields, options: DeleteOptions, now: string): Fields {
  const about = metadataOf(object);
  const added = { Foreground: ["foregroundDeletion"], Orphan: ["orphan"] }[options.propagationPolicy ?? ""] ?? [];
  const finalizers = [...new Set([...((about.finalizers ?? []) as string[]), ...added])];
  const isNamespace = kind.kind === "Namespace" && kind.group === "";
  const grace = graceOf(kind, object, options);
  const isFirst = about.deletionTimestamp === undefined;
  const metadata = {
    ...about,
    ...(finalizers.length > 0 && { finalizers }),
    ...(isFirst && { deletionTimestamp: now }),
    ...(!isNamespace && { deletionGracePeriodSeconds: grace }),
    ...(isFirst && Number(about.generation ?? 0) > 0 && { generation: Number(about.generation) + 1 }),
  };
  return { ...object, metadata, ...(isNamespace && { status: { ...(object.status as object | undefined), phase: "Terminating" } }) };
}

/** Only pods that run somewhere are given time. */
function graceOf(kind: ServedKind, object: Fields, options: DeleteOptions): number {
  if (kind.kind !== "Pod" || kind.group !== "") return 0;
  const spec = (object.spec ?? {}) as Fields;
  const phase = (object.status as Fields | undefined)?.phase;
  if (!spec.nodeName || phase === "Succeeded" || phase === "Failed") return 0;
  return options.gracePeriodSeconds ?? Number(spec.terminationGracePeriodSeconds ?? 30);
}
