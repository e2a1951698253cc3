import { setTimeout as delay } from "node:timers/promises";
import { newId } from "#contract/id.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateSandbox, Sandbox } from "#contract/sandbox.ts";
import type { KeptProfile } from "./browser-profile-rows.ts";
import { giveProfile } from "./browser-restore.ts";
import { dueKey, graceEnd } from "./due.ts";
import { endRow, forget } from "./endings.ts";
import type { Limits } from "./limits.ts";
import { inward } from "./passage.ts";
import type { Platform, Row, SessionLife } from "./ports.ts";
import { tellReady } from "./news.ts";
import { reserve } from "./quotas.ts";
import {
  DUE,
  isBeingMade,
  ownRow,
  rowKey,
  sandboxEnded,
  type SandboxRow,
  SANDBOXES,
  timeKey,
  TIMES,
  toSandbox,
  turn,
  unlessConflict,
} from "./sandbox-rows.ts";
import { restoreInto } from "./restore.ts";
import type { Origin } from "./snapshot-rows.ts";
import { leaveTask, refuseIfTaskEnded } from "./task-rows.ts";
import { CODE_INTERPRETER, isBuiltIn } from "./built-in.ts";
import { findTemplate, type TemplateRow } from "./templates.ts";
import { enterBudgets, leaveBudgets } from "./usage/budgets.ts";
import { firstHours } from "./usage/hours.ts";

/** How much longer than the sandbox its session may live, so that the sweep and not the engine ends it. */
const SLACK_MS = 60_000;
const READY_POLL_MS = 25;
/** How slowly files may come in before nobody is thought to bring them any more. */
const RESTORED_BYTES_PER_MS = 5 * 1024;
/** How much longer making it may take when its browser starts once more, for a profile. */
const PROFILE_MS = 60_000;

/** The row of a sandbox that is to be. Its first due moment finds it also when its making was cut short. */
export function newRow(platform: Platform, project: Project, from: TemplateRow, spec: CreateSandbox, origin?: Origin): SandboxRow {
  const now = platform.clock.now();
  const { template } = from;
  const id = spec.id ?? newId(now);
  const idleTimeoutMs = spec.idleTimeoutMs ?? template.idleTimeoutMs;
  const endsAtMs = now + (spec.lifetimeMs ?? template.lifetimeMs);
  const filesMs = origin && Math.ceil(origin.sizeBytes / RESTORED_BYTES_PER_MS);
  const profileMs = spec.browserProfile === undefined ? undefined : PROFILE_MS;
  const restoreMs = filesMs === undefined && profileMs === undefined ? undefined : (filesMs ?? 0) + (profileMs ?? 0);
  const grace = graceEnd({ createdAtMs: now, ...(restoreMs === undefined ? {} : { restoreMs }) });
  return {
    id,
    projectId: project.id,
    template: template.name,
    type: template.type,
    state: "creating",
    ...(spec.name === undefined ? {} : { name: spec.name }),
    metadata: spec.metadata,
    taskId: spec.taskId ?? id,
    ...(origin?.name === undefined ? {} : { snapshot: origin.name }),
    ...(restoreMs === undefined ? {} : { restoreMs }),
    ...(spec.browserProfile === undefined ? {} : { browserProfile: spec.browserProfile }),
    cpu: template.cpu,
    memoryMiB: template.memoryMiB,
    diskMiB: template.diskMiB,
    idleTimeoutMs,
    createdAtMs: now,
    endsAtMs,
    ref: { functionName: from.functionName, sessionId: `${project.id}_${id}` },
    dueAtMs: Math.min(grace, now + idleTimeoutMs, endsAtMs),
    making: true,
    holdsQuota: false,
    ...(template.browserPages.length > 0 ? { browserPages: template.browserPages } : {}),
    autoPause: template.autoPause,
    autoResume: template.autoResume,
  };
}

/** Takes its units of the quotas and starts the session; what fails on the way is ended, not left. */
export async function bringUp(
  platform: Platform,
  limits: Limits,
  project: Project,
  row: Row<SandboxRow>,
  inside: { environment: Record<string, string>; origin: Origin | undefined; profile: KeptProfile | undefined },
  signal?: AbortSignal,
): Promise<Row<SandboxRow>> {
  let holdsQuota = false;
  try {
    signal?.throwIfAborted();
    // A template deleted meanwhile has looked for sandboxes after ours was announced, or is seen missing here.
    if (!isBuiltIn(row.value.template)) await findTemplate(platform, limits, project, row.value.template);
    const task = await refuseIfTaskEnded(platform, row.value);
    await enterBudgets(platform, limits.usageIntervalMs, row.value, task);
    await reserve(platform, project, row.value);
    holdsQuota = true;
    await platform.engine.start(row.value.ref, sessionLife(limits, row.value), signal);
    if (inside.origin) await restoreInto(platform, row.value, inside.origin, signal);
    if (inside.profile) await giveProfile(platform, row.value, inside.profile, signal);
    await giveEnvironment(platform, row.value, inside.environment, signal);
    signal?.throwIfAborted();
    const hours = firstHours(platform.clock.now());
    const ready = await turn(platform, row, { state: "ready", making: false, holdsQuota, hours });
    if (ready) {
      await tellReady(platform, ready.value);
      return ready;
    }
    const rival = await ownRow(platform, project, row.value.id);
    throw sandboxEnded(rival.value);
  } catch (error) {
    const ended = await abandon(platform, row, holdsQuota);
    // Whoever ended it meanwhile gave the reason; what the engine said of the session that went away is not it.
    throw ended && ended.endReason !== "failed" ? sandboxEnded(ended) : error;
  }
}

/** The session's times: its idle time is the engine's longest, because work in the background is use and only the workspace knows of it. */
export function sessionLife(limits: Limits, row: Pick<SandboxRow, "createdAtMs" | "endsAtMs">): SessionLife {
  return { lifetimeMs: row.endsAtMs - row.createdAtMs + SLACK_MS, idleTimeoutMs: Math.max(limits.idleMaxMs, limits.lifeMaxMs) };
}

/** Answers a create of an id that exists: the same sandbox when it lives and is of the same template. */
export async function meet(
  platform: Platform,
  project: Project,
  existing: SandboxRow,
  spec: CreateSandbox,
  signal?: AbortSignal,
): Promise<Sandbox> {
  const taken = (detail: string) => new Problem("already_exists", { detail, sandboxId: existing.id });
  const template = spec.template ?? (spec.snapshot === undefined ? CODE_INTERPRETER : existing.template);
  if (existing.template !== template) throw taken(`The sandbox ${existing.id} exists and was made from ${existing.template}`);
  if (existing.snapshot !== spec.snapshot)
    throw taken(`The sandbox ${existing.id} exists and was made from ${existing.snapshot ?? "no snapshot"}`);
  if (existing.browserProfile !== spec.browserProfile)
    throw taken(`The sandbox ${existing.id} exists and was given ${existing.browserProfile ?? "no browser profile"}`);
  let row = existing;
  while (row.state === "creating") {
    await delay(READY_POLL_MS, undefined, signal ? { signal } : {});
    const latest = await ownRow(platform, project, existing.id);
    const forsaken = latest.value.state === "creating" && !isBeingMade(platform, latest.value);
    // Its maker died: whoever waits for it says so now, as the sweep would.
    row = forsaken ? (await endRow(platform, latest, "failed")).value : latest.value;
  }
  if (row.state !== "ending" && row.state !== "ended") return toSandbox(row);
  throw taken(`The id ${existing.id} was used by a sandbox that has ended; an id is used once`);
}

/** The same for a create that lost the race for its id; what it announced and the winner did not is withdrawn. */
export async function meetRival(
  platform: Platform,
  project: Project,
  lost: SandboxRow,
  spec: CreateSandbox,
  signal?: AbortSignal,
): Promise<Sandbox> {
  const { value: winner } = await ownRow(platform, project, lost.id);
  if (timeKey(winner) !== timeKey(lost)) await platform.tables.remove(TIMES, timeKey(lost));
  if (dueKey(winner) !== dueKey(lost)) await platform.tables.remove(DUE, dueKey(lost));
  return meet(platform, project, winner, spec, signal);
}

/**
 * A template's variables go in like a sandbox's own, after the start: the workspace's own environment is not theirs to set.
 * An image's program begins with them, and is waited for.
 */
async function giveEnvironment(
  platform: Platform,
  row: SandboxRow,
  variables: Record<string, string>,
  signal?: AbortSignal,
): Promise<void> {
  const isImage = row.type === "CustomImage";
  if (!isImage && Object.keys(variables).length === 0) return;
  const request = new Request(`http://workspace/${isImage ? "program" : "environment"}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ variables }),
  });
  const response = await platform.engine.request(row.ref, inward(platform, row.ref.sessionId, request), signal);
  if (response.ok) return response.body?.cancel();
  const said = isImage ? problemFrom(await response.json().catch(() => undefined)) : undefined;
  throw said ?? new Problem("sandbox_lost", { detail: `The workspace refused its environment with ${response.status}`, sandboxId: row.id });
}

async function abandon(platform: Platform, row: Row<SandboxRow>, holdsQuota: boolean): Promise<SandboxRow | undefined> {
  try {
    if (!holdsQuota && (await withdraw(platform, row))) return undefined;
    const latest = await ownRow(platform, { id: row.value.projectId }, row.value.id);
    return (await endRow(platform, latest, "failed", { making: false, holdsQuota })).value;
  } catch (error) {
    // The row still says what is left to do, and the sweep does it; the caller is told the first cause.
    platform.log.event("sandbox.abandon_failed", { sandboxId: row.value.id, projectId: row.value.projectId, error: String(error) });
    return undefined;
  }
}

/** Takes back a creation that was refused before anything was started: its id stays free for another try. False when somebody ended it first. */
async function withdraw(platform: Platform, row: Row<SandboxRow>): Promise<boolean> {
  const { projectId, id } = row.value;
  await leaveBudgets(platform, row.value);
  const removal = platform.tables.remove(SANDBOXES, rowKey(projectId, id), { ifVersion: row.version });
  if (!(await unlessConflict(removal.then(() => true)))) return false;
  await platform.tables.remove(TIMES, timeKey(row.value));
  await Promise.all([forget(platform, row.value), leaveTask(platform, row.value)]);
  return true;
}
