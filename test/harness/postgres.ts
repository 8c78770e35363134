import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "@flotilla/hub/embedded/postgres";
import pg from "pg";
import { quietLog } from "./quiet-log.ts";
import { runVariable } from "./run-processes.ts";
import { removeFolder, scratchFolder } from "./scratch-folder.ts";

/** Where the run's one server is told to the workers: set by the global setup, or by a person who has a server. */
export const sharedPostgresVariable = "FLOTILLA_TEST_DATABASE_URL";

/** False outside a test run. */
export function isSharedPostgresThere(): boolean {
  return Boolean(process.env[runVariable] && (process.env[sharedPostgresVariable] ?? process.env.DATABASE_URL));
}

/** A database of this test's own. */
export interface TestDatabase {
  url: string;
  name: string;
  drop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Brings an empty database to the wanted schema. Run once per run and key; its result is the template of the others. */
  migrate?: (url: string) => Promise<void>;
  /** Another key for another schema. */
  templateKey?: string;
}

/**
 * A fresh database on the run's server: a copy of a migrated template, in some tens of milliseconds. Outside a test run
 * (the demo, one file by hand) a server is started, and stopped with its last database.
 */
export async function createTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const server = await sharedServer();
  const name = `test_${process.pid}_${randomBytes(6).toString("hex")}`;
  try {
    const template = options.migrate ? await migratedTemplate(server.url, options.migrate, options.templateKey ?? "main") : undefined;
    await asAdmin(server.url, (admin) => admin.query(`CREATE DATABASE ${name}${template ? ` TEMPLATE ${template}` : ""}`));
  } catch (error) {
    await server.release();
    throw error;
  }
  return {
    name,
    url: withDatabase(server.url, name),
    async drop() {
      await asAdmin(server.url, (admin) => admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
      await server.release();
    },
  };
}

/** A Postgres of the test's own, for tests that kill or fill it. */
export async function startPostgresForTest(options: { durable?: boolean; connectionsMax?: number } = {}): Promise<EmbeddedPostgres & { folder: string }> {
  const folder = await scratchFolder("postgres");
  const server = await startEmbeddedPostgres({ dataFolder: join(folder, "data"), log: quietLog, durable: false, ...options });
  return {
    folder,
    url: server.url,
    get pid() {
      return server.pid;
    },
    async stop() {
      await server.stop();
      await removeFolder(folder);
    },
  };
}

/** Makes the template once for all workers: the first holds an advisory lock meanwhile. */
async function migratedTemplate(serverUrl: string, migrate: (url: string) => Promise<void>, key: string): Promise<string> {
  const template = `template_${key.replaceAll(/[^a-z0-9_]/g, "_")}`;
  const lock = 7_402_110;
  await asAdmin(serverUrl, async (admin) => {
    await admin.query("SELECT pg_advisory_lock($1)", [lock]);
    const { rows } = await admin.query("SELECT 1 FROM pg_database WHERE datname = $1", [template]);
    if (rows.length === 0) {
      const part = `${template}_part`;
      await admin.query(`DROP DATABASE IF EXISTS ${part} WITH (FORCE)`);
      await admin.query(`CREATE DATABASE ${part}`);
      await migrate(withDatabase(serverUrl, part));
      await admin.query(`ALTER DATABASE ${part} RENAME TO ${template}`);
    }
    await admin.query("SELECT pg_advisory_unlock($1)", [lock]);
  });
  return template;
}

interface SharedServer {
  url: string;
  release(): Promise<void>;
}

let own: { started: Promise<EmbeddedPostgres>; users: number } | undefined;

async function sharedServer(): Promise<SharedServer> {
  const given = process.env[sharedPostgresVariable] ?? process.env.DATABASE_URL;
  if (given) return { url: given, release: async () => undefined };
  const mine = (own ??= { started: startPostgresForTest(), users: 0 });
  mine.users += 1;
  const { url } = await mine.started;
  return {
    url,
    async release() {
      mine.users -= 1;
      if (mine.users > 0) return;
      if (own === mine) own = undefined;
      await (await mine.started).stop();
    },
  };
}

async function asAdmin<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
