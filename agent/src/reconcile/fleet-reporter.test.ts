import { SyncState, type ReportEnvelope } from "@flotilla/proto/gen/report";
import { describe, expect, it } from "vitest";
import { silentLog } from "../log.ts";
import { FleetReporter } from "./fleet-reporter.ts";
import { newFleetRun } from "./fleet-run.ts";
import { trackObject } from "./tracked-object.ts";

function reporterOfOne() {
  const run = newFleetRun("shop");
  const key = "/ConfigMap/shop/settings";
  const object = trackObject("shop", key, { group: "", kind: "ConfigMap", namespace: "shop", name: "settings" }, "v1", "web");
  run.objects.set(key, object);
  const told: string[] = [];
  const record = async (report: ReportEnvelope["report"]) => {
    if (report.case === "fleet") told.push(...report.value.objects.map(({ message }) => message));
    return 1n;
  };
  return { reporter: new FleetReporter(run, { record }, silentLog, () => undefined), object, key, told };
}

describe("a fleet's reporter", () => {
  it("counts a snapshot as told: a change that goes back before the next report is told then", async () => {
    const { reporter, object, key, told } = reporterOfOne();
    object.note = "as ever";
    reporter.touch(key);
    await reporter.flush();
    object.note = "for a moment";
    reporter.touch(key);
    const [part] = reporter.snapshot();
    expect(part?.objects).toMatchObject([{ message: "for a moment", sync: SyncState.OUT_OF_SYNC }]);
    object.note = "as ever";
    await reporter.flush();
    expect(told).toEqual(["as ever", "as ever"]);
  });

  it("tells all again of which a snapshot could not be recorded", async () => {
    const { reporter, object, key, told } = reporterOfOne();
    object.note = "as ever";
    reporter.touch(key);
    reporter.snapshot();
    reporter.tellAgain();
    await reporter.flush();
    expect(told).toEqual(["as ever"]);
  });
});
