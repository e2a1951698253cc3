import {
  createSandbox,
  deleteSandbox,
  getSandbox,
  listSandboxes,
  pauseSandbox,
  resumeSandbox,
  type Sandbox,
  updateSandbox,
} from "#contract/sandbox.ts";
import { BROWSER_TYPES } from "#contract/template.ts";
import * as pauses from "#core/pauses.ts";
import * as core from "#core/sandboxes.ts";
import type { App, Gateway } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountSandboxes(app: App): void {
  const { platform, limits } = app.gateway;
  const told = (sandbox: Sandbox) => withIsolation(app.gateway, sandbox);
  mount(app, createSandbox).to(async ({ principal, body, signal }) => {
    const { sandbox, made } = await core.createSandbox(platform, limits, principal.project, body, signal);
    return Response.json(told(sandbox), { status: made ? createSandbox.status : 200 });
  });
  mount(app, listSandboxes).to(({ principal, query }) => core.listSandboxes(platform, principal.project, query));
  mount(app, getSandbox).to(async ({ principal, params }) =>
    told(await core.getSandbox(platform, principal.project, params.sandboxId, { withUsage: true })),
  );
  mount(app, updateSandbox).to(async ({ principal, params, body }) =>
    told(await core.updateSandbox(platform, limits, principal.project, params.sandboxId, body)),
  );
  mount(app, pauseSandbox).to(async ({ principal, params }) =>
    told(await pauses.pauseSandbox(platform, principal.project, params.sandboxId)),
  );
  mount(app, resumeSandbox).to(async ({ principal, params }) =>
    told(await pauses.resumeSandbox(platform, principal.project, params.sandboxId)),
  );
  mount(app, deleteSandbox).to(({ principal, params }) => core.endSandbox(platform, principal.project, params.sandboxId, "deleted"));
}

/** What has ended keeps what was seen of it then; all that lives is isolated as the engine isolates. */
export function withIsolation(gateway: Pick<Gateway, "isolation" | "browserIsolation">, sandbox: Sandbox): Sandbox {
  const isolation = BROWSER_TYPES.has(sandbox.type) ? gateway.browserIsolation : gateway.isolation;
  return sandbox.state === "ended" ? sandbox : { isolation, ...sandbox };
}
