import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ToolName } from "@flotilla/hub/embedded/tools";
import { describe, it, type SuiteFactory } from "vitest";
import { describeWith } from "./tools.ts";

/** Published manifests of well-known projects, beside the repository; a clone alone has none. */
export const publishedTrees = join(import.meta.dirname, "../../../shared/real-world");
export const hasPublishedTrees = existsSync(publishedTrees);

/** A suite on the published trees; where they are not it is skipped, and says so aloud. */
export async function describePublished(names: readonly ToolName[], title: string, suite: SuiteFactory): Promise<void> {
  if (hasPublishedTrees) return describeWith(names, title, suite);
  process.stderr.write(`\n!!! published manifests are not at ${publishedTrees}: "${title}" is skipped\n\n`);
  describe.skip(title, () => it("needs the published manifests"));
}
