import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { enrolPerSecond, enrolPerSecondMax } from "./limits.ts";

/** Where a listener stands. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Everything `start` can be told; defaults make a complete hub on this machine. */
export interface HubConfig {
  readonly dataDir: string;
  readonly api: ListenAddress;
  readonly link: ListenAddress;
  readonly enrol: ListenAddress;
  /** Tries to enrol that one address has a second. */
  readonly enrolPerSecond: number;
  /** Host that agents and people use to reach this hub; goes into certificates and install commands. */
  readonly publicAddress: string;
  /** Undefined: an embedded Postgres in the data folder. */
  readonly databaseUrl: string | undefined;
  /** Undefined: an embedded nats-server with its store in the data folder. */
  readonly natsUrl: string | undefined;
  /** Where the embedded nats-server listens; agents connect to it. TLS by the hub's CA except on loopback. */
  readonly natsListen: ListenAddress;
  /** Credentials file for natsUrl; undefined uses the hub's own operator identity. */
  readonly natsCreds: string | undefined;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly encryptionKeyFile: string;
  readonly logLevel: string;
  readonly allowLocalRepositories: boolean;
  readonly otlpEndpoint: string | undefined;
}

/** A wrong flag or value: exit status 2, with the remedy in the message. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const startFlags = {
  "data-dir": { type: "string" },
  listen: { type: "string" },
  "link-listen": { type: "string" },
  "enrol-listen": { type: "string" },
  "enrol-per-second": { type: "string" },
  "public-address": { type: "string" },
  "database-url": { type: "string" },
  "nats-url": { type: "string" },
  "nats-listen": { type: "string" },
  "nats-creds": { type: "string" },
  "tls-cert": { type: "string" },
  "tls-key": { type: "string" },
  "encryption-key-file": { type: "string" },
  "log-level": { type: "string" },
  "allow-local-repositories": { type: "boolean" },
} as const;

/**
 * Configuration from flags, then FLOTILLA_* (plus DATABASE_URL, NATS_URL, OTEL_EXPORTER_OTLP_ENDPOINT), then defaults.
 *
 * @throws UsageError naming the flag, what it got and what it takes.
 */
export function readConfig(args: readonly string[], env: Readonly<Record<string, string | undefined>>): HubConfig {
  const flags = parseFlags(args);
  const text = (flag: keyof typeof startFlags, ...variables: string[]): string | undefined => {
    const given = flags[flag];
    if (typeof given === "string") return given;
    const names = [`FLOTILLA_${flag.toUpperCase().replaceAll("-", "_")}`, ...variables];
    return names.map((name) => env[name]).find((value) => value !== undefined && value !== "");
  };
  const dataDir = text("data-dir") ?? defaultDataDir(env);
  return {
    dataDir,
    api: address("--listen", text("listen") ?? "127.0.0.1:7420"),
    link: address("--link-listen", text("link-listen") ?? "127.0.0.1:7421"),
    enrol: address("--enrol-listen", text("enrol-listen") ?? "127.0.0.1:7422"),
    enrolPerSecond: rate("--enrol-per-second", text("enrol-per-second") ?? String(enrolPerSecond), enrolPerSecondMax),
    publicAddress: text("public-address") ?? "localhost",
    databaseUrl: url("--database-url", text("database-url", "DATABASE_URL"), ["postgres:", "postgresql:"]),
    natsUrl: url("--nats-url", text("nats-url", "NATS_URL"), ["nats:", "tls:"]),
    natsListen: address("--nats-listen", text("nats-listen") ?? "127.0.0.1:7423"),
    natsCreds: text("nats-creds"),
    tls: tlsFiles(text("tls-cert"), text("tls-key")),
    encryptionKeyFile: text("encryption-key-file") ?? join(dataDir, "encryption-key"),
    logLevel: level(text("log-level") ?? "info"),
    allowLocalRepositories: flags["allow-local-repositories"] === true || env.FLOTILLA_ALLOW_LOCAL_REPOSITORIES === "true",
    otlpEndpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT || undefined,
  };
}

/** `$XDG_STATE_HOME/flotilla/hub`: where `fleet` finds a hub of this machine by itself. */
export function defaultDataDir(env: Readonly<Record<string, string | undefined>>): string {
  return join(env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "flotilla", "hub");
}

function parseFlags(args: readonly string[]): Partial<Record<string, string | boolean>> {
  try {
    return parseArgs({ args: [...args], options: startFlags, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; 'fleet hub start --help' lists the flags`);
  }
}

/** host:port, or [v6]:port. Port 0 asks the system for a free one. */
function address(flag: string, value: string): ListenAddress {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > 65_535) {
    throw new UsageError(`${flag} is '${value}'; it takes HOST:PORT, e.g. 0.0.0.0:7420`);
  }
  return { host, port };
}

function rate(flag: string, value: string, most: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < 1 || number > most) throw new UsageError(`${flag} is '${value}'; it takes a number from 1 to ${most}`);
  return number;
}

function url(flag: string, value: string | undefined, schemes: readonly string[]): string | undefined {
  if (value === undefined) return undefined;
  const first = value.split(",")[0] ?? "";
  if (!URL.canParse(first) || !schemes.includes(new URL(first).protocol)) {
    throw new UsageError(`${flag} is not a URL that starts with ${schemes.map((scheme) => `${scheme}//`).join(" or ")}`);
  }
  return value;
}

function tlsFiles(certFile: string | undefined, keyFile: string | undefined): HubConfig["tls"] {
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) throw new UsageError("--tls-cert and --tls-key go together: give both or neither");
  return { certFile, keyFile };
}

function level(value: string): string {
  const levels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];
  if (!levels.includes(value)) throw new UsageError(`--log-level is '${value}'; it takes one of ${levels.join(", ")}`);
  return value;
}
