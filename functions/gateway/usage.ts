import { deleteProjectBudget, getProjectBudget, setProjectBudget } from "#contract/budget.ts";
import { getTaskCost } from "#contract/cost.ts";
import { getUsage, getUsageSettings, setUsageSettings } from "#contract/usage.ts";
import * as budgets from "#core/usage/budgets.ts";
import * as core from "#core/usage/reports.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountUsage(app: App): void {
  const { platform } = app.gateway;
  mount(app, getUsage).to(({ principal, query }) => core.reportUsage(platform, principal.project, query));
  mount(app, getUsageSettings).to(({ principal }) => core.getUsageSettings(platform, principal.project));
  mount(app, setUsageSettings).to(({ principal, body }) => core.setUsageSettings(platform, principal.project, body));
  mount(app, setProjectBudget).to(({ principal, params, body }) => budgets.setProjectBudget(platform, principal, params.projectId, body));
  mount(app, getProjectBudget).to(({ principal, params }) => budgets.getProjectBudget(platform, principal, params.projectId));
  mount(app, deleteProjectBudget).to(({ principal, params }) => budgets.deleteProjectBudget(platform, principal, params.projectId));
  mount(app, getTaskCost).to(({ principal, params, query }) => core.costOfTask(platform, principal.project, params.taskId, query.currency));
}
