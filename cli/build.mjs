// dist/fleet.mjs: the CLI with everything it needs. The Kubernetes client and YAML are chunks beside it, which only the
// commands that want them load.
import { rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const home = fileURLToPath(new URL(".", import.meta.url));
// Built aside and put in place by rename: somebody may be using the one that is there.
const part = `${home}dist.${process.pid}`;
await build({
  absWorkingDir: home,
  entryPoints: { fleet: "src/main.ts" },
  outdir: part,
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
await rm(`${home}dist`, { recursive: true, force: true });
await rename(part, `${home}dist`);
