import { connect, createServer, type Server } from "node:tls";
import type { AddressInfo } from "node:net";
import { authorityServerName, hubServerName } from "@flotilla/proto/names";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TrustedAuthority } from "../domain/authorities.ts";
import { type Authorities, openAuthorities } from "./authorities.ts";
import { createAuthority } from "./certificate-authority.ts";
import { listenerCredentials } from "./server-credentials.ts";

const log = { debug() {}, info() {}, warn() {}, error() {} };

let rows: TrustedAuthority[];
let authorities: Authorities;

beforeEach(async () => {
  rows = [];
  authorities = await openAuthorities(
    {
      begin: async (make) => void rows.push({ ...(await make()), state: "active" }),
      readTrusted: async () => rows,
    },
    log,
  );
});

afterEach(() => authorities.close());

const hashes = () => authorities.trusted.map(({ caHash }) => caHash);

async function stage(): Promise<string> {
  const next = await createAuthority();
  rows = [...rows, { ...next, state: "staged" }];
  await authorities.look();
  return next.hash;
}

async function activate(hash: string): Promise<void> {
  rows = rows.map((row) => ({ ...row, state: row.hash === hash ? "active" : row.state === "active" ? "retiring" : row.state }));
  await authorities.look();
}

async function retire(hash: string): Promise<void> {
  rows = rows.filter((row) => row.hash !== hash);
  await authorities.look();
}

describe("the hub's CAs", () => {
  it("are told as a bundle, first the one that signs", async () => {
    const [first = ""] = hashes();
    expect(authorities.bundlePem.trim()).toBe(authorities.active.caPem.trim());
    const second = await stage();
    expect(hashes()).toEqual([first, second]);
    expect(authorities.bundlePem.startsWith(authorities.trusted[0]?.caPem.trim() ?? "?")).toBe(true);
    await activate(second);
    expect(authorities.active.caHash).toBe(second);
    expect(authorities.bundlePem.startsWith(authorities.active.caPem.trim())).toBe(true);
    await retire(first);
    expect(hashes()).toEqual([second]);
  });

  it("sign for an agent with one that it trusts, never with one that is staged", async () => {
    const [first = ""] = hashes();
    const second = await stage();
    const signer = (...trusted: string[]) => authorities.signerFor(trusted).caHash;
    expect([signer(), signer(first), signer(first, second), signer(second)]).toEqual([first, first, first, first]);
    await activate(second);
    expect([signer(), signer(first), signer(first, second), signer("0".repeat(64))]).toEqual([first, first, second, second]);
  });

  it("tell a change once, and nothing where nothing changed", async () => {
    let told = 0;
    const forget = authorities.onChange(() => (told += 1));
    await authorities.look();
    expect(told).toBe(0);
    await stage();
    await authorities.look();
    expect(told).toBe(1);
    forget();
    await stage();
    expect(told).toBe(1);
  });
});

describe("a listener's certificates", () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  /** The CA whose certificate is shown to who asks by this name. */
  async function shownTo(servername: string): Promise<string> {
    const { port } = (server as Server).address() as AddressInfo;
    return new Promise((resolve, reject) => {
      const socket = connect(
        { port, host: "127.0.0.1", servername, minVersion: "TLSv1.3", ca: authorities.bundlePem, checkServerIdentity: () => undefined },
        () => {
          const leaf = socket.getPeerCertificate(true);
          socket.destroy();
          const { subject } = leaf.issuerCertificate;
          resolve([...authorities.trusted].find(({ caHash }) => String(subject.CN).endsWith(caHash.slice(0, 12)))?.caHash ?? String(subject.CN));
        },
      );
      socket.once("error", reject);
    });
  }

  it("are of the CA that is asked for by name, else of the usual one, and follow a change without a restart", async () => {
    const [first = ""] = hashes();
    const made = await listenerCredentials({
      authorities,
      names: ["localhost"],
      clientCertificates: "none",
      usual: ({ trusted, active }) => trusted[0] ?? active,
      log,
    });
    const { credentials } = made;
    server = createServer({ ...credentials._getConstructorOptions(), ...credentials._getSecureContextOptions() });
    credentials._addWatcher((context) => context && server?.setSecureContext(context));
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    expect(await shownTo(hubServerName)).toBe(first);
    const second = await stage();
    await activate(second);
    await expect.poll(() => shownTo(authorityServerName(second))).toBe(second);
    expect(await shownTo(authorityServerName(first))).toBe(first);
    expect(await shownTo(hubServerName)).toBe(first);
    await retire(first);
    await expect.poll(() => shownTo(authorityServerName(first)).catch(() => "")).toBe(second);
    made.close();
  });
});
