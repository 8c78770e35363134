import type { AuthorityKeys, TrustedAuthority } from "../domain/authorities.ts";
import { hintPollMs } from "../limits.ts";
import { authorityOf, type CertificateAuthority, createAuthority } from "./certificate-authority.ts";
import type { StreamLog } from "./stream-log.ts";

/** The rows of the hub's CAs; hub/src/store/authorities.ts has them. */
export interface AuthorityStore {
  begin(make: () => Promise<AuthorityKeys>): Promise<void>;
  readTrusted(): Promise<readonly TrustedAuthority[]>;
}

/** The CAs that this replica trusts, as the rows said last. */
export interface Authorities {
  /** The one that signs. */
  readonly active: CertificateAuthority;
  /** Oldest first. */
  readonly trusted: readonly CertificateAuthority[];
  /** All that are trusted, PEM: the one that signs, then the others. */
  readonly bundlePem: string;
  /** Who signs for somebody who trusts these CAs: the active one, else the newest of them. Who says none has trusted the oldest since before there were others. */
  signerFor(caHashes: readonly string[]): CertificateAuthority;
  /** Calls back after every change, until it is told to stop. */
  onChange(listener: () => void): () => void;
  /** Looks at the rows now. */
  look(): Promise<void>;
  close(): Promise<void>;
}

interface View {
  /** Hashes and states: what a change is told by. */
  readonly words: string;
  readonly trusted: readonly CertificateAuthority[];
  readonly staged: ReadonlySet<CertificateAuthority>;
  readonly active: CertificateAuthority;
  readonly bundlePem: string;
}

/**
 * Opens the hub's CAs and follows their rows: a hint says when to look, and every hintPollMs they are looked at anyway.
 *
 * @throws what the store throws, when they cannot be read at all.
 */
export async function openAuthorities(store: AuthorityStore, log: StreamLog): Promise<Authorities> {
  await store.begin(createAuthority);
  const opened = new Map<string, CertificateAuthority>();
  const listeners = new Set<() => void>();
  let view = await readView(store, opened);
  let looking = Promise.resolve();

  const look = (): Promise<void> => {
    looking = looking.then(async () => {
      try {
        const next = await readView(store, opened);
        if (next.words === view.words) return;
        view = next;
        log.info({ trusted: next.trusted.map(({ caHash }) => caHash), active: next.active.caHash }, "the hub's CAs changed");
        for (const listener of listeners) listener();
      } catch (error) {
        log.warn({ error: (error as Error).message }, "the hub's CAs could not be looked at; trying again");
      }
    });
    return looking;
  };
  const timer = setInterval(() => void look(), hintPollMs);
  timer.unref();
  return {
    get active() {
      return view.active;
    },
    get trusted() {
      return view.trusted;
    },
    get bundlePem() {
      return view.bundlePem;
    },
    signerFor: (caHashes) => signerFor(view, caHashes),
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    look,
    async close() {
      clearInterval(timer);
      await looking;
    },
  };
}

async function readView(store: AuthorityStore, opened: Map<string, CertificateAuthority>): Promise<View> {
  const rows = await store.readTrusted();
  for (const row of rows) if (!opened.has(row.hash)) opened.set(row.hash, await authorityOf(row));
  const known = rows.map(({ hash, state }) => ({ authority: opened.get(hash) as CertificateAuthority, state }));
  const active = known.find(({ state }) => state === "active")?.authority;
  if (active === undefined) throw new Error("none of the hub's CAs is active");
  const trusted = known.map(({ authority }) => authority);
  return {
    words: rows.map(({ hash, state }) => `${hash} ${state}`).join("\n"),
    trusted,
    staged: new Set(known.filter(({ state }) => state === "staged").map(({ authority }) => authority)),
    active,
    bundlePem: [active, ...trusted.filter((authority) => authority !== active)].map(({ caPem }) => `${caPem.trim()}\n`).join(""),
  };
}

function signerFor({ trusted, staged, active }: View, caHashes: readonly string[]): CertificateAuthority {
  if (caHashes.length === 0) return trusted[0] ?? active;
  if (caHashes.includes(active.caHash)) return active;
  return trusted.findLast((authority) => caHashes.includes(authority.caHash) && !staged.has(authority)) ?? active;
}
