import { buildCommand } from "@stricli/core";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, text } from "../../input/parameters.ts";
import { runProgram } from "../../program/run-program.ts";

interface Flags {
  readonly dataDir: string | undefined;
  readonly listen: string | undefined;
  readonly linkListen: string | undefined;
  readonly enrolListen: string | undefined;
  readonly enrolPerSecond: string | undefined;
  readonly publicAddress: string | undefined;
  readonly databaseUrl: string | undefined;
  readonly natsUrl: string | undefined;
  readonly natsListen: string | undefined;
  readonly natsCreds: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly encryptionKeyFile: string | undefined;
  readonly logLevel: string | undefined;
  readonly allowLocalRepositories: boolean;
}

const optional = { kind: "parsed", parse: text, optional: true } as const;

export const startCommand = buildCommand({
  docs: {
    brief: "Run a hub in this terminal",
    fullDescription: helpText(
      "Without arguments a complete hub on this machine: Postgres and NATS come with it, and 'fleet' in another terminal finds it by itself.\nEvery flag can be given as FLOTILLA_<FLAG>, e.g. FLOTILLA_DATA_DIR; also DATABASE_URL, NATS_URL and OTEL_EXPORTER_OTLP_ENDPOINT.\nPlain HTTP is for loopback; on another address give a certificate, or the hub's own authority signs one.",
      "fleet hub start",
      "fleet hub start --listen 0.0.0.0:7420 --link-listen 0.0.0.0:7421 --enrol-listen 0.0.0.0:7422 --nats-listen 0.0.0.0:7423 --public-address hub.example.com",
      "fleet hub start --database-url postgres://hub@db/flotilla --nats-url tls://nats.example.com:4222 --nats-creds hub.creds",
    ),
  },
  parameters: {
    flags: {
      dataDir: { ...optional, placeholder: "DIR", brief: "Where state is kept (default: ~/.local/state/flotilla/hub)" },
      listen: { ...optional, placeholder: "HOST:PORT", brief: "API (default: 127.0.0.1:7420)" },
      linkListen: { ...optional, placeholder: "HOST:PORT", brief: "Agents' link, mutual TLS (default: 127.0.0.1:7421)" },
      enrolListen: { ...optional, placeholder: "HOST:PORT", brief: "Agents' enrolment (default: 127.0.0.1:7422)" },
      enrolPerSecond: {
        ...optional,
        placeholder: "N",
        brief: "Enrolments a second from one address (default: 1); more while many clusters behind one address join",
      },
      publicAddress: { ...optional, placeholder: "HOST", brief: "Name that agents and people reach it by (default: localhost)" },
      databaseUrl: { ...optional, placeholder: "URL", brief: "Postgres (default: its own, in the data folder)" },
      natsUrl: { ...optional, placeholder: "URL", brief: "NATS with JetStream (default: its own, in the data folder)" },
      natsListen: { ...optional, placeholder: "HOST:PORT", brief: "Its own NATS, which agents report to (default: 127.0.0.1:7423)" },
      natsCreds: { ...optional, placeholder: "FILE", brief: "Credentials for --nats-url" },
      tlsCert: { ...optional, placeholder: "FILE", brief: "Certificate of the API (PEM)" },
      tlsKey: { ...optional, placeholder: "FILE", brief: "Its key" },
      encryptionKeyFile: { ...optional, placeholder: "FILE", brief: "32-byte key for secrets at rest (default: encryption-key in the data folder)" },
      logLevel: { ...optional, placeholder: "LEVEL", brief: "trace, debug, info, warn, error, fatal or silent (default: info)" },
      allowLocalRepositories: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Allow http and file repositories on this machine (for trying out)",
      },
    },
  },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    await runProgram(this, "hub", ["start", ...passOn(flags)]);
  },
});

/** Flags as the program takes them: the same names, in kebab-case. */
function passOn(flags: Flags): string[] {
  return Object.entries(flags as unknown as Record<string, string | boolean | undefined>).flatMap(([name, value]) => {
    const flag = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (value === undefined || value === false) return [];
    return value === true ? [flag] : [`${flag}=${value}`];
  });
}
