import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { link, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type pg from "pg";
import { StoreError } from "./store-error.ts";

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
const checkText = "flotilla";

/** Seals what the database must not hold in clear text: AES-256-GCM; sealed = nonce (12), tag (16), ciphertext. */
export interface Sealing {
  seal(content: string | Uint8Array): Buffer;
  /** @throws StoreError `sealing` when it was sealed with another key, or damaged. */
  open(sealed: Uint8Array): Buffer;
  /** A short keyed hash: equal values show equal, and none can be guessed from it. */
  fingerprint(content: string): string;
}

/** Sealing under a key of 32 bytes. */
export function sealingWith(key: Uint8Array): Sealing {
  if (key.length !== keyBytes) throw new StoreError("sealing", `the encryption key has ${key.length} bytes; it takes ${keyBytes}`);
  const fingerprintKey = Buffer.from(hkdfSync("sha256", key, "", "flotilla fingerprint", keyBytes));
  return {
    fingerprint: (content) => createHmac("sha256", fingerprintKey).update(content).digest("hex").slice(0, 16),
    seal(content) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      const text = Buffer.concat([cipher.update(content as Uint8Array), cipher.final()]);
      return Buffer.concat([nonce, cipher.getAuthTag(), text]);
    },
    open(sealed) {
      try {
        const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, nonceBytes));
        decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes));
        return Buffer.concat([decipher.update(sealed.subarray(nonceBytes + tagBytes)), decipher.final()]);
      } catch (error) {
        throw new StoreError("sealing", "a sealed value cannot be opened: it was sealed with another key, or damaged", { cause: error });
      }
    },
  };
}

/**
 * Sealing under the key in a file (32 raw bytes, or 64 hex digits). The file is made with mode 0600 when there is none; two
 * starts at once get the same key.
 *
 * @throws StoreError `sealing` when everybody may read the file, or its content is not a key.
 */
export async function openSealing(keyFile: string): Promise<Sealing> {
  await createKeyFile(keyFile);
  const { mode } = await stat(keyFile);
  if ((mode & 0o007) !== 0) {
    throw new StoreError("sealing", `everybody on this machine may read the encryption key ${keyFile}`, { hint: `chmod 600 ${keyFile}` });
  }
  const content = await readFile(keyFile);
  const text = content.toString("latin1").trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return sealingWith(Buffer.from(text, "hex"));
  if (content.length === keyBytes) return sealingWith(content);
  throw new StoreError("sealing", `${keyFile} is not an encryption key`, { hint: "it takes 32 bytes, or 64 hex digits: openssl rand -hex 32" });
}

/** Written aside and linked to its name: nobody reads half a key, and the second of two starts takes the first's. */
async function createKeyFile(keyFile: string): Promise<void> {
  if (await stat(keyFile).catch(() => undefined)) return;
  await mkdir(dirname(keyFile), { recursive: true, mode: 0o700 });
  const part = `${keyFile}.${process.pid}.${randomBytes(4).toString("hex")}`;
  await writeFile(part, `${randomBytes(keyBytes).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
  try {
    await link(part, keyFile);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(part, { force: true });
  }
}

/**
 * Tells at the start whether this key is the database's; the first hub of a database decides. Returns the hub's identity, the
 * same for all replicas.
 *
 * @throws StoreError `sealing`.
 */
export async function checkSealing(pool: pg.Pool, sealing: Sealing): Promise<{ readonly hubIdentity: string }> {
  await pool.query("INSERT INTO hub_identity (sealed_check) VALUES ($1) ON CONFLICT DO NOTHING", [sealing.seal(checkText)]);
  const { rows } = await pool.query<{ id: string; sealed_check: Buffer }>("SELECT id, sealed_check FROM hub_identity");
  const row = rows[0];
  if (row === undefined) throw new StoreError("schema", "the database has no hub identity");
  try {
    if (sealing.open(row.sealed_check).toString() === checkText) return { hubIdentity: row.id };
  } catch {
    // Told below.
  }
  throw new StoreError("sealing", "the encryption key is not the one that this database was sealed with", {
    hint: "give the key file of the hub that made the database (--encryption-key-file), the same on every replica",
  });
}
