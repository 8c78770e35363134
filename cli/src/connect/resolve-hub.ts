import { readFile } from "node:fs/promises";
import { exitCodes } from "../exit-codes.ts";
import type { Environment } from "../fleet-context.ts";
import { FleetError, wrongUse } from "../fleet-error.ts";
import { findLocalHub } from "./local-hub.ts";
import { configFile, type LoginContext, readLogins } from "./login-config.ts";

/** Which hub a command speaks to, and where that was said. */
export interface HubEndpoint {
  readonly url: string;
  readonly token: string;
  /** PEM; undefined trusts the system's authorities. */
  readonly ca: string | undefined;
  readonly from: string;
}

export interface HubChoice {
  readonly hub: string | undefined;
  readonly context: string | undefined;
}

/**
 * The first of: --hub, --context, FLOTILLA_HUB, the current login, a hub started on this machine.
 * FLOTILLA_TOKEN and FLOTILLA_CA (a file) override what the choice brings.
 */
export async function resolveHub(choice: HubChoice, env: Environment): Promise<HubEndpoint> {
  const { endpoint, missing } = await choose(choice, env);
  const token = env.FLOTILLA_TOKEN || endpoint.token;
  const ca = env.FLOTILLA_CA ? await readAuthority(env.FLOTILLA_CA) : endpoint.ca;
  if (token === undefined) throw new FleetError(`no token for ${endpoint.url}`, exitCodes.notAllowed, { hint: missing });
  return { url: checkHubUrl(endpoint.url), token, ca, from: endpoint.from };
}

interface Found {
  readonly endpoint: { url: string; token: string | undefined; ca: string | undefined; from: string };
  readonly missing: string;
}

async function choose({ hub, context }: HubChoice, env: Environment): Promise<Found> {
  if (hub !== undefined && context !== undefined) throw wrongUse("--hub and --context exclude each other");
  if (hub !== undefined) return byUrl(hub, "--hub", env);
  if (context !== undefined) return found(await byName(context, env), `context ${context}`);
  if (env.FLOTILLA_HUB) return byUrl(env.FLOTILLA_HUB, "FLOTILLA_HUB", env);
  const { current, contexts } = await readLogins(env);
  const login = contexts.find(({ name }) => name === current);
  if (login) return found(login, `context ${login.name}`);
  const local = await findLocalHub(env);
  if (local) return found(local, "the hub of this machine");
  throw new FleetError("no hub to speak to", exitCodes.unreachable, { hint: "start one with 'fleet hub start', or log in to one with 'fleet login URL'" });
}

function found(hub: { url: string; token: string; ca?: string | undefined }, from: string): Found {
  return { endpoint: { url: hub.url, token: hub.token, ca: hub.ca, from }, missing: "log in again: fleet login URL" };
}

/** A URL given by hand takes its token from the login, or the local hub, of the same URL. */
async function byUrl(given: string, from: string, env: Environment): Promise<Found> {
  const url = checkHubUrl(given);
  const { contexts } = await readLogins(env);
  const same = (other: { url: string }): boolean => URL.canParse(other.url) && checkHubUrl(other.url) === url;
  const local = await findLocalHub(env);
  const known = contexts.find(same) ?? (local && same(local) ? local : undefined);
  return { endpoint: { url, token: known?.token, ca: known?.ca, from }, missing: `set FLOTILLA_TOKEN, or log in: fleet login ${url}` };
}

async function byName(name: string, env: Environment): Promise<LoginContext> {
  const { contexts } = await readLogins(env);
  const login = contexts.find((context) => context.name === name);
  if (login) return login;
  const names = contexts.map((context) => context.name).join(", ") || "none";
  throw wrongUse(`there is no context '${name}' in ${configFile(env)} (there: ${names})`, `log in under that name: fleet login URL --name ${name}`);
}

/** The URL without a trailing slash. Plain HTTP would show the token to the network, so it is for loopback only. */
export function checkHubUrl(text: string): string {
  if (!URL.canParse(text)) throw wrongUse(`'${text}' is not a hub's URL`, "give it with its scheme, e.g. https://hub.example.com");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw wrongUse(`'${text}' is not a hub's URL: it must begin with https://`);
  if (url.username !== "" || url.password !== "") throw wrongUse("a hub's URL holds no credentials", "give the token to 'fleet login' or in FLOTILLA_TOKEN");
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw wrongUse(`plain HTTP to ${url.hostname} would show the token to the network`, `use https://${url.host}; http:// is for a hub on this machine`);
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

async function readAuthority(file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: Error) => {
    throw new FleetError(`FLOTILLA_CA: cannot read ${file}: ${error.message}`, exitCodes.failed, { cause: error });
  });
}
