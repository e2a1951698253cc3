import { createTemplate, deleteTemplate, getTemplate, listTemplates, updateTemplate } from "#contract/template.ts";
import * as core from "#core/templates.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountTemplates(app: App): void {
  const { platform, limits } = app.gateway;
  mount(app, createTemplate).to(({ principal, body }) => core.createTemplate(platform, limits, principal.project, body));
  mount(app, listTemplates).to(({ principal, query }) => core.listTemplates(platform, limits, principal.project, query));
  mount(app, getTemplate).to(({ principal, params }) => core.getTemplate(platform, limits, principal.project, params.name));
  mount(app, updateTemplate).to(({ principal, params, body }) =>
    core.updateTemplate(platform, limits, principal.project, params.name, body),
  );
  mount(app, deleteTemplate).to(({ principal, params }) => core.deleteTemplate(platform, principal.project, params.name));
}
