import { createSnapshot, deleteSnapshot, forkSandbox, getSnapshot, listSnapshots } from "#contract/snapshot.ts";
import * as core from "#core/snapshots.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";
import { withIsolation } from "./sandboxes.ts";

export function mountSnapshots(app: App): void {
  const { platform, limits } = app.gateway;
  mount(app, createSnapshot).to(({ principal, params, body, signal }) =>
    core.createSnapshot(platform, principal.project, params.sandboxId, body, signal),
  );
  mount(app, forkSandbox).to(async ({ principal, params, body, signal }) => {
    const { items } = await core.forkSandbox(platform, limits, principal.project, params.sandboxId, body, signal);
    return { items: items.map((sandbox) => withIsolation(app.gateway, sandbox)) };
  });
  mount(app, listSnapshots).to(({ principal, query }) => core.listSnapshots(platform, principal.project, query));
  mount(app, getSnapshot).to(({ principal, params }) => core.getSnapshot(platform, principal.project, params.snapshot));
  mount(app, deleteSnapshot).to(({ principal, params }) => core.deleteSnapshot(platform, principal.project, params.snapshot));
}
