import { sha256 } from "@flotilla/proto/digest";
import { stateLimits } from "../limits.ts";
import { KubeError } from "./kube-error.ts";
import type { StateObject, StateObjects } from "./state-objects.ts";

const annotation = { digest: "flotilla.dev/body-digest", parts: "flotilla.dev/body-parts", digests: "flotilla.dev/body-digests" } as const;

/** A compressed body. */
export interface PackedBody {
  readonly digest: string;
  readonly content: Uint8Array;
}

/** Secrets that belong together: the parts of one large body, or one Secret that many small bodies share. */
interface Home {
  readonly secrets: readonly string[];
  readonly digests: readonly string[];
  /** Epoch ms. */
  readonly since: number;
}

/**
 * How compressed bodies lie in Secrets: a large one alone in parts of 700 KiB, small ones together, so that a target of
 * hundreds of bundles costs a few requests and not hundreds. A body counts as held when all of it is written.
 * Every method throws KubeError.
 */
export class BodySecrets {
  readonly #objects: StateObjects;
  readonly #homes = new Map<string, Home>();

  constructor(objects: StateObjects) {
    this.#objects = objects;
  }

  /** Read which bodies the cluster holds; their content stays there. */
  async load(): Promise<void> {
    const secrets = await this.#objects.list("Secret", "body", { metadataOnly: true });
    this.#homes.clear();
    const [shared, parts] = [secrets.filter(isShared), secrets.filter((secret) => !isShared(secret))];
    for (const secret of shared) {
      const digests = (secret.metadata.annotations?.[annotation.digests] ?? "").split(",");
      this.#keepHome({ secrets: [secret.metadata.name], digests, since: createdAt(secret) });
    }
    for (const [digest, found] of Map.groupBy(parts, (part) => part.metadata.annotations?.[annotation.digest] ?? "")) {
      const whole = Number(found[0]?.metadata.annotations?.[annotation.parts]);
      if (found.length === whole) this.#keepHome({ secrets: partNames(digest, whole), digests: [digest], since: Math.min(...found.map(createdAt)) });
    }
  }

  has(digest: string): boolean {
    return this.#homes.has(digest);
  }

  /** Write bodies; those that were written before an error are held. */
  async write(bodies: readonly PackedBody[]): Promise<void> {
    const isSmall = ({ content }: PackedBody) => content.byteLength <= stateLimits.sharedBodyBytes;
    for (const body of bodies.filter((candidate) => !isSmall(candidate))) await this.#writeAlone(body);
    for (const load of loadsOf(bodies.filter(isSmall))) await this.#writeShared(load);
  }

  /** A body, with those that lie in the same Secret: who reads one of them soon reads the others. */
  async read(digest: string): Promise<PackedBody[]> {
    const home = this.#homes.get(digest);
    if (!home) throw new KubeError("unusable", `body ${digest} is not held`);
    const found: StateObject[] = [];
    for (const [part, name] of home.secrets.entries()) {
      const secret = await this.#objects.get("Secret", name);
      if (!secret) {
        for (const lost of home.digests) if (this.#homes.get(lost) === home) this.#homes.delete(lost);
        throw new KubeError("unusable", `part ${part} of body ${digest} is missing: somebody deleted it. It is asked for again at the next target`);
      }
      found.push(secret);
    }
    if (home.digests.length === 1 && found[0]?.data?.body !== undefined) {
      return [{ digest, content: Buffer.concat(found.map(({ data }) => Buffer.from(data?.body ?? "", "base64"))) }];
    }
    return Object.entries(found[0]?.data ?? {}).map(([name, text]) => ({ digest: name, content: Buffer.from(text, "base64") }));
  }

  /**
   * Remove bodies that no target names, apart from those that came lately: their target may be on its way. Small ones whose
   * Secret is mostly theirs no more are written together anew.
   */
  async collect(named: ReadonlySet<string>): Promise<void> {
    const before = Date.now() - stateLimits.bodyGraceMs;
    for (const home of new Set(this.#homes.values())) {
      if (home.since > before) continue;
      const kept = home.digests.filter((digest) => named.has(digest) && this.#homes.get(digest) === home);
      if (kept.length > home.digests.length * stateLimits.sharedBodiesWorthKeeping) continue;
      if (kept.length > 0) await this.write((await this.read(kept[0] as string)).filter(({ digest }) => kept.includes(digest)));
      for (const digest of home.digests) if (this.#homes.get(digest) === home) this.#homes.delete(digest);
      for (const name of home.secrets) await this.#objects.remove("Secret", name);
    }
  }

  async #writeAlone({ digest, content }: PackedBody): Promise<void> {
    const secrets = partNames(digest, Math.max(1, Math.ceil(content.byteLength / stateLimits.bodyChunkBytes)));
    const notes = { [annotation.digest]: digest, [annotation.parts]: String(secrets.length) };
    for (const [part, name] of secrets.entries()) {
      const chunk = content.subarray(part * stateLimits.bodyChunkBytes, (part + 1) * stateLimits.bodyChunkBytes);
      await this.#objects.put("Secret", "body", name, notes, { body: base64(chunk) });
    }
    this.#keepHome({ secrets, digests: [digest], since: Date.now() });
  }

  async #writeShared(bodies: readonly PackedBody[]): Promise<void> {
    const digests = bodies.map(({ digest }) => digest);
    const name = `flotilla-body-shared-${sha256(digests.join()).slice(0, 32)}`;
    const content = Object.fromEntries(bodies.map((body) => [body.digest, base64(body.content)]));
    await this.#objects.put("Secret", "body", name, { [annotation.digests]: digests.join() }, content);
    this.#keepHome({ secrets: [name], digests, since: Date.now() });
  }

  #keepHome(home: Home): void {
    for (const digest of home.digests) this.#homes.set(digest, home);
  }
}

/** Small bodies in loads of which each fits in one Secret. */
function loadsOf(bodies: readonly PackedBody[]): PackedBody[][] {
  const loads: PackedBody[][] = [];
  let bytes = Infinity;
  for (const body of bodies) {
    const isFull = bytes + body.content.byteLength > stateLimits.bodyChunkBytes || (loads.at(-1)?.length ?? 0) >= stateLimits.bodiesPerSecret;
    if (isFull) [bytes] = [0, loads.push([])];
    loads.at(-1)?.push(body);
    bytes += body.content.byteLength;
  }
  return loads;
}

function isShared({ metadata }: StateObject): boolean {
  return metadata.annotations?.[annotation.digests] !== undefined;
}

function createdAt({ metadata }: StateObject): number {
  return Date.parse(metadata.creationTimestamp ?? "") || 0;
}

function partNames(digest: string, parts: number): string[] {
  return Array.from({ length: parts }, (_, part) => `flotilla-body-${digest}-${part}`);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
