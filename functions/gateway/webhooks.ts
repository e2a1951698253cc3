import { createWebhook, deleteWebhook, listDeliveries, listWebhooks } from "#contract/webhook.ts";
import * as core from "#core/webhooks.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountWebhooks(app: App): void {
  const { platform } = app.gateway;
  mount(app, createWebhook).to(({ principal, body }) => core.createWebhook(platform, principal.project, body));
  mount(app, listWebhooks).to(({ principal }) => core.listWebhooks(platform, principal.project));
  mount(app, deleteWebhook).to(({ principal, params }) => core.deleteWebhook(platform, principal.project, params.webhookId));
  mount(app, listDeliveries).to(({ principal, params, query }) =>
    core.listDeliveries(platform, principal.project, params.webhookId, query),
  );
}
