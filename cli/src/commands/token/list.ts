import { buildCommand } from "@stricli/core";
import type { TokenRow } from "@flotilla/proto/rest/contract";
import { connect, type HubFlags, hubFlags } from "../../connect/hub-flags.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, outputFlag, reasonFlag, text } from "../../input/parameters.ts";
import { ageOf, agoOf } from "../../render/age.ts";
import { type ListFormat, type ListView, printList, say } from "../../render/print.ts";

interface ListFlags extends HubFlags {
  readonly output: ListFormat | undefined;
}
interface RevokeFlags extends HubFlags {
  readonly reason: string | undefined;
}

const viewOf = (now: number): ListView<TokenRow> => ({
  name: ({ id }) => id,
  empty: "There is no token.",
  columns: [
    { title: "ID", cell: ({ id }) => id },
    { title: "WHOSE", cell: ({ description }) => description },
    { title: "ACCESS", cell: ({ access }) => access },
    { title: "ROLES", cell: ({ roles }) => roles.join(",") },
    { title: "AGE", cell: ({ createdAt }) => ageOf(createdAt, now) },
    { title: "USED", cell: ({ lastUsedAt }) => agoOf(lastUsedAt, now) },
    { title: "ENDS", cell: ({ expiresAt }) => (expiresAt === null ? "" : Date.parse(expiresAt) <= now ? { text: "ended", tone: "faint" } : expiresAt) },
  ],
});

export const tokenListCommand = buildCommand({
  docs: {
    brief: "Tokens, whose they are and what they may do",
    fullDescription: helpText("Only for administrators.", "fleet token list", "fleet token list -o json"),
  },
  parameters: { flags: { ...hubFlags, output: outputFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: ListFlags): Promise<void> {
    const client = await connect(this, flags);
    await printList(this, await client.apiTokens(), flags.output ?? "table", viewOf(this.now()));
  },
});

export const tokenRevokeCommand = buildCommand({
  docs: { brief: "End a token now", fullDescription: helpText("Whoever uses it is refused from then on.", "fleet token revoke 0f3a9c1b7e22") },
  parameters: {
    flags: { ...hubFlags, reason: reasonFlag },
    positional: { kind: "tuple", parameters: [{ parse: text, placeholder: "ID", brief: "Id of a token, as the list shows it" }] },
  },
  async func(this: FleetContext, flags: RevokeFlags, id: string): Promise<void> {
    const client = await connect(this, flags);
    await client.revokeApiToken(id, flags.reason);
    say(this, `token ${id} revoked`);
  },
});
