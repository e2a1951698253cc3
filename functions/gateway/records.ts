import { getRecords, setRecords } from "#contract/records.ts";
import * as core from "#core/records.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountRecords(app: App): void {
  const { platform } = app.gateway;
  mount(app, getRecords).to(({ principal }) => core.recordsOf(principal.project));
  mount(app, setRecords).to(({ principal, body }) => core.setRecords(platform, principal.project, body));
}
