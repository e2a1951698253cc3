import { type Action, actionsFromPage, getActionScreenshot, listActions, type SeenAction } from "#contract/action.ts";
import { Problem } from "#contract/problem.ts";
import * as core from "#core/actions.ts";
import type { Principal } from "#core/projects.ts";
import { findPage } from "#core/tickets.ts";
import type { App } from "./gateway.ts";
import { permitSandbox } from "./auth.ts";
import { sandboxOf } from "./control.ts";
import { mount } from "./mount.ts";

export function mountActions(app: App): void {
  const { platform } = app.gateway;
  mount(app, listActions).toScoped(async ({ principal, params, query }) => {
    await permitSandbox(app.gateway, principal, params.sandboxId);
    return core.listActions(platform, principal.project, params.sandboxId, query);
  });
  mount(app, actionsFromPage).toAnyone(async ({ body: { session, limit } }) => {
    const page = await findPage(platform, session);
    refuseUnlessLooking(page);
    const { items } = await core.listActions(platform, page.project, sandboxOf(page), { limit });
    return { items: items.map(seen) };
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

/** Who looks at the screen sees what was done on it; a terminal's page is for its terminal alone. */
function refuseUnlessLooking({ purpose }: Principal): void {
  if (purpose === "view:watch" || purpose === "view:control") return;
  throw new Problem("forbidden", {
    detail: "This page was opened for something else",
    permission: "view:watch",
    next: "Ask for a ticket for `view:watch`.",
  });
}

function seen({ id, kind, at, by, summary }: Action): SeenAction {
  return { id, kind, at, by, summary };
}
