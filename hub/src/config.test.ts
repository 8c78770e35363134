import { describe, expect, it } from "vitest";
import { readConfig, UsageError } from "./config.ts";

describe("hub configuration", () => {
  it("makes a complete hub on loopback from nothing", () => {
    const config = readConfig([], { XDG_STATE_HOME: "/state" });
    expect(config.api).toEqual({ host: "127.0.0.1", port: 7420 });
    expect(config.dataDir).toBe("/state/flotilla/hub");
    expect(config.databaseUrl).toBeUndefined();
    expect(config.natsUrl).toBeUndefined();
  });

  it("prefers a flag to the environment", () => {
    const config = readConfig(["--listen", "127.0.0.1:1"], { FLOTILLA_LISTEN: "127.0.0.1:2" });
    expect(config.api.port).toBe(1);
  });

  it("reads DATABASE_URL and NATS_URL", () => {
    const config = readConfig([], { DATABASE_URL: "postgres://u@db/flotilla", NATS_URL: "nats://a:4222,nats://b:4222" });
    expect(config.databaseUrl).toBe("postgres://u@db/flotilla");
    expect(config.natsUrl).toBe("nats://a:4222,nats://b:4222");
  });

  it("reads an IPv6 address", () => {
    expect(readConfig(["--listen", "[::1]:7420"], {}).api).toEqual({ host: "::1", port: 7420 });
  });

  it.each([
    [["--listen", "7420"], /HOST:PORT/],
    [["--listen", "a:99999"], /HOST:PORT/],
    [["--database-url", "mysql://x"], /postgres:/],
    [["--nats-url", "http://x"], /nats:/],
    [["--tls-cert", "a.pem"], /go together/],
    [["--log-level", "loud"], /one of/],
    [["--enrol-per-second", "0"], /from 1 to 500/],
    [["--enrol-per-second", "many"], /from 1 to 500/],
    [["--lisen", "a:1"], /--help/],
  ])("refuses %j and says what it takes", (args, remedy) => {
    expect(() => readConfig(args, {})).toThrow(UsageError);
    expect(() => readConfig(args, {})).toThrow(remedy);
  });
});
