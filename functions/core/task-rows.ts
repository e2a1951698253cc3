import { createHash } from "node:crypto";
import type { Budget } from "#contract/budget.ts";
import { Problem } from "#contract/problem.ts";
import type { Task, TaskOutcome, TaskPolicy, TaskState } from "#contract/task.ts";
import type { Platform, Row } from "./ports.ts";
import { type SandboxRow, unlessConflict } from "./sandbox-rows.ts";

/** A task as it is kept. `parentSpanId` is the caller's span that it was begun from. */
export interface TaskRow {
  id: string;
  projectId: string;
  state: TaskState;
  name?: string;
  metadata: Record<string, string>;
  agent?: Task["agent"];
  own: boolean;
  requestedBy: Task["requestedBy"];
  policy: TaskPolicy;
  budget?: Budget;
  traceId: string;
  parentSpanId?: string;
  outcome?: TaskOutcome;
  createdAtMs: number;
  endedAtMs?: number;
}

export const TASKS = "tasks";
export const TASK_TIMES = "task-times";
/** Which sandboxes name a task: `<project>/<task>/<sandbox>`. */
export const TASK_SANDBOXES = "task-sandboxes";

const NOBODY = "platform";

export function taskKey(projectId: string, id: string): string {
  return `${projectId}/${id}`;
}

export function taskTimeKey(row: Pick<TaskRow, "projectId" | "id" | "createdAtMs">): string {
  return `${row.projectId}/${String(row.createdAtMs).padStart(15, "0")}/${row.id}`;
}

export async function ownTask(platform: Platform, projectId: string, id: string): Promise<Row<TaskRow>> {
  const row = await platform.tables.get<TaskRow>(TASKS, taskKey(projectId, id));
  if (!row) throw new Problem("task_not_found", { detail: `No such task: ${id}`, taskId: id });
  return row;
}

export function taskEnded(row: TaskRow): Problem {
  return new Problem("task_ended", { detail: `The task ${row.id} is ${row.state}`, taskId: row.id, state: row.state });
}

/** The span of a task or a sandbox: known from its name alone, so that whoever writes a child of it needs to read nothing. */
export function spanIdOf(kind: "task" | "sandbox", projectId: string, id: string): string {
  return createHash("sha256").update(`${kind}\n${projectId}\n${id}`).digest("hex").slice(0, 16);
}

/** The trace of a task that no caller gave one. */
export function traceIdOf(projectId: string, taskId: string, createdAtMs: number): string {
  return createHash("sha256").update(`trace\n${projectId}\n${taskId}\n${createdAtMs}`).digest("hex").slice(0, 32);
}

/** A row of a task that begins now, for whoever is calling. */
export function newTaskRow(
  platform: Platform,
  projectId: string,
  id: string,
  facts: Pick<TaskRow, "own"> & Partial<TaskRow> & { onBehalfOf?: string | undefined },
): TaskRow {
  const { onBehalfOf, ...rest } = facts;
  const caller = platform.callers.current();
  const createdAtMs = platform.clock.now();
  const behalf = onBehalfOf ?? caller?.onBehalfOf;
  return {
    id,
    projectId,
    state: "open",
    metadata: {},
    requestedBy: { accessKeyId: caller?.accessKeyId ?? NOBODY, ...(behalf === undefined ? {} : { onBehalfOf: behalf }) },
    policy: {},
    traceId: caller?.trace?.traceId ?? traceIdOf(projectId, id, createdAtMs),
    ...(caller?.trace ? { parentSpanId: caller.trace.spanId } : {}),
    createdAtMs,
    ...rest,
  };
}

/** Writes a new task: its place in time first, so that one that is there is also found. Undefined when the id is taken. */
export async function putTask(platform: Platform, row: TaskRow): Promise<Row<TaskRow> | undefined> {
  const [, written] = await Promise.all([
    platform.tables.put(TASK_TIMES, taskTimeKey(row), { id: row.id }),
    unlessConflict(platform.tables.put<TaskRow>(TASKS, taskKey(row.projectId, row.id), row, { ifVersion: "absent" })),
  ]);
  return written;
}

/** The task of a sandbox that is to be: the one that it names, or one that begins with it. One that has ended takes no more. */
export async function taskFor(platform: Platform, sandbox: Pick<SandboxRow, "projectId" | "id" | "taskId">): Promise<TaskRow> {
  const { projectId, id, taskId } = sandbox;
  const known = await platform.tables.get<TaskRow>(TASKS, taskKey(projectId, taskId));
  const row = known?.value ?? newTaskRow(platform, projectId, taskId, { own: taskId === id });
  if (row.state !== "open") throw taskEnded(row);
  return row;
}

/**
 * Writes the sandbox among its task's, and the task if nobody has; answers the task as it is kept. Both come before the
 * sandbox's own row, so that cancelling finds every sandbox that ever was.
 */
export async function enterTask(
  platform: Platform,
  sandbox: Pick<SandboxRow, "projectId" | "id" | "taskId">,
  task: TaskRow,
): Promise<TaskRow> {
  const { projectId, id, taskId } = sandbox;
  const [made] = await Promise.all([
    platform.tables.get<TaskRow>(TASKS, taskKey(projectId, taskId)).then((known) => known ?? putTask(platform, task)),
    platform.tables.put(TASK_SANDBOXES, `${projectId}/${taskId}/${id}`, { id }),
  ]);
  return made?.value ?? (await ownTask(platform, projectId, taskId)).value;
}

/** Refuses a sandbox whose task ended meanwhile. Its row is there by now, so that of us and who cancels the task at least one sees the other. */
export async function refuseIfTaskEnded(platform: Platform, sandbox: SandboxRow): Promise<TaskRow | undefined> {
  const task = await platform.tables.get<TaskRow>(TASKS, taskKey(sandbox.projectId, sandbox.taskId));
  if (task && task.value.state !== "open") throw taskEnded(task.value);
  return task?.value;
}

/** Takes back what `enterTask` did for a sandbox that never came to be. */
export async function leaveTask(platform: Platform, sandbox: Pick<SandboxRow, "projectId" | "id" | "taskId">): Promise<void> {
  const { projectId, id, taskId } = sandbox;
  await platform.tables.remove(TASK_SANDBOXES, `${projectId}/${taskId}/${id}`);
  if (taskId !== id) return;
  const row = await platform.tables.get<TaskRow>(TASKS, taskKey(projectId, taskId));
  if (!row?.value.own || row.value.state !== "open") return;
  if (!(await unlessConflict(platform.tables.remove(TASKS, row.key, { ifVersion: row.version }).then(() => true)))) return;
  await platform.tables.remove(TASK_TIMES, taskTimeKey(row.value));
}

/** Ends the task that a sandbox had for itself, before its own row says `ended`: a crash between leaves the ending to be repeated. */
export async function endOwnTask(platform: Platform, sandbox: SandboxRow): Promise<void> {
  const { projectId, id, taskId, endReason } = sandbox;
  if (taskId !== id) return;
  const row = await platform.tables.get<TaskRow>(TASKS, taskKey(projectId, taskId));
  if (!row?.value.own || row.value.state !== "open") return;
  const failed = endReason !== undefined && FAILURES.has(endReason);
  const outcome: TaskOutcome = { status: failed ? "failed" : "succeeded", summary: `Its sandbox ended: ${endReason ?? "unknown"}` };
  const ended: TaskRow = { ...row.value, state: "finished", outcome, endedAtMs: platform.clock.now() };
  await unlessConflict(platform.tables.put<TaskRow>(TASKS, row.key, ended, { ifVersion: row.version }));
}

export const FAILURES: ReadonlySet<string> = new Set(["oom", "crashed", "engine_restarted", "failed", "lost", "budget"]);
