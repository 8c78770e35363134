import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kubeconfigEndpoint } from "./kubeconfig-endpoint.ts";

describe("a kubeconfig", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "kubeconfig-"));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });
  let count = 0;
  const endpoint = async (user: object, more: { cluster?: object; context?: string; current?: string } = {}) => {
    const path = join(folder, `config-${count++}`);
    const config = {
      "current-context": more.current ?? "a",
      contexts: [{ name: "a", context: { cluster: "c", user: "u" } }],
      clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:6443", ...more.cluster } }],
      users: [{ name: "u", user }],
    };
    await writeFile(path, JSON.stringify(config));
    return await kubeconfigEndpoint(path, more.context);
  };

  it("gives a token, from the file or from another file beside it", async () => {
    expect(await (await endpoint({ token: "t" })).token()).toBe("t");
    await writeFile(join(folder, "token"), "from-file\n");
    expect(await (await endpoint({ tokenFile: "token" })).token()).toBe("from-file");
  });

  it("gives certificates, inline or as files", async () => {
    await writeFile(join(folder, "ca.crt"), "CA");
    const tls = await (
      await endpoint(
        { "client-certificate-data": Buffer.from("CERT").toString("base64"), "client-key-data": Buffer.from("KEY").toString("base64") },
        { cluster: { "certificate-authority": "ca.crt", "tls-server-name": "kube" } },
      )
    ).tls();
    expect([tls.ca, tls.cert, tls.key].map(String)).toEqual(["CA", "CERT", "KEY"]);
  });

  it("runs an exec plugin without a shell, once until its credential runs out", async () => {
    const counter = join(folder, "counter");
    const script = `require("fs").appendFileSync(process.argv[1], "x"); const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO); console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: "ExecCredential", status: { token: process.argv[2] + process.env.EXTRA, expirationTimestamp: new Date(Date.now() + 3600000).toISOString() } }))`;
    const user = {
      exec: {
        apiVersion: "client.authentication.k8s.io/v1",
        command: process.execPath,
        args: ["-e", script, counter, "$(id);"],
        env: [{ name: "EXTRA", value: "!" }],
      },
    };
    const { token } = await endpoint(user);
    expect(await token()).toBe("$(id);!");
    expect(await token()).toBe("$(id);!");
    const { readFile } = await import("node:fs/promises");
    expect(await readFile(counter, "utf8")).toBe("x");
  });

  it.each([
    [{ token: "t" }, { context: "b" }, /has no context "b"; it has a/],
    [{ token: "t" }, { cluster: { server: "http://127.0.0.1:8080" } }, /is not https/],
    [{ username: "x" }, {}, /password/],
    [{ "auth-provider": {} }, {}, /exec plugin/],
  ])("says what is wrong with it: %j %j", async (user, more, message) => {
    await expect(endpoint(user, more)).rejects.toThrow(message);
  });

  it("says when a plugin fails or the file is missing", async () => {
    const failing = await endpoint({ exec: { command: process.execPath, args: ["-e", "console.error('log in first'); process.exit(3)"] } });
    await expect(failing.token()).rejects.toThrow(/ended with status 3: log in first/);
    const missing = await endpoint({ exec: { command: "no-such-plugin", installHint: "Install it from example.com" } });
    await expect(missing.token()).rejects.toThrow(/no-such-plugin.*Install it from example\.com/);
    await expect(kubeconfigEndpoint(join(folder, "none"))).rejects.toThrow(/cannot be read as a kubeconfig/);
  });
});
