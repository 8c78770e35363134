import { isSecretLike } from "./object-id.ts";
import { isPodWell, podTrouble, tellUnready } from "./pod-trouble.ts";
import type { HealthInput } from "./verdict.ts";

/** An event as far as a reason looks at it. */
export interface WarningEvent {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly metadata?: { readonly creationTimestamp?: string };
  readonly series?: { readonly count?: number; readonly lastObservedTime?: string };
}

/** A pod as a list gives it. */
export interface PodSeen extends HealthInput {
  readonly metadata?: HealthInput["metadata"] & {
    readonly name?: string;
    readonly uid?: string;
    readonly creationTimestamp?: string;
    readonly ownerReferences?: readonly { readonly kind?: string; readonly name?: string; readonly uid?: string }[];
  };
}

/** No warning, and all there is to say of a claim that no pod uses yet. */
const waitsForUse = "WaitForFirstConsumer";

/** An event's text is somebody else's: what is longer says nothing more. */
const maxEventChars = 200;

/**
 * The label selector of an object's pods, as a query takes it; undefined for kinds that have none. Workloads say it in their
 * spec, what has a scale subresource in its status.
 */
export function podSelectorOf(object: HealthInput): string | undefined {
  const selector = object.spec?.selector;
  if (object.apiVersion === "v1") return object.kind === "ReplicationController" && isMap(selector) ? fromLabels(selector) : undefined;
  if (/^(apps|batch|policy)\//.test(object.apiVersion ?? "")) return isMap(selector) ? fromSelector(selector) : undefined;
  const scale = object.status?.selector ?? object.status?.labelSelector;
  return typeof scale === "string" && scale !== "" ? scale : undefined;
}

/** The pod that fares worst, with how many more fare badly; undefined when none does. */
export interface WorstPod {
  readonly pod: PodSeen;
  readonly words: string;
  /** Its own status tells nothing yet: an event may. */
  readonly isSilent: boolean;
  readonly others: number;
}

/** Of an object's pods the one to tell of: hopeless before troubled before merely not ready; the newest of those. */
export function worstPod(pods: readonly PodSeen[], object: HealthInput): WorstPod | undefined {
  const unwell = pods.filter((pod) => !isPodWell(pod) && pod.metadata?.deletionTimestamp === undefined && isOf(pod, object));
  const ranked = unwell.map((pod) => {
    const trouble = podTrouble(pod);
    return { pod, trouble, rank: trouble === undefined ? 2 : trouble.isHopeless ? 0 : 1, made: pod.metadata?.creationTimestamp ?? "" };
  });
  ranked.sort((a, b) => a.rank - b.rank || b.made.localeCompare(a.made));
  const [worst] = ranked;
  if (!worst) return undefined;
  const others = ranked.filter(({ rank }) => rank <= worst.rank).length - 1;
  return { pod: worst.pod, words: worst.trouble?.words ?? tellUnready(worst.pod), isSilent: worst.trouble === undefined, others };
}

/** The newest warning, as one line; "" when there is none. A repetition of what a status says gives way to an older one that says more. */
export function tellWarning(events: readonly WarningEvent[], kind: string): string {
  const warnings = events.filter((event) => event.type !== "Normal" || event.reason === waitsForUse).sort((a, b) => timeOf(b).localeCompare(timeOf(a)));
  const event = warnings.find((one) => !/^(Error: |Back-off )/.test(one.message ?? "")) ?? warnings[0];
  if (!event) return "";
  const times = event.series?.count ?? event.count ?? 1;
  const message = isSecretLike(kind) ? "" : inOneLine(event.message ?? "", maxEventChars);
  return `${event.reason ?? "Warning"}${times > 1 ? ` ×${times}` : ""}${message === "" ? "" : `: ${message}`}`;
}

/** Text of others as part of a line: control characters out, bounded. */
export function inOneLine(text: string, maxChars: number): string {
  const line = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ").trim();
  return line.length <= maxChars ? line : `${line.slice(0, maxChars - 1)}…`;
}

/** What was found about an object, put together. */
export interface Findings {
  readonly worst: WorstPod | undefined;
  readonly podWarning: string;
  readonly warning: string;
  /** What could not be read for want of rights: "pods", "events". */
  readonly unread: readonly string[];
}

/** The reason in one line; "" when nothing was found. */
export function tellReason({ worst, podWarning, warning, unread }: Findings): string {
  const parts: string[] = [];
  if (worst) {
    const more = worst.others > 0 ? ` (and ${worst.others} more)` : "";
    const says =
      worst.isSilent && podWarning !== "" ? podWarning : podWarning === "" || worst.words.includes(podWarning) ? worst.words : `${worst.words}; ${podWarning}`;
    parts.push(`pod ${worst.pod.metadata?.name}${more}: ${inOneLine(says, 2 * maxEventChars)}`);
  }
  if (warning !== "") parts.push(warning);
  if (unread.length > 0) parts.push(`${unread.join(" and ")} may not be read here`);
  return parts.join("; ");
}

/** A selector can match pods of somebody else; a Deployment's pods are its replica sets'. */
function isOf(pod: PodSeen, object: HealthInput): boolean {
  const { uid, name } = (object.metadata ?? {}) as { uid?: string; name?: string };
  if (!/^(apps|batch)\//.test(object.apiVersion ?? "")) return true;
  const owners = pod.metadata?.ownerReferences ?? [];
  if (owners.some((owner) => owner.uid === uid)) return true;
  return object.kind === "Deployment" && owners.some((owner) => owner.kind === "ReplicaSet" && owner.name?.startsWith(`${name}-`));
}

function fromLabels(labels: Readonly<Record<string, unknown>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(",");
}

interface Expression {
  readonly key?: string;
  readonly operator?: string;
  readonly values?: readonly string[];
}

function fromSelector(selector: Readonly<Record<string, unknown>>): string {
  const labels = isMap(selector.matchLabels) ? fromLabels(selector.matchLabels) : "";
  const expressions = Array.isArray(selector.matchExpressions) ? (selector.matchExpressions as Expression[]) : [];
  return [labels, ...expressions.map(fromExpression)].filter((part) => part !== "").join(",");
}

function fromExpression({ key = "", operator, values = [] }: Expression): string {
  if (operator === "Exists") return key;
  if (operator === "DoesNotExist") return `!${key}`;
  return `${key} ${operator === "NotIn" ? "notin" : "in"} (${values.join(",")})`;
}

function timeOf(event: WarningEvent): string {
  return event.series?.lastObservedTime ?? event.lastTimestamp ?? event.eventTime ?? event.metadata?.creationTimestamp ?? "";
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
