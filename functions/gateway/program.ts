import { readProgram } from "#contract/program.ts";
import * as core from "#core/program.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountProgram(app: App): void {
  const { platform } = app.gateway;
  mount(app, readProgram).to(({ principal, params, signal }) => core.readProgram(platform, principal.project, params.sandboxId, signal));
}
