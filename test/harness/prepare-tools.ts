import { findTool, type ToolName, tools } from "@flotilla/hub/embedded/tools";

/** Finds or builds every program that tests, demo and benches run. A missing one is told, and does not fail. */
for (const name of Object.keys(tools) as ToolName[]) {
  await findTool(name).catch((error: unknown) => process.stderr.write(`flotilla: ${(error as Error).message}\n`));
}
