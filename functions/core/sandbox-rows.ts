import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { EndReason, Isolation, Sandbox, SandboxState, Usage } from "#contract/sandbox.ts";
import type { BrowserPages, TemplateType } from "#contract/template.ts";
import { dueKey, type DueRow, graceEnd } from "./due.ts";
import type { EngineRef, Platform, Row } from "./ports.ts";
import type { Hours } from "./usage/hours.ts";

/**
 * A sandbox as it is kept. While it is `making`, whoever makes it may be about to start its session and take its unit
 * of quota, so that only the maker finishes its ending, and says then whether it `holdsQuota`.
 */
export interface SandboxRow {
  id: string;
  projectId: string;
  template: string;
  type: TemplateType;
  state: SandboxState;
  endReason?: EndReason;
  name?: string;
  metadata: Record<string, string>;
  taskId: string;
  /** The trace of its task; missing in rows of before there were tasks. */
  traceId?: string;
  /** Whether its task or project had a budget when it was made. */
  budgeted?: boolean;
  /** The snapshot whose files it started with. */
  snapshot?: string;
  /** The browser profile that it was given. */
  browserProfile?: string;
  /** Which pages of the browser's own its template opened as it was made. */
  browserPages?: BrowserPages;
  /** How long getting its files may take. */
  restoreMs?: number;
  cpu: number;
  memoryMiB: number;
  diskMiB: number;
  idleTimeoutMs: number;
  createdAtMs: number;
  endsAtMs: number;
  endedAtMs?: number;
  /** When its session was over, where the engine says so: earlier than somebody noticed. */
  stoppedAtMs?: number;
  /** From when it first served; missing in what never did. */
  hours?: Hours;
  usage?: Usage;
  isolation?: Isolation;
  ref: EngineRef;
  dueAtMs: number;
  making: boolean;
  holdsQuota: boolean;
  /** Its template's policy; missing in rows of before there was one. */
  autoPause?: boolean;
  autoResume?: boolean;
  pausedAtMs?: number;
  resumedAtMs?: number;
  /** While it is paused: somebody wants it to run again, and requests wait until its row says `ready`. */
  waking?: boolean;
  /** While it is paused: whoever turned it has yet to tell the engine, or has just done so; who wants it to run waits for that. */
  settling?: boolean;
}

/** What says that a sandbox has not ended, written before its row and removed after everything it held was given back. */
export interface LivingRow {
  projectId: string;
  id: string;
  template: string;
  ref: EngineRef;
  createdAtMs: number;
  /** What it takes of the project's quotas; missing in rows of before that was counted. */
  cpu?: number;
  memoryMiB?: number;
}

export const SANDBOXES = "sandboxes";
export const LIVING = "living";
export const TIMES = "sandbox-times";
export const DUE = "due";

export function rowKey(projectId: string, id: string): string {
  return `${projectId}/${id}`;
}

/** The key under which a project's sandboxes are listed by age. */
export function timeKey(row: Pick<SandboxRow, "projectId" | "id" | "createdAtMs">): string {
  return `${row.projectId}/${String(row.createdAtMs).padStart(15, "0")}/${row.id}`;
}

/** The row of a project's own sandbox; what is another's does not exist. */
export async function ownRow(platform: Platform, project: Pick<Project, "id">, id: string): Promise<Row<SandboxRow>> {
  const row = await platform.tables.get<SandboxRow>(SANDBOXES, rowKey(project.id, id));
  if (!row) throw sandboxNotFound(id);
  return row;
}

export function sandboxNotFound(id: string): Problem {
  return new Problem("sandbox_not_found", { detail: `No such sandbox: ${id}`, sandboxId: id });
}

export function sandboxEnded(row: SandboxRow): Problem {
  const reason = row.endReason ?? "lost";
  return new Problem("sandbox_ended", { detail: `The sandbox ${row.id} has ended: ${reason}`, sandboxId: row.id, reason });
}

export function sandboxPaused(row: SandboxRow, what = "is paused", next = `Resume it: POST /api/sandboxes/${row.id}/resume.`): Problem {
  return new Problem("sandbox_not_ready", { detail: `The sandbox ${row.id} ${what}`, next, sandboxId: row.id, state: "paused" });
}

/** Refuses what only a running sandbox can do. */
export function refuseUnlessReady(row: SandboxRow): void {
  if (row.state === "ready") return;
  if (row.state === "paused") throw sandboxPaused(row);
  if (row.state === "creating")
    throw new Problem("sandbox_not_ready", { detail: `The sandbox ${row.id} is being made`, sandboxId: row.id, state: row.state });
  throw sandboxEnded(row);
}

/** Whether somebody is still making the sandbox; after the grace nobody is, and the sweep finishes what was begun. */
export function isBeingMade(platform: Platform, row: SandboxRow): boolean {
  return row.making && platform.clock.now() < graceEnd(row);
}

/** Writes a changed row if nobody else changed it meanwhile; undefined when somebody did. */
export async function turn(platform: Platform, row: Row<SandboxRow>, change: Partial<SandboxRow>): Promise<Row<SandboxRow> | undefined> {
  return unlessConflict(platform.tables.put<SandboxRow>(SANDBOXES, row.key, { ...row.value, ...change }, { ifVersion: row.version }));
}

/** The same with another due moment: the new due-row first, then the row that names it, then the old due-row away. */
export async function turnAt(
  platform: Platform,
  row: Row<SandboxRow>,
  dueAtMs: number,
  change: Partial<SandboxRow>,
): Promise<Row<SandboxRow> | undefined> {
  const { projectId, id, createdAtMs } = row.value;
  const [oldKey, newKey] = [dueKey(row.value), dueKey({ dueAtMs, projectId, id })];
  if (newKey !== oldKey) await platform.tables.put<DueRow>(DUE, newKey, { projectId, id, createdAtMs });
  const written = await turn(platform, row, { ...change, dueAtMs });
  if (written && newKey !== oldKey) await platform.tables.remove(DUE, oldKey);
  return written;
}

/** The result of a conditional write; undefined when its condition was refused. */
export async function unlessConflict<T>(write: Promise<T>): Promise<T | undefined> {
  try {
    return await write;
  } catch (error) {
    if (error instanceof Problem && error.code === "conflict") return undefined;
    throw error;
  }
}

/** Writes what lets the sweep find the sandbox whatever happens next; the row itself comes after. */
export async function announce(platform: Platform, row: SandboxRow): Promise<void> {
  const { projectId, id, template, ref, createdAtMs, cpu, memoryMiB } = row;
  const key = rowKey(projectId, id);
  await Promise.all([
    platform.tables.put(DUE, dueKey(row), { projectId, id, createdAtMs }),
    platform.tables.put<LivingRow>(LIVING, key, { projectId, id, template, ref, createdAtMs, cpu, memoryMiB }),
    platform.tables.put(TIMES, timeKey(row), { id }),
  ]);
}

/** A row as its owner sees it. */
export function toSandbox(row: SandboxRow, facts: { usage?: Usage; isolation?: Isolation } = {}): Sandbox {
  const { id, template, type, state, metadata, taskId, cpu, memoryMiB, diskMiB, idleTimeoutMs } = row;
  const usage = facts.usage ?? row.usage;
  const isolation = facts.isolation ?? row.isolation;
  return {
    id,
    template,
    type,
    state,
    metadata,
    taskId,
    cpu,
    memoryMiB,
    diskMiB,
    idleTimeoutMs,
    autoPause: row.autoPause ?? false,
    autoResume: row.autoResume ?? true,
    ...(row.endReason === undefined ? {} : { endReason: row.endReason }),
    ...(row.name === undefined ? {} : { name: row.name }),
    ...(row.snapshot === undefined ? {} : { snapshot: row.snapshot }),
    ...(row.browserProfile === undefined ? {} : { browserProfile: row.browserProfile }),
    createdAt: new Date(row.createdAtMs).toISOString(),
    endsAt: new Date(row.endsAtMs).toISOString(),
    ...(state === "paused" && row.pausedAtMs !== undefined ? { pausedAt: new Date(row.pausedAtMs).toISOString() } : {}),
    ...(row.endedAtMs === undefined ? {} : { endedAt: new Date(row.endedAtMs).toISOString() }),
    ...(usage ? { usage } : {}),
    ...(isolation ? { isolation } : {}),
  };
}
