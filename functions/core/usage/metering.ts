import { Problem } from "#contract/problem.ts";
import type { Usage } from "#contract/sandbox.ts";
import type { Platform, Row } from "#core/ports.ts";
import { rowKey, SANDBOXES, type SandboxRow, unlessConflict } from "#core/sandbox-rows.ts";
import { TASKS, taskKey, type TaskRow } from "#core/task-rows.ts";
import { allotted } from "./allotted.ts";
import { settleBudgets } from "./budgets.ts";
import { projectItself, readCounts, type Source, sourceKey } from "./counts.ts";
import { hoursAt } from "./hours.ts";
import { pricesAt } from "./prices.ts";
import { above, isNothing, plus, type Quantities, sumOf } from "./quantities.ts";

/** What a group of a report is about. */
export interface About {
  taskId?: string;
  template?: string;
  agent?: string;
}

/** What one source used in one stretch of time. It is written once under its own key and never changed. */
export interface UsageRow extends About {
  source: string;
  fromMs: number;
  toMs: number;
  prices: string;
  used: Quantities;
}

/**
 * How far a source has been metered. What a row will say is decided here, in one conditional write, before it is written:
 * whoever finds it `pending` writes the same row under the same key, so that a crash neither loses nor doubles it.
 */
export interface MeterState {
  about: About;
  /** Rows so far; the last of them may be pending. */
  rows: number;
  toMs: number;
  /** All that the rows say together, by the prices that held. */
  byPrices: Record<string, Quantities>;
  /** The engine's own counter of processor time as it was last seen, by when, and what earlier ones had come to. */
  cpu: { lastMs: number; earlierMs: number; seenByMs: number };
  pending?: { key: string; row: UsageRow };
}

/**
 * A sandbox with what the engine says of its use, if it says anything. `atMs` is before its row was read and the engine
 * was asked: what has ended by the time that this is written had not ended then.
 */
export interface Metered {
  row: SandboxRow;
  usage?: Usage | undefined;
  atMs: number;
}

export const USAGE = "usage";
/** How often rows of an hour were written: `<project>/<hour>`. Sums of that hour name the number that they cover. */
export const USAGE_MARKS = "usage-marks";
const STATES = "usage-states";

const ATTEMPTS = 20;
export const HOUR_MS = 3_600_000;

export function hourKey(projectId: string, atMs: number): string {
  return `${projectId}/${String(Math.floor(Math.max(0, atMs) / HOUR_MS) * HOUR_MS).padStart(15, "0")}`;
}

export async function readState(platform: Platform, source: Source): Promise<Row<MeterState> | undefined> {
  return platform.tables.get<MeterState>(STATES, sourceKey(source));
}

/** Writes what a sandbox used since it was last metered. Any number may do it at once: each stretch becomes one row. */
export async function meterSandbox(platform: Platform, metered: Metered): Promise<MeterState> {
  const { projectId, id } = metered.row;
  return meter(platform, { projectId, id }, metered);
}

/** The same for what a project used beside its sandboxes. */
export async function meterProject(platform: Platform, projectId: string): Promise<MeterState> {
  return meter(platform, projectItself(projectId), undefined);
}

/** Meters a sandbox that has ended for the last time; doing it again finds nothing more. */
export async function settleUsage(platform: Platform, row: SandboxRow): Promise<void> {
  // What this process counted of it must not come after.
  await platform.counts.flush();
  const state = await meterSandbox(platform, { row, usage: row.usage, atMs: Infinity });
  await settleBudgets(platform, row, state, undefined);
}

/** Meters a source again that was counted after it had ended. */
export async function settleLate(platform: Platform, source: Source): Promise<void> {
  const row = await platform.tables.get<SandboxRow>(SANDBOXES, rowKey(source.projectId, source.id));
  if (row?.value.state === "ended") await meterSandbox(platform, { row: row.value, usage: row.value.usage, atMs: Infinity });
}

/** What a source has used up to now and no row says yet. */
export async function unmetered(platform: Platform, metered: Metered, state: MeterState | undefined): Promise<Quantities> {
  const { projectId, id } = metered.row;
  const cpu = cpuAfter(state?.cpu ?? NEW.cpu, metered, platform.clock.now());
  return above(await totalsOf(platform, { projectId, id }, metered, cpu), sumOf(Object.values(state?.byPrices ?? {})));
}

const NEW: Omit<MeterState, "about" | "toMs"> = { rows: 0, byPrices: {}, cpu: { lastMs: 0, earlierMs: 0, seenByMs: 0 } };

async function meter(platform: Platform, source: Source, metered: Metered | undefined): Promise<MeterState> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const known = await readState(platform, source);
    if (known?.value.pending) {
      await finishRow(platform, source, known);
      continue;
    }
    const state = known?.value ?? { ...NEW, about: await aboutOf(platform, metered), toMs: beginOf(platform, metered) };
    const next = await stepOf(platform, source, metered, state);
    if (!next) return state;
    const put = platform.tables.put<MeterState>(STATES, sourceKey(source), next, { ifVersion: known?.version ?? "absent" });
    const written = await unlessConflict(put);
    if (written) return finishRow(platform, source, written);
  }
  throw new Problem("conflict", { detail: "Too many meter this at once", ...source });
}

/** The state with one more row to be written; undefined when nothing was used. */
async function stepOf(
  platform: Platform,
  source: Source,
  metered: Metered | undefined,
  state: MeterState,
): Promise<MeterState | undefined> {
  const nowMs = platform.clock.now();
  const cpu = cpuAfter(state.cpu, metered, nowMs);
  const used = above(await totalsOf(platform, source, metered, cpu), sumOf(Object.values(state.byPrices)));
  if (isNothing(used)) return undefined;
  const prices = pricesAt(nowMs);
  const toMs = Math.max(state.toMs, nowMs);
  const row: UsageRow = { ...state.about, source: source.id, fromMs: state.toMs, toMs, prices, used };
  const rows = state.rows + 1;
  const key = `${hourKey(source.projectId, toMs)}/${source.id}/${String(rows).padStart(10, "0")}`;
  const byPrices = { ...state.byPrices, [prices]: plus(state.byPrices[prices] ?? {}, used) };
  return { about: state.about, rows, toMs, byPrices, cpu, pending: { key, row } };
}

/** The row first, then the mark that makes sums of its hour old, and last the state, so that none of them is forgotten. */
async function finishRow(platform: Platform, source: Source, { key, version, value }: Row<MeterState>): Promise<MeterState> {
  const { pending, ...rest } = value;
  if (!pending) return value;
  await platform.tables.put<UsageRow>(USAGE, pending.key, pending.row);
  await platform.tables.add(USAGE_MARKS, hourKey(source.projectId, pending.row.toMs), 1);
  await unlessConflict(platform.tables.put<MeterState>(STATES, key, rest, { ifVersion: version }));
  return rest;
}

/** All that a source ever used, as its own row, the engine and the counts tell it. */
async function totalsOf(platform: Platform, source: Source, metered: Metered | undefined, cpu: MeterState["cpu"]): Promise<Quantities> {
  const counted = await readCounts(platform.tables, source);
  if (!metered) return counted;
  const hours = hoursAt(metered.row, metered.atMs);
  return { ...counted, ...allotted(metered.row, hours), cpu_used: Math.round((cpu.earlierMs + cpu.lastMs) * 1000) };
}

/**
 * The engine's counter only rises. One that is lower has begun again from nothing, if it was asked for after the higher
 * one had been seen; otherwise it is an older word of somebody who was held up.
 */
function cpuAfter(known: MeterState["cpu"], metered: Metered | undefined, nowMs: number): MeterState["cpu"] {
  const seenMs = metered?.usage?.cpuMs;
  if (!metered || seenMs === undefined || !Number.isFinite(seenMs) || seenMs < 0) return known;
  const { lastMs, earlierMs, seenByMs } = known;
  if (seenMs >= lastMs) return { lastMs: seenMs, earlierMs, seenByMs: Math.max(seenByMs, nowMs) };
  return metered.atMs > seenByMs ? { lastMs: seenMs, earlierMs: earlierMs + lastMs, seenByMs: nowMs } : known;
}

async function aboutOf(platform: Platform, metered: Metered | undefined): Promise<About> {
  if (!metered) return {};
  const { projectId, taskId, template } = metered.row;
  const task = await platform.tables.get<TaskRow>(TASKS, taskKey(projectId, taskId));
  const agent = task?.value.agent?.name;
  return { taskId, template, ...(agent === undefined ? {} : { agent }) };
}

function beginOf(platform: Platform, metered: Metered | undefined): number {
  return Math.min(platform.clock.now(), metered?.row.createdAtMs ?? Infinity);
}
