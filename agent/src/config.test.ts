import { describe, expect, it } from "vitest";
import { readConfig, UsageError } from "./config.ts";

describe("the agent's configuration", () => {
  it("takes flags before variables before defaults", () => {
    const config = readConfig(["--cluster", "berlin-1", "--log-level", "debug"], {
      FLOTILLA_CLUSTER: "other",
      FLOTILLA_HUB: "hub.example:7422",
      KUBECONFIG: "/tmp/config",
    });
    expect(config).toMatchObject({ cluster: "berlin-1", hub: "hub.example:7422", logLevel: "debug", identity: "secret", kubeconfig: "/tmp/config" });
  });

  it("uses the service account in a pod", () => {
    expect(readConfig([], { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443" })).toMatchObject({
      kubeconfig: undefined,
      stateDir: "/var/lib/flotilla",
    });
  });

  it.each([
    [["--cluster", "Berlin"], /--cluster got "Berlin"/],
    [["--hub", "https://hub"], /host:port/],
    [["--ca-hash", "abc"], /64 hexadecimal/],
    [["--log-level", "loud"], /debug, info, warn, error/],
    [["--nonsense"], /--help/],
  ])("names the flag and the remedy for %j", (args, message) => {
    expect(() => readConfig(args, {})).toThrow(UsageError);
    expect(() => readConfig(args, {})).toThrow(message);
  });
});
