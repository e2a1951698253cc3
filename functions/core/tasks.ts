import { newId } from "#contract/id.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateTask, Task, TaskDetail, TaskOutcome, TaskQuery } from "#contract/task.ts";
import { listArtifacts } from "./artifacts.ts";
import { endRow } from "./endings.ts";
import type { Platform, Row } from "./ports.ts";
import { tellFinished } from "./news.ts";
import { taskSpan } from "./span.ts";
import { rowKey, SANDBOXES, type SandboxRow, unlessConflict } from "./sandbox-rows.ts";
import {
  newTaskRow,
  ownTask,
  putTask,
  TASK_SANDBOXES,
  TASK_TIMES,
  taskEnded,
  taskKey,
  type TaskRow,
  TASKS,
  taskTimeKey,
} from "./task-rows.ts";

const ATTEMPTS = 10;
const PAGE = 200;
const PAGES_READ = 10;
const SHOWN = 100;
const ENDED_AT_ONCE = 8;
const CANCEL_ROUNDS = 3;

type Owner = Pick<Project, "id">;

/** Begins a task. Its budget is kept to by every sandbox that names it. */
export async function createTask(platform: Platform, project: Owner, spec: CreateTask): Promise<Task> {
  const { id = newId(platform.clock.now()), name, metadata, agent, onBehalfOf, policy, budget } = spec;
  const own = { ...(name === undefined ? {} : { name }), ...(agent === undefined ? {} : { agent }), ...(budget ? { budget } : {}) };
  const written = await putTask(platform, newTaskRow(platform, project.id, id, { own: false, metadata, policy, onBehalfOf, ...own }));
  if (!written) throw new Problem("already_exists", { detail: `A task ${id} exists already`, taskId: id });
  return toTask(written.value);
}

export async function getTask(platform: Platform, project: Owner, id: string): Promise<TaskDetail> {
  const { value } = await ownTask(platform, project.id, id);
  const [sandboxes, artifacts] = await Promise.all([
    sandboxesOf(platform, project.id, id, SHOWN),
    listArtifacts(platform, project, { taskId: id, limit: SHOWN }),
  ]);
  return {
    ...toTask(value),
    sandboxes: sandboxes.toReversed().map(({ value: row }) => ({ id: row.id, template: row.template, state: row.state })),
    artifacts: artifacts.items.map(({ id: one, name, sizeBytes, sandboxId }) => ({
      id: one,
      name,
      sizeBytes,
      ...(sandboxId === undefined ? {} : { sandboxId }),
    })),
  };
}

/** A page of the project's tasks, newest first. A filter that finds little may answer a short page with `next`. */
export async function listTasks(platform: Platform, project: Owner, query: TaskQuery): Promise<{ items: Task[]; next?: string }> {
  const prefix = `${project.id}/`;
  const items: Task[] = [];
  let cursor = query.after === undefined ? undefined : prefix + query.after;
  const next = () => (cursor === undefined ? { items } : { items, next: cursor.slice(prefix.length) });
  for (let pages = 0; pages < PAGES_READ; pages += 1) {
    const page = { limit: PAGE, descending: true, ...(cursor === undefined ? {} : { after: cursor }) };
    const index = await platform.tables.range<{ id: string }>(TASK_TIMES, prefix, page);
    const rows = await Promise.all(index.map(({ value }) => platform.tables.get<TaskRow>(TASKS, taskKey(project.id, value.id))));
    for (const [at, entry] of index.entries()) {
      const row = rows[at]?.value;
      // An entry that lost the race for its id is not the row's own.
      const wanted = row !== undefined && taskTimeKey(row) === entry.key && matches(row, query);
      if (wanted && items.length === query.limit) return next();
      if (wanted) items.push(toTask(row));
      cursor = entry.key;
    }
    if (index.length < PAGE) return { items };
  }
  return next();
}

/** Says what became of a task. The first word stays: another one is refused, and the same one is the same ending. */
export async function finishTask(platform: Platform, project: Owner, id: string, outcome: TaskOutcome): Promise<Task> {
  const state = outcome.status === "cancelled" ? "cancelled" : "finished";
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await ownTask(platform, project.id, id);
    if (row.value.state !== "open" && row.value.outcome?.status === outcome.status) {
      // Whoever finished it may have been killed before it told.
      await tellFinished(platform, row.value);
      return toTask(row.value);
    }
    const ended = await turnTask(platform, row, state, outcome);
    if (ended) return toTask(ended.value);
  }
  throw new Problem("conflict", { taskId: id });
}

/** Turns the task first, so that no sandbox joins it any more, and then ends those that have. A crash between is repaired by cancelling again. */
export async function cancelTask(platform: Platform, project: Owner, id: string, reason?: string): Promise<Task> {
  const task = await finishTask(platform, project, id, { status: "cancelled", ...(reason === undefined ? {} : { summary: reason }) });
  // Who read the task just before it turned may still have put its sandbox after the first look.
  for (let round = 0; round < CANCEL_ROUNDS; round += 1) {
    const living = (await sandboxesOf(platform, project.id, id)).filter(({ value }) => value.state !== "ended");
    if (living.length === 0) break;
    for (let at = 0; at < living.length; at += ENDED_AT_ONCE)
      await Promise.all(living.slice(at, at + ENDED_AT_ONCE).map((row) => endRow(platform, row, "stopped")));
  }
  return task;
}

/** The sandboxes that name a task, in the order of their ids. */
export async function sandboxesOf(platform: Platform, projectId: string, taskId: string, most = Infinity): Promise<Row<SandboxRow>[]> {
  const prefix = `${projectId}/${taskId}/`;
  const found: Row<SandboxRow>[] = [];
  let after: string | undefined;
  do {
    const index = await platform.tables.range<{ id: string }>(TASK_SANDBOXES, prefix, {
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    const rows = await Promise.all(index.map(({ value }) => platform.tables.get<SandboxRow>(SANDBOXES, rowKey(projectId, value.id))));
    found.push(...rows.filter((row): row is Row<SandboxRow> => row?.value.taskId === taskId));
    after = index.length < PAGE ? undefined : index.at(-1)?.key;
  } while (after !== undefined && found.length < most);
  return found.slice(0, most === Infinity ? undefined : most);
}

export function toTask(row: TaskRow): Task {
  const { id, state, name, metadata, agent, own, requestedBy, policy, budget, traceId, outcome, createdAtMs, endedAtMs } = row;
  return {
    id,
    state,
    ...(name === undefined ? {} : { name }),
    metadata,
    ...(agent === undefined ? {} : { agent }),
    own,
    requestedBy,
    policy,
    ...(budget ? { budget } : {}),
    traceId,
    ...(outcome === undefined ? {} : { outcome }),
    createdAt: new Date(createdAtMs).toISOString(),
    ...(endedAtMs === undefined ? {} : { endedAt: new Date(endedAtMs).toISOString() }),
  };
}

async function turnTask(
  platform: Platform,
  row: Row<TaskRow>,
  state: "finished" | "cancelled",
  outcome: TaskOutcome,
): Promise<Row<TaskRow> | undefined> {
  if (row.value.state !== "open") throw taskEnded(row.value);
  const ended: TaskRow = { ...row.value, state, outcome, endedAtMs: platform.clock.now() };
  const written = await unlessConflict(platform.tables.put<TaskRow>(TASKS, row.key, ended, { ifVersion: row.version }));
  if (!written) return undefined;
  platform.traces.recordControl({ projectId: ended.projectId, taskId: ended.id }, taskSpan(ended));
  await tellFinished(platform, ended);
  return written;
}

function matches(row: TaskRow, query: TaskQuery): boolean {
  if (query.state !== undefined && row.state !== query.state) return false;
  if (query.own !== undefined && String(row.own) !== query.own) return false;
  return query.agent === undefined || row.agent?.name === query.agent;
}
