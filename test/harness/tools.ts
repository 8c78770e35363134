import { appendFileSync } from "node:fs";
import { findToolWithoutBuild, type ToolName } from "@flotilla/hub/embedded/tools";
import { describe, type SuiteFactory } from "vitest";

/** A file with one line per skipped suite; the global setup counts them aloud at the end. */
export const skippedSuitesVariable = "FLOTILLA_TEST_SKIPPED";

/**
 * A suite that needs real programs: `describe` where all are there (the global setup built them), else a skipped suite
 * that is counted and told at the end of the run.
 */
export async function describeWith(names: readonly ToolName[], title: string, suite: SuiteFactory): Promise<void> {
  const missing: string[] = [];
  for (const name of names) {
    if (!(await findToolWithoutBuild(name).catch(() => undefined))) missing.push(name);
  }
  describeUnlessMissing(missing, title, suite);
}

/** The same, where the caller has looked for what the suite needs. */
export function describeUnlessMissing(missing: readonly string[], title: string, suite: SuiteFactory): void {
  if (missing.length > 0 && process.env[skippedSuitesVariable])
    appendFileSync(process.env[skippedSuitesVariable], `${title}: ${missing.join(", ")} unavailable\n`);
  describe.skipIf(missing.length > 0)(title, suite);
}

/** What a control plane needs. */
export const kubeTools: readonly ToolName[] = ["etcd", "kube-apiserver"];
export const kubeToolsWithControllers: readonly ToolName[] = [...kubeTools, "kube-controller-manager"];
