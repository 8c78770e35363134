import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "@flotilla/hub/embedded/free-port";
import { afterAll, beforeAll, expect, it } from "vitest";
import { repositoryRoot } from "../harness/programs.ts";
import { describeWith } from "../harness/tools.ts";
import { waitFor } from "../harness/wait-for.ts";

const execute = promisify(execFile);

/** npm and everything it starts run under this Node, as in a clone. */
const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`, npm_config_update_notifier: "false", NO_COLOR: "1" };

await describeWith(["nats-server", "helm", "kustomize"], "the packed CLI in an empty folder", () => {
  let folder: string;
  let fleet: string;
  let home: NodeJS.ProcessEnv;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "flotilla-pack-"));
    const { stdout } = await execute("npm", ["pack", "-w", "cli", "--pack-destination", folder, "--json"], {
      cwd: repositoryRoot,
      env,
      maxBuffer: 16 * 1024 * 1024,
    });
    const file = /"filename": "([^"]+)"/.exec(stdout)?.[1] ?? "";
    const place = join(folder, "place");
    await mkdir(place);
    await writeFile(join(place, "package.json"), "{}");
    await execute("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", join(folder, file)], { cwd: place, env, maxBuffer: 16 * 1024 * 1024 });
    fleet = join(place, "node_modules", ".bin", "fleet");
    home = {
      ...env,
      HOME: folder,
      XDG_STATE_HOME: join(folder, "state"),
      XDG_CONFIG_HOME: join(folder, "config"),
      XDG_CACHE_HOME: process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? "", ".cache"),
      DATABASE_URL: "",
      NATS_URL: "",
    };
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("has no dependency on a workspace, and its version", async () => {
    const packed = JSON.parse(await readFile(join(folder, "place/node_modules/@flotilla/cli/package.json"), "utf8")) as {
      dependencies: Record<string, string>;
      version: string;
    };
    expect(Object.keys(packed.dependencies).filter((name) => name.startsWith("@flotilla/"))).toEqual([]);
    const { stdout } = await execute(fleet, ["version"], { env: home });
    expect(stdout).toMatch(new RegExp(`^fleet ${packed.version.replaceAll(".", "\\.")} `));
  });

  it("starts quickly", async () => {
    const timed = async (file: string, args: string[]) => {
      const startedAt = performance.now();
      await execute(file, args, { env: home });
      return performance.now() - startedAt;
    };
    const own: number[] = [];
    const bare: number[] = [];
    for (let run = 0; run < 10; run += 1) {
      own.push(await timed(fleet, ["version"]));
      bare.push(await timed(process.execPath, ["-e", ""]));
    }
    // 120 ms on a quiet machine, where Node alone takes 30; tests share theirs. With everything it could load it takes more than ten times as long as Node.
    expect(Math.min(...own) / Math.min(...bare)).toBeLessThan(8);
  });

  it("lints and renders a folder without a hub", async () => {
    const shop = join(repositoryRoot, "test/fixtures/shop");
    const lint = await execute(fleet, ["lint", shop], { env: home });
    expect(lint.stderr).toContain("no problems");
    const { stdout } = await execute(fleet, ["render", `${shop}/`, "--cluster-labels", "shop=true,env=prod"], { env: home, maxBuffer: 16 * 1024 * 1024 });
    expect(stdout).toMatch(/^kind: Deployment$/m);
  });

  it("is a complete hub with `fleet hub start`, which `fleet` then finds by itself", async () => {
    const listen = async (flag: string) => [flag, `127.0.0.1:${await freePort()}`];
    const flags = (await Promise.all(["--listen", "--link-listen", "--enrol-listen", "--nats-listen"].map(listen))).flat();
    const hub = spawn(fleet, ["hub", "start", ...flags], { env: home, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    hub.stdout.on("data", (chunk: Buffer) => void (output += chunk.toString()));
    hub.stderr.on("data", (chunk: Buffer) => void (output += chunk.toString()));
    try {
      await waitFor(
        async () => {
          if (hub.exitCode !== null) throw new Error(`the hub ended:\n${output}`);
          return execute(fleet, ["doctor"], { env: home }).then(
            () => true,
            () => false,
          );
        },
        { what: "a healthy hub", timeoutMs: 60_000 },
      );
      const { stdout } = await execute(fleet, ["cluster", "add", "berlin-1", "--label", "env=prod"], { env: home });
      expect(stdout).toMatch(/^(npx )?fleet agent install --cluster berlin-1 --hub \S+ --ca-hash [0-9a-f]{64} --token \S+\n$/);
      expect(await stop(hub)).toBe(0);
    } finally {
      await stop(hub);
    }
  });
});

async function stop(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
  return child.exitCode;
}
