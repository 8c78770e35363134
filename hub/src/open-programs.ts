import { findTool, findToolWithoutBuild, tools } from "./embedded/tools.ts";
import { openRenderTools, type RenderTools } from "./render/render-tools.ts";

/**
 * The programs that render, for a process.
 *
 * @param options.builds whether the one that builds many kustomizations is built where it is not: in the background, since kustomize itself does meanwhile. For who stays.
 */
export function openPrograms(options: { readonly builds: boolean }): RenderTools {
  let looking: Promise<void> | undefined;
  let worker: string | undefined;
  const look = async (): Promise<void> => {
    worker = await (options.builds ? findTool("kustomize-worker") : findToolWithoutBuild("kustomize-worker")).catch(() => undefined);
  };
  return openRenderTools({
    tool: findTool,
    worker: () => {
      looking ??= look();
      return worker;
    },
    versions: { helm: tools.helm.version, kustomize: tools.kustomize.version },
  });
}
