import { Job, QueueEvents, TimerEvent, TimerPayload } from "#contract/job.ts";
import { Problem } from "#contract/problem.ts";
import { collectIntents } from "#core/artifacts.ts";
import { collectProfiles } from "#core/browser-profile-rows.ts";
import { dropCollections } from "#core/memory/collections.ts";
import { finishForgetting } from "#core/memory/forget.ts";
import { forgetExpired } from "#core/memory/records.ts";
import type { Limits } from "#core/limits.ts";
import type { Platform } from "#core/ports.ts";
import { endSandbox } from "#core/sandboxes.ts";
import { collectSnapshots } from "#core/snapshot-intents.ts";
import { sweep } from "#core/sweep.ts";
import { meterAll } from "#core/usage/pass.ts";
import { deliver } from "#core/webhooks.ts";

const COLLECT_AT_ONCE = 1000;
const FORGET_AT_ONCE = 1000;

/**
 * The jobs that an event carries: one for a timer, one for each message of a queue. Each is read only when its turn comes,
 * so that one that is no job keeps no other from being done. An event of another kind is refused.
 */
export function jobsOf(event: unknown): (() => Job)[] {
  const timer = TimerEvent.safeParse(event);
  if (timer.success) return [() => jobOf({ type: TimerPayload.parse(JSON.parse(timer.data.payload)).job })];
  const messages = QueueEvents.safeParse(event);
  if (messages.success) return messages.data.map((message) => () => jobOf(JSON.parse(message.data.messageBody)));
  throw new Problem("invalid_request", { detail: "The event is neither a timer's nor a queue's" });
}

/** Does one job. What throws is delivered again, and in the end kept among the dead letters. */
export async function work(platform: Platform, limits: Limits, job: Job, signal?: AbortSignal): Promise<object> {
  if (job.type === "sweep")
    return { ...(await sweep(platform, limits, signal)), ...(await sweepMemory(platform)), ...(await meterAll(platform, limits, signal)) };
  if (job.type === "collect") {
    const collected = (await collectIntents(platform, COLLECT_AT_ONCE)) + (await collectSnapshots(platform, COLLECT_AT_ONCE));
    return { collected: collected + (await collectProfiles(platform, COLLECT_AT_ONCE)) };
  }
  return job.type === "deliver" ? deliver(platform, job) : endOne(platform, job);
}

/** Forgets what has expired, and finishes what somebody began to forget. */
async function sweepMemory(platform: Platform): Promise<{ memoryExpired: number; memoryFinished: number }> {
  const memoryFinished = (await finishForgetting(platform, FORGET_AT_ONCE)) + (await dropCollections(platform, FORGET_AT_ONCE));
  return { memoryExpired: await forgetExpired(platform, FORGET_AT_ONCE), memoryFinished };
}

async function endOne(platform: Platform, job: Extract<Job, { type: "end_sandbox" }>): Promise<object> {
  try {
    const { state, endReason } = await endSandbox(platform, { id: job.projectId }, job.sandboxId, job.reason);
    return { state, endReason };
  } catch (error) {
    if (error instanceof Problem && error.code === "sandbox_not_found") return { state: "absent" };
    throw error;
  }
}

function jobOf(value: unknown): Job {
  const parsed = Job.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Problem("invalid_request", {
    detail: `Not a job of this worker: ${parsed.error.issues.map((issue) => issue.message).join("; ")}`,
  });
}
