import { buildCommand } from "@stricli/core";
import { readLogins } from "../../connect/login-config.ts";
import type { FleetContext } from "../../fleet-context.ts";
import { helpText, outputFlag } from "../../input/parameters.ts";
import { type ListFormat, printList } from "../../render/print.ts";

interface Flags {
  readonly output: ListFormat | undefined;
}

export const contextListCommand = buildCommand({
  docs: { brief: "List the saved logins", fullDescription: helpText("Tokens are not printed.", "fleet context list") },
  parameters: { flags: { output: outputFlag }, aliases: { o: "output" } },
  async func(this: FleetContext, flags: Flags): Promise<void> {
    const { current, contexts } = await readLogins(this.env);
    const rows = contexts.map(({ name, url, ca }) => ({ name, url, current: name === current, authority: ca === undefined ? "system" : "own" }));
    await printList(this, rows, flags.output ?? "table", {
      name: ({ name }) => name,
      empty: "No logins. A hub on this machine needs none; another: fleet login URL",
      columns: [
        { title: "CURRENT", cell: (row) => (row.current ? "*" : " ") },
        { title: "NAME", cell: ({ name }) => name },
        { title: "HUB", cell: ({ url }) => url },
        { title: "AUTHORITY", cell: ({ authority }) => authority },
      ],
    });
  },
});
