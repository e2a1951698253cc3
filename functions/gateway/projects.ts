import { createKey, createProject, deleteKey, getHealth, listProjects, updateProject, whoAmI } from "#contract/project.ts";
import { VERSION } from "#contract/version.ts";
import * as core from "#core/projects.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountProjects(app: App): void {
  const { platform, limits, accountId, startedAtMs } = app.gateway;
  mount(app, createProject).to(({ principal, body }) => core.createProject(platform, limits, principal, body, accountId));
  mount(app, listProjects).to(({ principal, query }) => core.listProjects(platform, principal, query));
  mount(app, updateProject).to(({ principal, params, body }) => core.updateProject(platform, principal, params.projectId, body.quota));
  mount(app, createKey).to(({ principal, params }) => core.createKey(platform, principal, params.projectId, accountId));
  mount(app, deleteKey).to(({ principal, params }) => core.deleteKey(platform, principal, params.accessKeyId));
  mount(app, whoAmI).toScoped(({ principal }) => ({ project: principal.project, accessKeyId: principal.accessKeyId }));
  mount(app, getHealth).toAnyone(async () => {
    const engine = (await platform.engine.ping()) ? "ok" : "down";
    return { status: "ok", version: VERSION, startedAt: new Date(startedAtMs).toISOString(), engine };
  });
}
