import { buildCommand } from "@stricli/core";
import { readLogins, writeLogins } from "../../connect/login-config.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { wrongUse } from "../../fleet-error.ts";
import { helpText, text } from "../../input/parameters.ts";
import { say } from "../../render/print.ts";

export const contextUseCommand = buildCommand({
  docs: {
    brief: "Use another saved login from now on",
    fullDescription: helpText("The login must have been saved by 'fleet login'.", "fleet context use staging"),
  },
  parameters: {
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "NAME", brief: "Name of a login", proposeCompletions: completeContexts }] },
  },
  async func(this: FleetContext, _flags: NonNullable<unknown>, name: string): Promise<void> {
    const config = await readLogins(this.env);
    if (!config.contexts.some((context) => context.name === name)) throw wrongUse(`there is no context '${name}'`, "'fleet context list' shows them");
    await writeLogins(this.env, { ...config, current: name });
    say(this, `using context ${name}`);
  },
});

async function completeContexts(this: FleetContext, partial: string): Promise<readonly string[]> {
  const { contexts } = await readLogins(this.env).catch(() => ({ contexts: [] }));
  return contexts.map(({ name }) => name).filter((name) => name.startsWith(partial));
}
