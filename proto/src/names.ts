/** Words and names that appear on objects, in certificates and on the wire. */

/** API group of everything that people write for Flotilla, and of its labels and annotations. */
export const apiGroup = "flotilla.dev";
export const fleetApiVersion = `${apiGroup}/v1`;

/** Field manager of every server-side apply (Kubernetes: at most 128 printable characters). */
export const fieldManager = "flotilla";

/** Namespace where the agent lives and keeps its state. */
export const agentNamespace = "flotilla-system";

/** Annotations on applied objects. */
export const ownerAnnotation = `${apiGroup}/owner`;
export const pruneAnnotation = `${apiGroup}/prune`;

/** Label on every applied object; its value is the fleet's name. Lists and watches select by it, so that the agent sees only its own. */
export const fleetLabel = `${apiGroup}/fleet`;

/** Label on objects that hold the agent's own state; its value says which. */
export const stateLabel = `${apiGroup}/state`;

/** Label that every cluster has: its own name. */
export const clusterNameLabel = `${apiGroup}/cluster`;

/**
 * Name that every server certificate of the hub's CA carries and every agent asks for, whatever address it dialled: the
 * CA is pinned, so the address proves nothing more, and a hub behind a proxy or an IP address works the same.
 */
export const hubServerName = "hub.flotilla.internal";

/**
 * What an agent asks for by SNI: a certificate of the CA whose public key has this SHA-256 (hex). What it then checks is hubServerName. A
 * hub that does not know the CA, or knows nothing of this, shows what it has.
 */
export function authorityServerName(caHash: string): string {
  return `${caHash.slice(0, authorityLabelChars)}.ca.flotilla.internal`;
}

/** Hex digits of a hash that name a CA in a server name: a DNS label has at most 63. */
const authorityLabelChars = 32;

/** Trust domain of agent identities. */
const trustDomain = "flotilla";

/** SPIFFE id of a cluster's agent: `spiffe://flotilla/cluster/<name>`. */
export function clusterSpiffeId(cluster: string): string {
  return `spiffe://${trustDomain}/cluster/${cluster}`;
}

/** The cluster that a SPIFFE id names, or undefined when the id is not of exactly that form. */
export function clusterOfSpiffeId(id: string): string | undefined {
  const prefix = `spiffe://${trustDomain}/cluster/`;
  if (!id.startsWith(prefix)) return undefined;
  const name = id.slice(prefix.length);
  return isName(name) ? name : undefined;
}

/** Longest name of a fleet, bundle or cluster: an RFC 1123 label, so that it fits in a Kubernetes label value. */
export const maxNameChars = 63;

/** Whether a string can name a fleet, a bundle or a cluster: an RFC 1123 label. */
export function isName(name: string): boolean {
  return name.length <= maxNameChars && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name);
}

/** What to say when a name is refused. */
export const nameRule = "lower-case letters, digits and '-', starting and ending with a letter or digit, at most 63 characters";

/** Value of ownerAnnotation: which fleet and bundle applied the object. */
export function ownerOf(fleet: string, bundle: string): string {
  return `${fleet}/${bundle}`;
}
