import { getActionScreenshot, listActions } from "#contract/action.ts";
import * as core from "#core/actions.ts";
import type { App } from "./gateway.ts";
import { permitSandbox } from "./auth.ts";
import { mount } from "./mount.ts";

export function mountActions(app: App): void {
  const { platform } = app.gateway;
  mount(app, listActions).toScoped(async ({ principal, params, query }) => {
    await permitSandbox(app.gateway, principal, params.sandboxId);
    return core.listActions(platform, principal.project, params.sandboxId, query);
  });
  mount(app, getActionScreenshot).toScoped(async ({ principal, params }) => {
    await permitSandbox(app.gateway, principal, params.sandboxId);
    const { mediaType, sizeBytes, body } = await core.openActionScreenshot(platform, principal.project, params.sandboxId, params.actionId);
    const headers = {
      "content-type": mediaType,
      "content-length": String(sizeBytes),
      "content-security-policy": "sandbox; default-src 'none'",
      "cache-control": "private, max-age=3600, immutable",
    };
    return new Response(body, { status: getActionScreenshot.status, headers });
  });
}
