import { kindsOf } from "./custom-kinds.ts";
import { apiVersionOf, builtInKinds, servedVersion, type ServedKind, storageKey } from "./kinds.ts";
import { badRequest, forbidden, noSuchPath, notFound, StatusError } from "./kube-status.ts";
import { jsonPatch, mergePatch } from "./json-patch.ts";
import { ObjectStore, type StoredObject, type StoreEvent } from "./object-store.ts";
import { type LabelTest, parseFieldSelector, parseLabelSelector } from "./selectors.ts";
import { simulatedLimits } from "./simulated-limits.ts";
import { type Fields, isFields, textOf } from "./typed-value.ts";
import { applyObject, createObject, deleteObject, type DeleteOptions, parse, updateObject, type Write, type Written } from "./write-object.ts";

/** A request as any transport brings it. */
export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly contentType: string;
  readonly accept: string;
  readonly userAgent: string;
  readonly body: string;
}

/** A whole answer, or lines that go on. */
export type ApiAnswer =
  | { readonly kind: "whole"; readonly status: number; readonly body: string; readonly retryAfter?: number }
  | { readonly kind: "watch"; open(send: (line: string) => void, end: () => void): () => void };

interface Target {
  readonly kind: ServedKind;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

/** One cluster's API: pure of transports and of time but for timestamps. */
export class ApiServer {
  readonly store: ObjectStore;
  /** By "apiVersion/plural". */
  readonly #builtIn = builtInByPath;
  #custom: ReadonlyMap<string, ServedKind> = new Map();

  constructor(maxEvents: number = simulatedLimits.maxEvents) {
    this.store = new ObjectStore(maxEvents);
    for (const name of ["default", "kube-system", "kube-public", "kube-node-lease"]) this.#seed("/api/v1/namespaces", { metadata: { name } });
    this.store.listen((event) => {
      if (event.storage === definitionStorage) this.#onDefinition(event);
    });
  }

  /** How many kinds definitions made; for discovery. */
  kinds(): ServedKind[] {
    return [...builtInKinds, ...this.#custom.values()];
  }

  kindOf(apiVersion: string, plural: string): ServedKind | undefined {
    const path = `${apiVersion}/${plural}`;
    return this.#builtIn.get(path) ?? this.#custom.get(path);
  }

  handle(request: ApiRequest): ApiAnswer {
    try {
      return this.#handle(request);
    } catch (error) {
      if (error instanceof StatusError) return refusal(error);
      throw error;
    }
  }

  #handle(request: ApiRequest): ApiAnswer {
    const { path } = request;
    if (path === "/version") return json(200, servedVersion);
    if (/^\/(healthz|readyz|livez)(\/|$)/.test(path)) return { kind: "whole", status: 200, body: "ok" };
    if (path === "/api" || path === "/apis") return this.#discover(path);
    const group = /^\/(?:api\/(v1)|apis\/([^/]+\/[^/]+))$/.exec(path);
    if (group) return this.#resources(group[1] ?? group[2] ?? "");
    if (/^\/apis\/authorization\.k8s\.io\/v1\/self(subject)?(access|rules)reviews$/.test(path)) return allowed(request.body);
    return this.#answer(request, this.#target(path));
  }

  #target(path: string): Target {
    const match = /^\/(?:api\/(v1)|apis\/([^/]+\/[^/]+))\/(.+)$/.exec(path);
    const apiVersion = match?.[1] ?? match?.[2] ?? "";
    const steps = (match?.[3] ?? "").split("/").map(decodeURIComponent);
    const isInNamespace = steps[0] === "namespaces" && steps.length >= 3 && !(apiVersion === "v1" && ["status", "finalize"].includes(steps[2] ?? ""));
    const [plural = "", name = "", subresource = ""] = isInNamespace ? steps.slice(2) : steps;
    const kind = this.kindOf(apiVersion, plural);
    if (!kind) throw noSuchPath();
    return { kind, namespace: isInNamespace && kind.isNamespaced ? (steps[1] ?? "") : "", name, subresource };
  }

  #answer(request: ApiRequest, target: Target): ApiAnswer {
    const { method } = request;
    if (target.subresource !== "" && !target.kind.subresources.includes(target.subresource)) throw noSuchPath();
    if (target.name === "") {
      if (method === "GET") return isWatch(request) ? this.#watch(request, target) : this.#list(request, target);
      if (method === "POST") return this.#create(request, target);
      if (method === "DELETE") return this.#deleteCollection(request, target);
    } else {
      if (method === "GET") return whole(200, withForm(request, this.#found(target).text));
      if (method === "PUT" || method === "PATCH") return this.#change(request, target);
      if (method === "DELETE") return this.#delete(request, target);
      if (method === "POST" && target.subresource === "binding") return this.#bind(request, target);
    }
    throw new StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
  }

  #found({ kind, namespace, name }: Target): StoredObject {
    const found = this.store.get(storageKey(kind), namespace, name);
    if (!found) throw notFound(kind, name);
    return found;
  }

  #create(request: ApiRequest, target: Target): ApiAnswer {
    const object = parseBody(request);
    this.#checkNamespace(target, textOf((object.metadata as Fields | undefined)?.name ?? ""));
    const name = textOf((object.metadata as Fields | undefined)?.name ?? "");
    if (target.kind.isNamespaced && target.namespace === "") throw badRequest("an empty namespace may not be set during creation");
    return written(request, createObject(this.store, writeOf(request, { ...target, name }, "Update"), object));
  }

  /** Nothing is made in a namespace that is not there, or is going. */
  #checkNamespace({ kind, namespace }: Target, name: string): void {
    if (!kind.isNamespaced || namespace === "") return;
    const found = this.store.get("/namespaces", "", namespace);
    if (!found) throw notFound({ group: "", plural: "namespaces", kind: "Namespace" }, namespace);
    if (!found.text.includes('"deletionTimestamp"')) return;
    const cause = { reason: "NamespaceTerminating", message: `namespace ${namespace} is being terminated`, field: "metadata.namespace" };
    throw forbidden(kind, name, `unable to create new content in namespace ${namespace} because it is being terminated`, [cause]);
  }

  #change(request: ApiRequest, target: Target): ApiAnswer {
    if (request.contentType.startsWith("application/apply-patch")) return this.#apply(request, target);
    const write = writeOf(request, target, "Update");
    const isThere = this.store.get(storageKey(target.kind), target.namespace, target.name) !== undefined;
    if (request.method === "PUT" && !isThere && createdByPut.has(storageKey(target.kind)))
      return written(request, createObject(this.store, write, parseBody(request)));
    const stored = this.#found(target);
    if (request.method === "PUT") return written(request, updateObject(this.store, write, stored, parseBody(request)));
    const live = parse(stored);
    return written(request, updateObject(this.store, write, stored, patched(request, live)));
  }

  #apply(request: ApiRequest, target: Target): ApiAnswer {
    if (!request.query.get("fieldManager")) {
      const cause = { reason: "FieldValueRequired", message: "Required value: is required for apply patch", field: "fieldManager" };
      throw new StatusError(422, "Invalid", `PatchOptions.meta.k8s.io "" is invalid: fieldManager: ${cause.message}`, {
        group: "meta.k8s.io",
        kind: "PatchOptions",
        causes: [cause],
      });
    }
    const config = parseBody(request);
    if (!this.store.get(storageKey(target.kind), target.namespace, target.name)) this.#checkNamespace(target, target.name);
    return written(request, applyObject(this.store, writeOf(request, target, "Apply"), config, request.query.get("force") === "true"));
  }

  #delete(request: ApiRequest, target: Target): ApiAnswer {
    const { kind } = target;
    const options = deleteOptions(request);
    const { isGone, object } = deleteObject(this.store, writeOf(request, target, "Update", options.isDryRun), this.#found(target), options);
    if (!isGone || returnsDeleted.has(storageKey(kind))) return whole(200, object.text);
    const { uid } = parse(object).metadata as { uid: string };
    const details = { name: target.name, ...(kind.group !== "" && { group: kind.group }), kind: kind.plural, uid };
    return json(200, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details });
  }

  #deleteCollection(request: ApiRequest, target: Target): ApiAnswer {
    const options = deleteOptions(request);
    const { items } = this.#select(request, target);
    for (const item of items) deleteObject(this.store, writeOf(request, { ...target, ...item }, "Update", options.isDryRun), item, options);
    return json(200, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" });
  }

  #bind(request: ApiRequest, target: Target): ApiAnswer {
    const stored = this.#found(target);
    const live = parse(stored);
    const { target: node } = parseBody(request) as { target?: { name?: string } };
    const bound = { ...live, spec: { ...(live.spec as object), nodeName: node?.name } };
    updateObject(this.store, writeOf(request, { ...target, subresource: "" }, "Update"), stored, bound);
    return json(201, { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 });
  }

  #select(request: ApiRequest, { kind, namespace }: Target): { items: StoredObject[] } {
    const labels = parseLabelSelector(request.query.get("labelSelector") ?? "");
    const fields = parseFieldSelector(request.query.get("fieldSelector") ?? "");
    const items = this.store.list(storageKey(kind), namespace).filter((item) => labels(item.labels) && (!fields || fields(parse(item))));
    return { items };
  }

  #list(request: ApiRequest, target: Target): ApiAnswer {
    const { kind } = target;
    const asked = Number(request.query.get("resourceVersion") ?? "0");
    if (asked > this.store.version) throw tooLarge(asked, this.store.version);
    const { items } = this.#select(request, target);
    const page = pageOf(items, request.query, this.store);
    const isMetadata = wantsMetadata(request);
    const [first, last] = isMetadata ? ["PartialObjectMetadataList", "meta.k8s.io/v1"] : [kind.custom?.listKind ?? `${kind.kind}List`, apiVersionOf(kind)];
    // Lists of custom resources say that there is no more; those of built-in kinds leave it out.
    const metadata = { ...(kind.custom && !isMetadata && { continue: "" }), ...page.metadata };
    const head = JSON.stringify({ kind: first, apiVersion: last, metadata });
    const texts = page.items.map((item) => (isMetadata ? metadataText(item.text) : kind.custom ? item.text : withoutKind(item.text)));
    return whole(200, `${head.slice(0, -1)},"items":[${texts.join(",")}]}`);
  }

  #watch(request: ApiRequest, target: Target): ApiAnswer {
    const { query } = request;
    const from = query.get("resourceVersion") ?? "";
    const matches = parseLabelSelector(query.get("labelSelector") ?? "");
    const fields = parseFieldSelector(query.get("fieldSelector") ?? "");
    const [storage, { namespace }] = [storageKey(target.kind), target];
    const tell = (event: StoreEvent) =>
      event.storage === storage && (namespace === "" || event.object.namespace === namespace) ? eventLine(event, matches, fields) : undefined;
    const asked = Number(query.get("timeoutSeconds") ?? simulatedLimits.watchSeconds);
    return {
      kind: "watch",
      open: (send, end) => {
        if (from !== "" && from !== "0" && Number(from) < this.store.compacted) {
          send(JSON.stringify({ type: "ERROR", object: tooOld(Number(from), this.store.compacted) }));
          end();
          return () => undefined;
        }
        const isFresh = from === "" || from === "0";
        if (isFresh) for (const item of this.#select(request, target).items) send(`{"type":"ADDED","object":${item.text}}`);
        for (const event of isFresh ? [] : this.store.since(Number(from))) sendIf(send, tell(event));
        const stop = this.store.listen((event) => sendIf(send, tell(event)));
        const ending = setTimeout(end, asked * 1_000).unref();
        const bookmarks =
          query.get("allowWatchBookmarks") === "true" ? setInterval(() => send(this.#bookmark(target.kind)), simulatedLimits.bookmarkMs).unref() : undefined;
        return () => {
          stop();
          clearTimeout(ending);
          clearInterval(bookmarks);
        };
      },
    };
  }

  #bookmark(kind: ServedKind): string {
    const object = { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata: { resourceVersion: textOf(this.store.version), creationTimestamp: null } };
    return JSON.stringify({ type: "BOOKMARK", object });
  }

  #onDefinition({ type, object, before }: StoreEvent): void {
    const definition = parse(object);
    const kinds = type === "DELETED" ? [] : isEstablished(definition) ? kindsOf(definition) : [];
    const others = [...this.#custom].filter(([, kind]) => kind.custom?.definition !== object.name);
    const gone = [...this.#custom.values()].filter((kind) => kind.custom?.definition === object.name && type === "DELETED");
    this.#custom = new Map([...others, ...kinds.map((kind): [string, ServedKind] => [`${apiVersionOf(kind)}/${kind.plural}`, kind])]);
    for (const kind of gone) for (const item of this.store.list(storageKey(kind), "")) this.store.remove(storageKey(kind), parse(item));
    if (!before) setTimeout(() => this.#establish(object.name), simulatedLimits.establishMs).unref();
  }

  /** What the API server itself does some time after a definition was made. */
  #establish(name: string): void {
    const stored = this.store.get(definitionStorage, "", name);
    if (!stored) return;
    const { metadata, spec } = parse(stored) as { metadata: { resourceVersion: string }; spec: { names: Fields } };
    const [at, { plural, singular, kind, listKind, shortNames }] = [timestamp(), spec.names];
    const condition = (type: string, reason: string, message: string) => ({ type, status: "True", lastTransitionTime: at, reason, message });
    const status = {
      conditions: [
        condition("NamesAccepted", "NoConflicts", "no conflicts found"),
        condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
      ],
      acceptedNames: { plural, singular, ...(shortNames !== undefined && { shortNames }), kind, listKind },
    };
    const body = JSON.stringify({ metadata: { resourceVersion: metadata.resourceVersion }, status });
    this.#ask("PATCH", `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}/status`, body, "application/merge-patch+json");
  }

  #seed(path: string, object: object): void {
    this.#ask("POST", path, JSON.stringify(object), "application/json");
  }

  #ask(method: string, path: string, body: string, contentType: string): void {
    this.handle({ method, path, query: new URLSearchParams(), contentType, accept: "application/json", userAgent: "kube-apiserver", body });
  }

  #discover(path: string): ApiAnswer {
    const kinds = this.kinds().filter(({ group }) => (path === "/api") === (group === ""));
    const items = [...Map.groupBy(kinds, ({ group }) => group)].map(([group, ofGroup]) => ({
      metadata: group === "" ? { creationTimestamp: null } : { name: group, creationTimestamp: null },
      versions: [...Map.groupBy(ofGroup, ({ version }) => version)].map(([version, served]) => ({
        version,
        resources: served.map(({ plural, kind, isNamespaced, singular, verbs, subresources }) => ({
          resource: plural,
          responseKind: { group: "", version: "", kind },
          scope: isNamespaced ? "Namespaced" : "Cluster",
          singularResource: singular,
          verbs,
          ...(subresources.length > 0 && { subresources: subresources.map((subresource) => ({ subresource, verbs: ["get", "patch", "update"] })) }),
        })),
        freshness: "Current",
      })),
    }));
    return json(200, { kind: "APIGroupDiscoveryList", apiVersion: "apidiscovery.k8s.io/v2", metadata: {}, items });
  }

  #resources(groupVersion: string): ApiAnswer {
    const kinds = this.kinds().filter((kind) => apiVersionOf(kind) === groupVersion);
    if (kinds.length === 0) throw noSuchPath();
    const resources = kinds.map(({ plural, singular, isNamespaced, kind, verbs }) => ({
      name: plural,
      singularName: singular,
      namespaced: isNamespaced,
      kind,
      verbs,
    }));
    return json(200, { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources });
  }
}

const definitionStorage = "apiextensions.k8s.io/customresourcedefinitions";
const builtInByPath: ReadonlyMap<string, ServedKind> = new Map(builtInKinds.map((kind) => [`${apiVersionOf(kind)}/${kind.plural}`, kind]));
/** Kinds whose delete answers with the object. */
const returnsDeleted = new Set([
  "/pods",
  "/services",
  "/persistentvolumeclaims",
  "/persistentvolumes",
  "/podtemplates",
  "/resourcequotas",
  "/serviceaccounts",
  "/replicationcontrollers",
]);

/** Kinds that a PUT makes when they are not there. */
const rbac = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"].map((plural) => `rbac.authorization.k8s.io/${plural}`);
const createdByPut = new Set(["/services", "/endpoints", "/events", "/limitranges", "coordination.k8s.io/leases", ...rbac]);

export function timestamp(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

function isEstablished(definition: Fields): boolean {
  const conditions = ((definition.status as Fields | undefined)?.conditions ?? []) as Fields[];
  return conditions.some(({ type, status }) => type === "Established" && status === "True");
}

function isWatch({ query }: ApiRequest): boolean {
  return ["1", "true"].includes(query.get("watch") ?? "");
}

function writeOf(request: ApiRequest, target: Target, operation: "Apply" | "Update", isDryRun = request.query.get("dryRun") === "All"): Write {
  const manager = request.query.get("fieldManager") ?? (request.userAgent.split("/")[0] || "unknown");
  const { kind, subresource } = target;
  return {
    ...target,
    writer: { manager, operation, apiVersion: apiVersionOf(kind), subresource: subresource === "binding" ? "" : subresource },
    isDryRun,
    now: timestamp(),
  };
}

function patched(request: ApiRequest, live: Fields): Fields {
  if (request.contentType.startsWith("application/json-patch")) return jsonPatch(live, parseJson(request.body) as Parameters<typeof jsonPatch>[1]) as Fields;
  if (request.contentType.startsWith("application/merge-patch")) return mergePatch(live, parseJson(request.body)) as Fields;
  const known = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
  throw new StatusError(415, "UnsupportedMediaType", `the body of the request was in an unknown format - accepted media types include: ${known}`, {});
}

function parseBody(request: ApiRequest): Fields {
  const body = parseJson(request.body);
  if (!isFields(body)) throw badRequest("the body of the request is not an object");
  return body;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body of the request is not JSON: ${(error as Error).message}`);
  }
}

function deleteOptions(request: ApiRequest): DeleteOptions & { isDryRun: boolean } {
  const body = request.body === "" ? {} : parseBody(request);
  const propagationPolicy = request.query.get("propagationPolicy");
  const grace = request.query.get("gracePeriodSeconds");
  return {
    ...(body as DeleteOptions),
    ...(propagationPolicy !== null && { propagationPolicy }),
    ...(grace !== null && { gracePeriodSeconds: Number(grace) }),
    isDryRun: request.query.get("dryRun") === "All" || (body.dryRun as string[] | undefined)?.includes("All") === true,
  };
}

function whole(status: number, body: string): ApiAnswer {
  return { kind: "whole", status, body };
}

function json(status: number, body: object): ApiAnswer {
  return whole(status, JSON.stringify(body));
}

function written(request: ApiRequest, { object, isCreated }: Written): ApiAnswer {
  return whole(isCreated ? 201 : 200, withForm(request, object.text));
}

export function refusal(error: StatusError): ApiAnswer {
  const retryAfter = error.details?.retryAfterSeconds;
  return { kind: "whole", status: error.code, body: JSON.stringify(error.body), ...(retryAfter !== undefined && { retryAfter }) };
}

function wantsMetadata({ accept }: ApiRequest): boolean {
  return accept.includes("as=PartialObjectMetadata");
}

function withForm(request: ApiRequest, text: string): string {
  return wantsMetadata(request) ? metadataText(text) : text;
}

function metadataText(text: string): string {
  const { metadata } = JSON.parse(text) as Fields;
  return JSON.stringify({ kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata });
}

/** Items of a list of a built-in kind do not repeat what they are. */
function withoutKind(text: string): string {
  return `{${text.slice(text.indexOf('"metadata":'))}`;
}

interface Page {
  readonly items: readonly StoredObject[];
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string; readonly remainingItemCount?: number };
}

function pageOf(items: readonly StoredObject[], query: URLSearchParams, store: ObjectStore): Page {
  const token = query.get("continue") ? readToken(query.get("continue") ?? "") : undefined;
  if (token && token.version < store.compacted) throw expiredToken();
  const version = textOf(token?.version ?? store.version);
  const rest = token ? items.filter((item) => keyOf(item) > token.after) : items;
  const limit = Number(query.get("limit") ?? "0") || rest.length;
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  if (rest.length <= limit || !last) return { items: page, metadata: { resourceVersion: version } };
  const isSelected = Boolean(query.get("labelSelector") || query.get("fieldSelector"));
  const next = Buffer.from(JSON.stringify({ version: Number(version), after: keyOf(last) })).toString("base64url");
  return { items: page, metadata: { resourceVersion: version, continue: next, ...(!isSelected && { remainingItemCount: rest.length - limit }) } };
}

function keyOf({ namespace, name }: StoredObject): string {
  return `${namespace}/${name}`;
}

function readToken(text: string): { version: number; after: string } {
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString("utf8")) as { version: number; after: string };
  } catch (error) {
    throw badRequest(`invalid continue token: continue key is not valid: ${(error as Error).message}`);
  }
}

function expiredToken(): StatusError {
  return new StatusError(
    410,
    "Expired",
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
  );
}

function tooOld(asked: number, compacted: number): object {
  return new StatusError(410, "Expired", `too old resource version: ${asked} (${compacted})`).body;
}

function tooLarge(asked: number, newest: number): StatusError {
  const causes = [{ reason: "ResourceVersionTooLarge", message: "Too large resource version", field: "" }];
  return new StatusError(504, "Timeout", `Timeout: Too large resource version: ${asked}, current: ${newest}`, { causes, retryAfterSeconds: 1 });
}

/** Everybody may do everything: RBAC is off here. */
function allowed(body: string): ApiAnswer {
  return json(201, { ...(parseJson(body) as object), metadata: {}, status: { allowed: true } });
}

function sendIf(send: (line: string) => void, line: string | undefined): void {
  if (line !== undefined) send(line);
}

/** An event as a watch with these selectors sees it; undefined when it does not. */
function eventLine(event: StoreEvent, labels: LabelTest, fields: ((object: unknown) => boolean) | undefined): string | undefined {
  const sees = (object: StoredObject | undefined) => object !== undefined && labels(object.labels) && (!fields || fields(parse(object)));
  const [isSeen, wasSeen] = [event.type !== "DELETED" && sees(event.object), sees(event.before)];
  if (!isSeen && !wasSeen) return undefined;
  const type = !isSeen ? "DELETED" : wasSeen ? "MODIFIED" : "ADDED";
  return `{"type":"${type}","object":${event.object.text}}`;
}
