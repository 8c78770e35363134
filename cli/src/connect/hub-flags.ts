import type { FleetContext } from "../fleet-context.ts";
import { HubClient } from "../hub-client.ts";
import { resolveHub } from "./resolve-hub.ts";

/** Flags of every command that speaks to a hub. */
export interface HubFlags {
  readonly hub: string | undefined;
  readonly context: string | undefined;
}

const text = (input: string): string => input;

export const hubFlags = {
  hub: { kind: "parsed", parse: text, optional: true, placeholder: "URL", brief: "Hub to speak to (or FLOTILLA_HUB)" },
  context: { kind: "parsed", parse: text, optional: true, placeholder: "NAME", brief: "Saved login to use" },
} as const;

/** The client for the hub that the flags, the environment or a login name. */
export async function connect(context: FleetContext, flags: HubFlags): Promise<HubClient> {
  return new HubClient(await resolveHub(flags, context.env), { signal: context.signal });
}
