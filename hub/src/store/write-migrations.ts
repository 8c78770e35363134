/**
 * Writes migrations/embedded.ts from the SQL files: `node hub/src/store/write-migrations.ts`. The SQL travels as a module, so that
 * source, bundle and packed CLI find it without a loader and without a path.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = new URL("./migrations/", import.meta.url);

/** The text of migrations/embedded.ts. */
export function embedMigrations(): string {
  const names = readdirSync(folder)
    .filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name))
    .sort();
  const rows = names.map((name) => `  { name: ${JSON.stringify(name.slice(0, -4))}, sql: ${templateOf(readFileSync(new URL(name, folder), "utf8"))} },`);
  return `// Written by hub/src/store/write-migrations.ts from the SQL files of this folder; a test holds them equal.\nexport const migrations: readonly { readonly name: string; readonly sql: string }[] = [\n${rows.join("\n")}\n];\n`;
}

function templateOf(sql: string): string {
  return `\`${sql.replaceAll("\\", "\\\\").replaceAll("`", "\\`").replaceAll("${", "\\${")}\``;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(new URL("embedded.ts", folder), embedMigrations());
