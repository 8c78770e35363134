import type { KubeObject } from "@flotilla/proto/digest";
import { fieldManager, fleetLabel, ownerAnnotation, ownerOf } from "@flotilla/proto/names";
import { collectionPath, objectPath, type KubeResource } from "./discovery.ts";
import type { KubeApi } from "./kube-client.ts";
import { isStatus, KubeError } from "./kube-error.ts";
import type { LiveObject } from "./live-object.ts";

/** How one object is applied. */
export interface ApplyOptions {
  readonly fleet: string;
  readonly bundle: string;
  /** Our inventory holds the object: what we once applied, we keep. Otherwise it is an adoption, which only takes over from people's tools. */
  readonly isOurs: boolean;
  /** The object that is meant: the API server refuses to make another, or to write onto one. Left out or "": whatever is there, or a new one. */
  readonly uid?: string;
  /** "never": what others hold stays theirs, ours or not. */
  readonly force?: "never";
  /** Its owner annotation was looked at, and may be written over. */
  readonly mayClaim?: boolean;
  /** The version that is meant: of another one nothing is written. */
  readonly resourceVersion?: string;
  readonly dryRun?: boolean;
  readonly urgent?: boolean;
}

/** What an apply gave. */
export interface Applied {
  readonly object: LiveObject;
  readonly isCreated: boolean;
  /** Managers that fields were taken from. */
  readonly tookOverFrom: readonly string[];
  /** Only of dry runs: fields for which it would be deleted and made again. */
  readonly recreates?: readonly string[];
}

/** Tools by which people write objects. Their fields give way to Git; those of controllers and of other appliers do not. */
const peoplesTools = /^(kubectl([-_].*)?|helm|before-first-apply|k9s|Lens|OpenLens|flotilla.*)$/i;

/**
 * Server-side apply of one object under our field manager, with the label that watches select by and the owner annotation.
 * First without force. A conflict on an object of ours, or with people's tools only, is applied again with force; any other is
 * an error that names who holds the fields.
 *
 * @throws KubeError; reason "Contested" when another manager keeps fields that it holds.
 */
export async function applyObject(client: KubeApi, resource: KubeResource, object: KubeObject, options: ApplyOptions): Promise<Applied> {
  const body = JSON.stringify(dressed(object, resource, options));
  const send = (force: boolean) =>
    client.request({
      method: "PATCH",
      path: objectPath(resource, object.metadata.namespace ?? "", object.metadata.name),
      query: { fieldManager, force: force ? "true" : undefined, dryRun: options.dryRun ? "All" : undefined },
      contentType: "application/apply-patch+yaml",
      body,
      urgent: options.urgent ?? false,
    });
  try {
    return read(await send(false), []);
  } catch (error) {
    const holders = isStatus(error, 409) ? conflictsOf(error) : [];
    if (holders.length === 0) throw error;
    if (options.force === "never" || (!options.isOurs && !options.mayClaim && holdsMark(holders))) throw contested(error as KubeError, holders);
    if (!options.isOurs && !holders.every((holder) => peoplesTools.test(holder.manager))) throw contested(error as KubeError, holders);
    return read(await send(true), [...new Set(holders.map((holder) => holder.manager))]);
  }
}

/**
 * Make one object that is not there, with our marks.
 *
 * @throws KubeError; reason "AlreadyExists" when it is there.
 */
export async function createObject(
  client: KubeApi,
  resource: KubeResource,
  object: KubeObject,
  owner: { readonly fleet: string; readonly bundle: string; readonly dryRun?: boolean },
): Promise<Applied> {
  const path = collectionPath(resource, object.metadata.namespace ?? "default");
  const body = JSON.stringify(dressed(object, resource, owner));
  return read(await client.request({ method: "POST", path, query: { fieldManager, dryRun: owner.dryRun ? "All" : undefined }, body }), []);
}

/** Whether an apply was refused because the object of its UID is not there: nothing is (409), or another that has its name (422 at metadata.uid). */
export function isUidConflict(error: unknown): boolean {
  if (isStatus(error, 422)) return error.causes.some(({ field }) => field === "metadata.uid");
  return isStatus(error, 409) && conflictsOf(error).length === 0 && /\buid\b/i.test(error.message);
}

/** Whether an apply was refused because others hold its fields. */
export function isOwnershipConflict(error: unknown): error is KubeError {
  return isStatus(error, 409) && conflictsOf(error).length > 0;
}

/** Whether an apply was refused because somebody else holds the owner annotation. */
export function isMarkConflict(error: unknown): boolean {
  return isStatus(error, 409) && holdsMark(conflictsOf(error));
}

function holdsMark(conflicts: readonly Conflict[]): boolean {
  return conflicts.some(({ field }) => field === `.metadata.annotations.${ownerAnnotation}`);
}

type DressOptions = Pick<ApplyOptions, "fleet" | "bundle" | "uid" | "resourceVersion">;

function dressed(object: KubeObject, resource: KubeResource, { fleet, bundle, uid, resourceVersion }: DressOptions): KubeObject {
  const { namespace, ...metadata } = object.metadata;
  return {
    ...withoutStringData(object),
    metadata: {
      ...metadata,
      // The renderer cannot know the scope of a kind that only this cluster defines.
      ...(resource.isNamespaced && { namespace: namespace ?? "default" }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      labels: { ...object.metadata.labels, [fleetLabel]: fleet },
      annotations: { ...object.metadata.annotations, [ownerAnnotation]: ownerOf(fleet, bundle) },
    },
  } as KubeObject;
}

/**
 * stringData is only ever written: the API server moves it into data and gives its ownership to nobody, so that a changed
 * value would never be seen as drift. Moved here, it is ours.
 */
function withoutStringData(object: KubeObject): KubeObject {
  if (object.apiVersion !== "v1" || object.kind !== "Secret" || !object.stringData) return object;
  const { stringData, ...secret } = object;
  const moved = Object.entries(stringData as Record<string, unknown>).map(([name, value]) => [name, Buffer.from(String(value)).toString("base64")]);
  return { ...secret, data: { ...(object.data as object | undefined), ...Object.fromEntries(moved) } } as KubeObject;
}

function read(answer: { status: number; body: Buffer }, tookOverFrom: readonly string[]): Applied {
  try {
    return { object: JSON.parse(answer.body.toString("utf8")) as LiveObject, isCreated: answer.status === 201, tookOverFrom };
  } catch (cause) {
    throw new KubeError("unusable", "the answer to an apply is not JSON", { cause });
  }
}

interface Conflict {
  readonly manager: string;
  readonly field: string;
}

/** Who holds which field, as the API server says it: `conflict with "kubectl-edit" using apps/v1`. */
function conflictsOf(error: KubeError): Conflict[] {
  return error.causes
    .filter((cause) => cause.reason === "FieldManagerConflict")
    .map((cause) => ({ manager: /conflict with "((?:[^"\\]|\\.)*)"/.exec(cause.message ?? "")?.[1] ?? "unknown", field: cause.field ?? "" }));
}

function contested(error: KubeError, holders: readonly Conflict[]): KubeError {
  const fields = (manager: string) => holders.filter((holder) => holder.manager === manager).map((holder) => holder.field);
  const tell = [...new Set(holders.map((holder) => holder.manager))].map((manager) => `"${manager}" holds ${fields(manager).slice(0, 5).join(", ")}`);
  const message = `contested: ${tell.join("; ")}. Remove these fields from Git, or make the other manager let go of them`;
  return new KubeError("status", message, { status: 409, reason: "Contested", causes: error.causes, cause: error });
}
