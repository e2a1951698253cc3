import { actOnDesktopAtDoor } from "#contract/desktop.ts";
import * as core from "#core/desktop.ts";
import { permitSandbox } from "./auth.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

const ACTIONS = /^\/sandboxes\/[^/]+\/desktop\/actions$/;

/** Whether a path is the desktop's, which lies under a sandbox and is answered here. */
export function isDesktop(path: string): boolean {
  return ACTIONS.test(path);
}

export function mountDesktop(app: App): void {
  const { gateway } = app;
  mount(app, actOnDesktopAtDoor()).toScoped(async ({ principal, params, body, signal }) => {
    await permitSandbox(gateway, principal, params.sandboxId);
    return core.actOnDesktop(gateway.platform, principal.project, params.sandboxId, body, signal);
  });
}
