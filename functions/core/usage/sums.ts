import type { Platform, Row } from "#core/ports.ts";
import { type About, HOUR_MS, hourKey, USAGE, USAGE_MARKS, type UsageRow } from "./metering.ts";
import { plus, type Quantities } from "./quantities.ts";

/** What one group used in one hour at one version of the prices. */
export interface Group extends About {
  prices: string;
  used: Quantities;
}

/**
 * The sums of an hour, made of its rows. `mark` is how often rows had been written when they were read: sums whose mark
 * is not the hour's own say nothing any more, and the rows are read instead. So sums may come late or never, and no
 * crash makes them wrong.
 */
interface HourSums {
  mark: number;
  /** By agent and template, which are few. */
  groups: Group[];
  /** Where the sums of its tasks are: no task is in two parts, and they are in the order of tasks. Without, its rows are read. */
  parts?: Span[];
}

/** The first and the last task of a part; what belongs to no task comes before all. */
interface Span {
  first: string;
  last: string;
}

interface TaskSums {
  mark: number;
  groups: Group[];
}

/** An hour of a stretch of time, with its sums where they may be believed. */
interface Hour {
  key: string;
  hourMs: number;
  sums?: HourSums;
}

/** What of an hour is read at once: a part of its sums, or its rows. */
interface Piece extends Span {
  hour: Hour;
  part?: number;
}

interface Stretch {
  fromMs: number;
  toMs: number;
}

/** No task's name has a character that is as high. */
const AFTER_ALL = "\uffff";
export const HOURS = "usage-hours";
export const TASK_HOURS = "usage-task-hours";
/** The marks that the sums of hours cover, so that a sweep which has nothing to do reads numbers alone. */
export const SUMMED = "usage-summed";
const PAGE = 1000;
/** How many groups a part has before the next task begins another: what a page of tasks reads of an hour at the least. */
const PART = 200;
const AT_ONCE = 8;
/** Hours that one run makes sums of, and how far back it looks for them. */
const HOURS_PER_RUN = 4;
const LOOKED_BACK = 72;

/** Groups of every hour in a stretch of time, each hour's own; no group says of which task it is. */
export async function groupsOf(
  platform: Platform,
  projectId: string,
  stretch: Stretch,
  each: (group: Group, hourMs: number) => void,
): Promise<void> {
  for (const { key, hourMs, sums } of await hoursOf(platform, projectId, stretch))
    for (const group of sums?.groups ?? (await groupRows(platform, key, false, isWithin(stretch)))) each(group, hourMs);
}

/**
 * The same for each task from `fromTask` on. Parts are read in the order of their first tasks, so that all tasks before
 * the next part's first are whole; with that one it is asked again and again whether they are enough. Answers the first
 * task that may not be whole, if there is one.
 */
export async function taskGroupsOf(
  platform: Platform,
  projectId: string,
  { fromTask, ...stretch }: Stretch & { fromTask: string },
  each: (group: Group, hourMs: number) => void,
  areEnough: (before: string) => boolean,
): Promise<string | undefined> {
  const pieces = (await hoursOf(platform, projectId, stretch))
    .flatMap(piecesOf)
    .filter(({ last }) => last >= fromTask)
    .toSorted((a, b) => compare(a.first, b.first));
  for (let at = 0; at < pieces.length; at += AT_ONCE) {
    const turn = pieces.slice(at, at + AT_ONCE);
    const read = await Promise.all(turn.map(async (piece) => ({ piece, groups: await groupsIn(platform, piece, stretch) })));
    for (const { piece, groups } of read) for (const group of groups) if (taskOf(group) >= fromTask) each(group, piece.hour.hourMs);
    const next = pieces[at + AT_ONCE];
    if (next && areEnough(next.first)) return next.first;
  }
  return undefined;
}

async function hoursOf(platform: Platform, projectId: string, { fromMs, toMs }: Stretch): Promise<Hour[]> {
  const from = hourKey(projectId, fromMs - HOUR_MS);
  const until = hourKey(projectId, toMs);
  const known = new Map((await rowsOf<HourSums>(platform, HOURS, projectId, from, until)).map((row) => [row.key, row.value]));
  const marks = await rowsOf<number>(platform, USAGE_MARKS, projectId, from, until);
  return marks.map(({ key, value: mark }) => {
    const hourMs = Number(key.slice(projectId.length + 1));
    const isWhole = hourMs >= fromMs && hourMs + HOUR_MS <= toMs;
    const sums = known.get(key);
    return { key, hourMs, ...(isWhole && sums?.mark === mark ? { sums } : {}) };
  });
}

function piecesOf(hour: Hour): Piece[] {
  return hour.sums?.parts?.map((span, part) => ({ hour, part, ...span })) ?? [{ hour, first: "", last: AFTER_ALL }];
}

/** A part that was made again meanwhile is not believed: the rows of its tasks are read instead. */
async function groupsIn(platform: Platform, { hour, part, first, last }: Piece, stretch: Stretch): Promise<Group[]> {
  if (part !== undefined) {
    const sums = await platform.tables.get<TaskSums>(TASK_HOURS, partKey(hour.key, part));
    if (sums?.value.mark === hour.sums?.mark && sums) return sums.value.groups;
  }
  const isMeant = isWithin(stretch);
  return groupRows(platform, hour.key, true, (row) => isMeant(row) && taskOf(row) >= first && taskOf(row) <= last);
}

function isWithin({ fromMs, toMs }: Stretch): (row: UsageRow) => boolean {
  return (row) => row.toMs >= fromMs && row.toMs < toMs;
}

/** Makes sums of hours that are over and whose sums are old, the latest first. Any number may do so at once. */
export async function sumHours(platform: Platform, projectId: string, most = HOURS_PER_RUN, lookedBack = LOOKED_BACK): Promise<number> {
  const current = hourKey(projectId, platform.clock.now());
  const latest = { limit: lookedBack, descending: true };
  const marks = await platform.tables.range<number>(USAGE_MARKS, `${projectId}/`, latest);
  if (marks.every(({ key }) => key >= current)) return 0;
  const summed = new Map((await platform.tables.range<number>(SUMMED, `${projectId}/`, latest)).map(({ key, value }) => [key, value]));
  let made = 0;
  for (const { key, value: mark } of marks) {
    if (key >= current || summed.get(key) === mark || made === most) continue;
    await sumHour(platform, key, mark);
    made += 1;
  }
  return made;
}

/** The mark was read before the rows are: what is written meanwhile makes these sums old, and is not missed. */
async function sumHour(platform: Platform, key: string, mark: number): Promise<void> {
  const byTask = (await groupRows(platform, key, true, () => true)).toSorted((a, b) => compare(taskOf(a), taskOf(b)));
  const parts: Span[] = [];
  for (const groups of partsOf(byTask)) {
    await platform.tables.put<TaskSums>(TASK_HOURS, partKey(key, parts.length), { mark, groups });
    parts.push({ first: taskOf(groups[0]), last: taskOf(groups.at(-1)) });
  }
  const groups = joined(byTask.map(withoutTask));
  await platform.tables.put<HourSums>(HOURS, key, { mark, groups, parts });
  await platform.tables.put<number>(SUMMED, key, mark);
}

function partsOf(sorted: readonly Group[]): Group[][] {
  const parts: Group[][] = [];
  for (const group of sorted) {
    const part = parts.at(-1);
    if (part && (part.length < PART || taskOf(part.at(-1)) === taskOf(group))) part.push(group);
    else parts.push([group]);
  }
  return parts;
}

async function groupRows(platform: Platform, key: string, tasks: boolean, wanted: (row: UsageRow) => boolean): Promise<Group[]> {
  const groups = new Map<string, Group>();
  let after: string | undefined;
  do {
    const rows = await platform.tables.range<UsageRow>(USAGE, `${key}/`, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const { value } of rows) if (wanted(value)) join(groups, tasks ? value : withoutTask(value));
    after = rows.length < PAGE ? undefined : rows.at(-1)?.key;
  } while (after !== undefined);
  return [...groups.values()];
}

function joined(all: readonly Group[]): Group[] {
  const groups = new Map<string, Group>();
  for (const one of all) join(groups, one);
  return [...groups.values()];
}

function join(groups: Map<string, Group>, { taskId, agent, template, prices, used }: Group): void {
  const key = [taskId ?? "", agent ?? "", template ?? "", prices].join("\n");
  const known = groups.get(key);
  if (known) known.used = plus(known.used, used);
  else
    groups.set(key, {
      ...(taskId === undefined ? {} : { taskId }),
      ...(agent === undefined ? {} : { agent }),
      ...(template === undefined ? {} : { template }),
      prices,
      used,
    });
}

function withoutTask({ agent, template, prices, used }: Group): Group {
  return { ...(agent === undefined ? {} : { agent }), ...(template === undefined ? {} : { template }), prices, used };
}

/** Rows of hours after `from` and not after `until`. */
async function rowsOf<T>(platform: Platform, table: string, projectId: string, from: string, until: string): Promise<Row<T>[]> {
  const found: Row<T>[] = [];
  let after: string = from;
  for (;;) {
    const rows = await platform.tables.range<T>(table, `${projectId}/`, { limit: PAGE, after });
    found.push(...rows.filter(({ key }) => key <= until));
    const last = rows.at(-1)?.key;
    if (rows.length < PAGE || last === undefined || last > until) return found;
    after = last;
  }
}

function partKey(key: string, part: number): string {
  return `${key}/${String(part).padStart(6, "0")}`;
}

/** The task that a group is about; of what belongs to none, the name that comes before all. */
export function taskOf(about: { taskId?: string | undefined } | undefined): string {
  return about?.taskId ?? "";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
