import type { Platform } from "./ports.ts";
import type { SandboxRow } from "./sandbox-rows.ts";
import { FAILURES, type TaskRow } from "./task-rows.ts";
import { tell } from "./webhooks.ts";

/** Tells a project's webhooks that a sandbox serves. A gateway that is killed at this very moment tells nobody. */
export async function tellReady(platform: Platform, row: SandboxRow): Promise<void> {
  const { id, projectId, taskId, template, metadata, hours } = row;
  const atMs = hours?.sinceMs ?? row.createdAtMs;
  await tell(platform, projectId, { type: "sandbox.ready", of: id, atMs, data: { sandboxId: id, taskId, template, metadata } });
}

/** The same that it has ended, before its living-row goes: the sweep tells it when a crash came between. */
export async function tellEnded(platform: Platform, row: SandboxRow): Promise<void> {
  const { id, projectId, taskId, template, metadata, endReason = "lost", endedAtMs = row.createdAtMs } = row;
  const data = { sandboxId: id, taskId, template, metadata, reason: endReason };
  const news = { of: id, atMs: endedAtMs, data };
  await tell(platform, projectId, { type: "sandbox.ended", ...news });
  if (FAILURES.has(endReason)) await tell(platform, projectId, { type: "sandbox.failed", ...news });
}

export async function tellFinished(platform: Platform, row: TaskRow): Promise<void> {
  const { id, projectId, outcome, agent, endedAtMs = row.createdAtMs } = row;
  const data = { taskId: id, ...(agent ? { agent } : {}), ...(outcome ? { outcome } : {}) };
  await tell(platform, projectId, { type: "task.finished", of: id, atMs: endedAtMs, data });
}
