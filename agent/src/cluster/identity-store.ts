import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { StateObjects } from "./state-objects.ts";

/** Who this agent is towards the hub. PEM texts; addresses are host:port. */
export interface StoredIdentity {
  readonly cluster: string;
  readonly privateKeyPem: string;
  readonly certificatePem: string;
  readonly caPem: string;
  readonly linkAddress: string;
  readonly enrolAddress: string;
  /** Of the token that it was traded for. */
  readonly tokenHash?: string;
}

/** Where the identity is kept. */
export interface StoredIdentityHome {
  load(): Promise<StoredIdentity | undefined>;
  save(identity: StoredIdentity): Promise<void>;
}

const secretName = "flotilla-agent-identity";
const fields = ["cluster", "privateKeyPem", "certificatePem", "caPem", "linkAddress", "enrolAddress"] as const;

/** The identity in a Secret of the agent's namespace: it never leaves the cluster. */
export function identityInCluster(objects: StateObjects): StoredIdentityHome {
  return {
    load: async () => {
      const data = (await objects.get("Secret", secretName))?.data;
      return data && toIdentity(Object.fromEntries(Object.entries(data).map(([name, value]) => [name, Buffer.from(value, "base64").toString("utf8")])));
    },
    save: (identity) => {
      const texts = [...fields, "tokenHash" as const].flatMap((field) => (identity[field] === undefined ? [] : [[field, identity[field]] as const]));
      return objects.put("Secret", "identity", secretName, {}, Object.fromEntries(texts.map(([field, text]) => [field, Buffer.from(text).toString("base64")])));
    },
  };
}

/** The identity in a file, mode 0600, written by rename: for an agent that may not keep Secrets. */
export function identityInFile(path: string): StoredIdentityHome {
  return {
    load: async () => {
      try {
        return toIdentity(JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw new Error(`${path}: the agent's identity cannot be read: ${(error as Error).message}`, { cause: error });
      }
    },
    save: async (identity) => {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeFile(`${path}.new`, JSON.stringify(identity), { mode: 0o600 });
      await rename(`${path}.new`, path);
    },
  };
}

function toIdentity(stored: Readonly<Record<string, unknown>>): StoredIdentity | undefined {
  return fields.every((field) => typeof stored[field] === "string" && stored[field] !== "") ? (stored as unknown as StoredIdentity) : undefined;
}
