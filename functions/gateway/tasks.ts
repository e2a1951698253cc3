import { cancelTask, createTask, finishTask, getTask, listTasks } from "#contract/task.ts";
import * as core from "#core/tasks.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountTasks(app: App): void {
  const { platform } = app.gateway;
  mount(app, createTask).to(({ principal, body }) => core.createTask(platform, principal.project, body));
  mount(app, listTasks).to(({ principal, query }) => core.listTasks(platform, principal.project, query));
  mount(app, getTask).to(({ principal, params }) => core.getTask(platform, principal.project, params.taskId));
  mount(app, finishTask).to(({ principal, params, body }) => core.finishTask(platform, principal.project, params.taskId, body.outcome));
  mount(app, cancelTask).to(({ principal, params, body }) => core.cancelTask(platform, principal.project, params.taskId, body.reason));
}
