import { TEMPLATE_TYPE_VARIABLE } from "#contract/workspace.ts";
import type { Image, ImageResolver } from "#infra/local/compute/isolated.ts";
import { imageNotValid } from "./refusal.ts";
import type { ImageStore } from "./store.ts";

/**
 * What functions run on this machine: whatever image the manifest names is the root that set-up built, and one that a
 * template of images names stands beside it, its program told to the workspace.
 */
export function imageResolver(own: Image, store: ImageStore): ImageResolver {
  return async ({ customContainerConfig: container, environmentVariables }) => {
    if (!container || environmentVariables[TEMPLATE_TYPE_VARIABLE] !== "CustomImage") return own;
    const { root, program } = await store.resolve(container.image);
    const override = [...(container.entrypoint ?? []), ...(container.command ?? [])];
    if ([...override, ...program.entrypoint, ...program.command].length === 0)
      throw imageNotValid("The image says no command: give the template one");
    return { ...own, image: root, program: JSON.stringify({ ...program, override, port: container.port }) };
  };
}
