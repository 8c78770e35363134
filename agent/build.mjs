// Bundles the agent into dist/agent.mjs, one file without node_modules. Run it with a small heap and one malloc arena:
//   MALLOC_ARENA_MAX=1 node --max-semi-space-size=1 --optimize-for-size --no-opt --no-maglev dist/agent.mjs --help
import { build } from "esbuild";
import { keepAscii } from "../proto/ascii-only.mjs";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));

/** gRPC's channelz describes itself by .proto files read at run time; nobody asks an agent for it, and protobufjs' parser would come along. */
const withoutChannelz = {
  name: "without-channelz",
  setup(bundler) {
    bundler.onResolve({ filter: /^@grpc\/proto-loader$/ }, () => ({ path: "proto-loader", namespace: "left-out" }));
    bundler.onLoad({ filter: /.*/, namespace: "left-out" }, () => ({
      contents: "exports.loadSync = () => { throw new Error('channelz is not part of the agent') };",
      loader: "js",
    }));
  },
};

await build({
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  entryPoints: { agent: "src/main.ts" },
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  plugins: [withoutChannelz],
  platform: "node",
  target: "node24",
  format: "esm",
  minify: true,
  keepNames: true,
  legalComments: "none",
  define: { FLOTILLA_VERSION: JSON.stringify(version) },
  // CommonJS dependencies (grpc-js, pino) ask for require and __dirname.
  banner: {
    js: 'import{createRequire as __cr}from"node:module";import{fileURLToPath as __fp}from"node:url";const require=__cr(import.meta.url);const __filename=__fp(import.meta.url);const __dirname=__fp(new URL(".",import.meta.url));',
  },
  logLevel: "warning",
});
await keepAscii(fileURLToPath(new URL("dist/agent.mjs", import.meta.url)));
