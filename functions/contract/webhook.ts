import * as z from "zod";
import { Count, Moment, page } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** What a project can be told of. */
export const WebhookEvent = z.enum(["sandbox.ready", "sandbox.ended", "sandbox.failed", "task.finished", "budget.alert", "budget.spent"]);
export type WebhookEvent = z.output<typeof WebhookEvent>;

/** The names of Standard Webhooks: the signature is of `<id>.<timestamp>.<body>`. */
export const WEBHOOK_ID = "webhook-id";
export const WEBHOOK_TIMESTAMP = "webhook-timestamp";
export const WEBHOOK_SIGNATURE = "webhook-signature";

/** What is sent. Whoever gets an id twice got the same thing twice. */
export const WebhookBody = z.object({ type: WebhookEvent, timestamp: Moment, data: z.record(z.string(), z.unknown()) });
export type WebhookBody = z.output<typeof WebhookBody>;

export const Webhook = z.object({ id: z.string(), url: z.string(), events: z.array(WebhookEvent), createdAt: Moment });
export type Webhook = z.output<typeof Webhook>;

export const CreateWebhook = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).max(2048),
  /** Left out, all. */
  events: z.array(WebhookEvent).min(1).default(WebhookEvent.options),
});
export type CreateWebhook = z.output<typeof CreateWebhook>;

/** One thing that a webhook is told, and how far that has come. */
export const WebhookDelivery = z.object({
  id: z.string(),
  type: WebhookEvent,
  state: z.enum(["waiting", "delivered", "dead"]),
  attempts: z.int(),
  at: Moment,
  /** Why it was not taken when it was last tried. */
  problem: z.string().optional(),
});
export type WebhookDelivery = z.output<typeof WebhookDelivery>;

const params = z.object({ webhookId: z.string() });

export const createWebhook = operation({
  id: "createWebhook",
  method: "post",
  path: "/api/webhooks",
  summary: "Have an address told of lifecycle, failure and budget; the secret that signs is shown once",
  body: CreateWebhook,
  status: 201,
  returns: Webhook.extend({ secret: z.string() }),
  errors: ["invalid_request", "quota_exceeded", "conflict"],
});

export const listWebhooks = operation({
  id: "listWebhooks",
  method: "get",
  path: "/api/webhooks",
  summary: "The project's webhooks",
  status: 200,
  returns: z.object({ items: z.array(Webhook) }),
  errors: [],
});

export const deleteWebhook = operation({
  id: "deleteWebhook",
  method: "delete",
  path: "/api/webhooks/:webhookId",
  summary: "Tell an address no more; what waits for it is dropped",
  params,
  status: 204,
  errors: ["webhook_not_found", "conflict"],
});

export const listDeliveries = operation({
  id: "listDeliveries",
  method: "get",
  path: "/api/webhooks/:webhookId/deliveries",
  summary: "What a webhook was told, newest first, and what it did not take",
  params,
  query: z.strictObject({ after: z.string().max(200).optional(), limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault) }),
  status: 200,
  returns: page(WebhookDelivery),
  errors: ["webhook_not_found", "invalid_request"],
});
