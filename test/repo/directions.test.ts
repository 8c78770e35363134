import { describe, expect, it } from "vitest";
import { allowedPicture, forbiddenReason, readImports } from "./directions.ts";
import { readText, sourceFiles } from "./repository.ts";

describe("the directions of imports", () => {
  it("are kept everywhere", () => {
    const broken = sourceFiles()
      .flatMap((file) => readImports(file, readText(file)))
      .flatMap((found) => {
        const reason = forbiddenReason(found);
        return reason ? [`${found.from} imports ${found.to}: ${reason}`] : [];
      });
    expect(broken, `\n${broken.join("\n")}\n${allowedPicture}`).toEqual([]);
  });

  it.each([
    ["hub/src/api/server.ts", "../store/pool.ts", /edges api and store/],
    ["hub/src/api/server.ts", "../domain/status.ts", undefined],
    ["hub/src/api/server.ts", "../limits.ts", undefined],
    ["hub/src/api/server.test.ts", "../store/pool.ts", undefined],
    ["hub/src/domain/status.ts", "../store/pool.ts", /domain imports no store/],
    ["hub/src/domain/status.ts", "../limits.ts", undefined],
    ["hub/src/domain/status.ts", "node:fs/promises", /domain is pure/],
    ["hub/src/domain/status.ts", "node:crypto", undefined],
    ["hub/src/sync/sync-fleet.ts", "../store/pool.ts", undefined],
    ["hub/src/store/pool.ts", "../sync/sync-fleet.ts", /does not import the stories/],
    ["hub/src/main.ts", "./sync/sync-fleet.ts", undefined],
    ["hub/src/main.ts", "@flotilla/proto/limits", undefined],
    ["hub/src/main.ts", "@flotilla/agent/main", /hub does not import agent/],
    ["cli/src/main.ts", "../../hub/src/main.ts", /cli does not import hub/],
    ["proto/src/limits.ts", "@flotilla/hub/limits", /proto does not import hub/],
    ["agent/src/link/link.ts", "../report/outbox.ts", /edges link and report/],
    ["agent/src/link/link.ts", "../../../test/harness/wait-for.ts", /nothing imports test/],
    ["test/e2e/demo.test.ts", "@flotilla/hub/store/pool", undefined],
  ])("%s importing %s: %s", (from, to, reason) => {
    const found = forbiddenReason({ from, to });
    if (reason) expect(found).toMatch(reason);
    else expect(found).toBeUndefined();
  });

  it("are read from every form of import, and not from comments", () => {
    const text = `import a from "./a.ts";\nimport type { B } from './b.ts';\nexport { c,\n  d } from "./c.ts";\nimport "./e.ts";\nawait import("./f.ts");\n// import x from "./x.ts";\n/* import y from "./y.ts" */`;
    expect(readImports("hub/src/main.ts", text).map(({ to }) => to)).toEqual(["./a.ts", "./b.ts", "./c.ts", "./e.ts", "./f.ts"]);
  });
});
