import { createHash, createHmac, randomBytes } from "node:crypto";
import { newId } from "#contract/id.ts";
import { JOBS_QUEUE, type Job } from "#contract/job.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import {
  type CreateWebhook,
  type Webhook,
  WEBHOOK_ID,
  WEBHOOK_SIGNATURE,
  WEBHOOK_TIMESTAMP,
  type WebhookBody,
  type WebhookDelivery,
  type WebhookEvent,
} from "#contract/webhook.ts";
import type { Platform } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";

type Owner = Pick<Project, "id">;

interface HookRow extends Webhook {
  sealedSecret: string;
}

/** All webhooks of a project: they are few, and whoever has something to tell reads them at once. */
interface HooksRow {
  hooks: HookRow[];
}

interface DeliveryRow {
  id: string;
  state: WebhookDelivery["state"];
  attempts: number;
  body: WebhookBody;
  problem?: string;
}

/** Something to tell. `of` and the moment name it: telling it again, after a crash or by another process, is the same telling. */
export interface News {
  type: WebhookEvent;
  of: string;
  atMs: number;
  data: Record<string, unknown>;
}

const HOOKS = "webhooks";
const DELIVERIES = "webhook-deliveries";
const ATTEMPTS = 50;
const SECRET_BYTES = 32;
const SECRET_PREFIX = "whsec_";
/** How long after each try the next one comes; after the last there is none. */
const WAITS_MS = [5_000, 30_000, 120_000, 600_000, 3_600_000, 6 * 3_600_000, 12 * 3_600_000];
const KEPT_MS = 14 * 24 * 3_600_000;
const TIDIED_AT_ONCE = 10;
const PROBLEM_CHARS = 200;

/** Makes a webhook; its secret is answered here and never again. */
export async function createWebhook(platform: Platform, project: Owner, spec: CreateWebhook): Promise<Webhook & { secret: string }> {
  const now = platform.clock.now();
  const secret = SECRET_PREFIX + randomBytes(SECRET_BYTES).toString("base64");
  const hook: Webhook = { id: newId(now), url: spec.url, events: [...new Set(spec.events)], createdAt: new Date(now).toISOString() };
  const kept: HookRow = { ...hook, sealedSecret: platform.vault.seal(secret, aboutOf(project.id, hook.id)) };
  await changeHooks(platform, project.id, (hooks) => {
    if (hooks.length < LIMITS.webhooks) return [...hooks, kept];
    throw new Problem("quota_exceeded", { detail: `A project has at most ${LIMITS.webhooks} webhooks`, next: "Delete one." });
  });
  return { ...hook, secret };
}

export async function listWebhooks(platform: Platform, project: Owner): Promise<{ items: Webhook[] }> {
  const row = await platform.tables.get<HooksRow>(HOOKS, project.id);
  return { items: (row?.value.hooks ?? []).map(toWebhook) };
}

/** Deletes a webhook; the row of a project that had one stays, so that its version never begins again. */
export async function deleteWebhook(platform: Platform, project: Owner, id: string): Promise<void> {
  await changeHooks(platform, project.id, (hooks) => {
    if (hooks.every((hook) => hook.id !== id)) throw webhookNotFound(id);
    return hooks.filter((hook) => hook.id !== id);
  });
}

export async function listDeliveries(
  platform: Platform,
  project: Owner,
  id: string,
  query: { after?: string | undefined; limit: number },
): Promise<{ items: WebhookDelivery[]; next?: string }> {
  const row = await platform.tables.get<HooksRow>(HOOKS, project.id);
  if (!row?.value.hooks.some((hook) => hook.id === id)) throw webhookNotFound(id);
  const prefix = `${project.id}/${id}/`;
  const after = query.after === undefined ? {} : { after: prefix + query.after };
  const rows = await platform.tables.range<DeliveryRow>(DELIVERIES, prefix, { limit: query.limit + 1, descending: true, ...after });
  const shown = rows.slice(0, query.limit);
  const last = shown.at(-1);
  return {
    items: shown.map(({ value }) => toDelivery(value)),
    ...(rows.length > shown.length && last ? { next: last.key.slice(prefix.length) } : {}),
  };
}

/** Tells all webhooks of a project that want to know: the delivery is written, then the worker is asked to send it. */
export async function tell(platform: Platform, projectId: string, news: News): Promise<void> {
  const row = await platform.recent.get<HooksRow>(HOOKS, projectId);
  const wanting = row?.value.hooks.filter(({ events }) => events.includes(news.type)) ?? [];
  await Promise.all(wanting.map((hook) => tellHook(platform, projectId, hook.id, news)));
}

/** Sends one delivery. What fails comes again later, a number of times; then it is dead, and stays to be read. */
export async function deliver(
  platform: Platform,
  { projectId, webhookId, key, attempt }: Extract<Job, { type: "deliver" }>,
): Promise<object> {
  const row = await platform.tables.get<DeliveryRow>(DELIVERIES, key);
  // A job that comes twice is done once.
  if (!row || row.value.state !== "waiting" || row.value.attempts !== attempt) return { delivery: "done already" };
  const hook = (await platform.tables.get<HooksRow>(HOOKS, projectId))?.value.hooks.find(({ id }) => id === webhookId);
  if (!hook) {
    await platform.tables.remove(DELIVERIES, key);
    return { delivery: "unwanted" };
  }
  const problem = await send(platform, projectId, hook, row.value);
  const attempts = attempt + 1;
  const waitMs = WAITS_MS[attempt];
  const state = problem === undefined ? "delivered" : waitMs === undefined ? "dead" : "waiting";
  const next: DeliveryRow = { ...row.value, state, attempts, ...(problem === undefined ? {} : { problem }) };
  if (state === "waiting" && waitMs !== undefined)
    await ask(platform, { type: "deliver", projectId, webhookId, key, attempt: attempts }, waitMs);
  await unlessConflict(platform.tables.put<DeliveryRow>(DELIVERIES, key, next, { ifVersion: row.version }));
  if (state === "dead") platform.log.event("webhook.dead", { projectId, webhookId, delivery: row.value.id, problem });
  await tidy(platform, `${projectId}/${webhookId}/`);
  return { delivery: state };
}

/** The signature of a message, in the words of Standard Webhooks. */
export function signatureOf(secret: string, id: string, timestamp: string, body: string): string {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), "base64");
  return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}

async function tellHook(platform: Platform, projectId: string, webhookId: string, { type, of, atMs, data }: News): Promise<void> {
  const id = `msg_${createHash("sha256").update([projectId, webhookId, type, of, atMs].join("\n")).digest("hex").slice(0, 32)}`;
  const key = `${projectId}/${webhookId}/${String(atMs).padStart(15, "0")}/${id}`;
  const body: WebhookBody = { type, timestamp: new Date(atMs).toISOString(), data };
  const row: DeliveryRow = { id, state: "waiting", attempts: 0, body };
  const written = await unlessConflict(platform.tables.put<DeliveryRow>(DELIVERIES, key, row, { ifVersion: "absent" }));
  if (!written) {
    // Whoever wrote it may have been killed before it asked.
    const known = await platform.tables.get<DeliveryRow>(DELIVERIES, key);
    if (known?.value.state !== "waiting" || known.value.attempts > 0) return;
  }
  await ask(platform, { type: "deliver", projectId, webhookId, key, attempt: 0 });
}

async function ask(platform: Platform, job: Job, delayMs = 0): Promise<void> {
  await platform.queue.send(JOBS_QUEUE, JSON.stringify(job), { delayMs });
}

/** Undefined when it was taken; otherwise why not. */
async function send(platform: Platform, projectId: string, hook: HookRow, { id, body }: DeliveryRow): Promise<string | undefined> {
  const secret = platform.vault.open(hook.sealedSecret, aboutOf(projectId, hook.id));
  const timestamp = String(Math.floor(platform.clock.now() / 1000));
  const text = JSON.stringify(body);
  const headers = {
    "content-type": "application/json",
    [WEBHOOK_ID]: id,
    [WEBHOOK_TIMESTAMP]: timestamp,
    [WEBHOOK_SIGNATURE]: signatureOf(secret, id, timestamp, text),
  };
  try {
    const status = await platform.outside.post(hook.url, headers, text);
    return status >= 200 && status < 300 ? undefined : `HTTP ${status}`;
  } catch (error) {
    return (error instanceof Error ? error.message : String(error)).slice(0, PROBLEM_CHARS);
  }
}

/** Forgets what was told long ago. */
async function tidy(platform: Platform, prefix: string): Promise<void> {
  const old = `${prefix}${String(Math.max(0, platform.clock.now() - KEPT_MS)).padStart(15, "0")}`;
  const rows = await platform.tables.range<DeliveryRow>(DELIVERIES, prefix, { limit: TIDIED_AT_ONCE });
  for (const { key, value } of rows) if (key < old && value.state !== "waiting") await platform.tables.remove(DELIVERIES, key);
}

/** Changes the webhooks of a project, of which there is one row: whoever loses a race reads again. */
async function changeHooks(platform: Platform, projectId: string, change: (hooks: HookRow[]) => HookRow[]): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await platform.tables.get<HooksRow>(HOOKS, projectId);
    const hooks = change(row?.value.hooks ?? []);
    const written = await unlessConflict(
      platform.tables.put<HooksRow>(HOOKS, projectId, { hooks }, { ifVersion: row?.version ?? "absent" }),
    );
    if (written) return;
  }
  throw new Problem("conflict", { detail: "Too many change the project's webhooks at once" });
}

function webhookNotFound(id: string): Problem {
  return new Problem("webhook_not_found", { detail: `No such webhook: ${id}` });
}

function toWebhook({ id, url, events, createdAt }: HookRow): Webhook {
  return { id, url, events, createdAt };
}

function toDelivery({ id, state, attempts, body, problem }: DeliveryRow): WebhookDelivery {
  return { id, type: body.type, state, attempts, at: body.timestamp, ...(problem === undefined ? {} : { problem }) };
}

function aboutOf(projectId: string, id: string): string {
  return `webhook/${projectId}/${id}`;
}
