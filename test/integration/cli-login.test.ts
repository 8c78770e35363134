import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { authorityOf, createAuthority } from "@flotilla/hub/stream/certificate-authority";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runService } from "../harness/spawn-service.ts";

const token = "flt_login-test";
const hubAnswer = {
  version: "0.1.0",
  id: "hub-1",
  apiVersion: "v1",
  enrolAddress: "localhost:7422",
  linkAddress: "localhost:7421",
  caHash: "",
  clusters: 0,
  fleets: 0,
  checks: [],
};

describe("a login to a hub whose authority is its own", () => {
  let server: Server;
  let url: string;
  let caHash: string;
  /** The hub's CAs as it tells them. */
  let shown: { state: string; certificate: string }[] = [];
  let caFile: string;
  let folder: string;
  let env: NodeJS.ProcessEnv;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-login-"));
    env = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_STATE_HOME: folder, FLOTILLA_TOKEN: token };
    const authority = await authorityOf(await createAuthority());
    const certificate = await authority.issueServer(["localhost"]);
    caHash = authority.caHash;
    caFile = join(folder, "ca.pem");
    await writeFile(caFile, authority.caPem);
    server = createServer({ cert: certificate.chainPem, key: certificate.keyPem }, (request, response) => {
      response.statusCode = request.headers.authorization === `Bearer ${token}` ? 200 : 401;
      response.end(JSON.stringify(request.url?.endsWith("/authorities") ? { items: shown } : hubAnswer));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `https://localhost:${(server.address() as AddressInfo).port}`;
  });
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  it("is refused without a word about the authority, and says how to give it", async () => {
    const { status, output } = await runService("cli", { args: ["login", url], env });
    expect(status).toBe(6);
    expect(output).toContain("not signed by a known authority");
    expect(output).toContain("--ca-hash");
  });

  it("is refused for another authority's hash", async () => {
    const { status, output } = await runService("cli", { args: ["login", url, "--ca-hash", "00".repeat(32)], env });
    expect(status).toBe(5);
    expect(output).toContain("shows no certificate");
  });

  it("pins the authority by its hash, or takes its certificate from a file", async () => {
    for (const flags of [
      ["--ca-hash", caHash],
      ["--ca-file", caFile],
    ]) {
      const { status, output } = await runService("cli", { args: ["login", url, ...flags, "--name", "own"], env });
      expect(status, output).toBe(0);
      const saved = JSON.parse(await readFile(join(folder, "flotilla/config.json"), "utf8")) as { contexts: { ca: string }[] };
      expect(saved.contexts[0]?.ca).toContain("BEGIN CERTIFICATE");
      const version = await runService("cli", { args: ["version", "--server"], env: { ...env, FLOTILLA_TOKEN: "" } });
      expect(version.stdout).toContain("hub 0.1.0");
    }
  });

  it("trusts at the next login what the one before did, and the hub's other CAs too while it changes them (fault 36)", async () => {
    const [own, next, gone] = [await readFile(caFile, "utf8"), (await createAuthority()).certificatePem, (await createAuthority()).certificatePem];
    const savedCa = async () =>
      (JSON.parse(await readFile(join(folder, "flotilla/config.json"), "utf8")) as { contexts: { ca: string }[] }).contexts[0]?.ca ?? "";
    const login = async () => {
      const { status, output } = await runService("cli", { args: ["login", url, "--name", "own"], env });
      expect(status, output).toBe(0);
      return await savedCa();
    };
    const before = await savedCa();
    // Others' CAs are no reason to trust them: none is the one that was pinned.
    shown = [{ state: "active", certificate: next }];
    expect(await login()).toBe(before);
    shown = [
      { state: "active", certificate: next },
      { state: "retiring", certificate: own },
      { state: "retired", certificate: gone },
    ];
    expect((await login()).trim().split(/\n(?=-----BEGIN)/)).toEqual([next.trim(), own.trim()]);
  });
});
