// dist/fleet.mjs: the CLI with everything it needs but the Kubernetes client and YAML, which are chunks beside it that
// only the commands that want them load.
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const home = fileURLToPath(new URL(".", import.meta.url));
await rm(`${home}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: home,
  entryPoints: { fleet: "src/main.ts" },
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  splitting: true,
  chunkNames: "chunk-[hash]",
  platform: "node",
  format: "esm",
  target: "node24",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "linked",
  // CommonJS packages inside an ES module still call require for Node's own modules.
  banner: { js: 'import { createRequire as flotillaRequire } from "node:module"; const require = flotillaRequire(import.meta.url);' },
  logLevel: "warning",
});
