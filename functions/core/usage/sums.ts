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
  /** How many rows the sums of its tasks take. */
  parts: number;
}

interface TaskSums {
  mark: number;
  groups: Group[];
}

export const HOURS = "usage-hours";
export const TASK_HOURS = "usage-task-hours";
/** The marks that the sums of hours cover, so that a sweep which has nothing to do reads numbers alone. */
export const SUMMED = "usage-summed";
const PAGE = 1000;
const PART = 2000;
/** Hours that one run makes sums of, and how far back it looks for them. */
const HOURS_PER_RUN = 4;
const LOOKED_BACK = 72;

/** Groups of every whole hour in a stretch of time; with `tasks`, each task's own. */
export async function groupsOf(
  platform: Platform,
  projectId: string,
  { fromMs, toMs, tasks }: { fromMs: number; toMs: number; tasks: boolean },
  each: (group: Group, hourMs: number) => void,
): Promise<void> {
  const from = hourKey(projectId, fromMs - HOUR_MS);
  const until = hourKey(projectId, toMs);
  const sums = new Map((await stretch<HourSums>(platform, HOURS, projectId, from, until)).map((row) => [row.key, row.value]));
  for (const { key, value: mark } of await stretch<number>(platform, USAGE_MARKS, projectId, from, until)) {
    const hourMs = Number(key.slice(projectId.length + 1));
    const isWhole = hourMs >= fromMs && hourMs + HOUR_MS <= toMs;
    const known = sums.get(key);
    const groups = isWhole && known?.mark === mark ? await keptGroups(platform, key, known, tasks) : undefined;
    for (const group of groups ?? (await groupRows(platform, key, tasks, (row) => row.toMs >= fromMs && row.toMs < toMs)))
      each(group, hourMs);
  }
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
  const byTask = await groupRows(platform, key, true, () => true);
  const parts = Math.ceil(byTask.length / PART);
  for (let part = 0; part < parts; part += 1)
    await platform.tables.put<TaskSums>(TASK_HOURS, partKey(key, part), { mark, groups: byTask.slice(part * PART, (part + 1) * PART) });
  const groups = joined(byTask.map(withoutTask));
  await platform.tables.put<HourSums>(HOURS, key, { mark, groups, parts });
  await platform.tables.put<number>(SUMMED, key, mark);
}

async function keptGroups(
  platform: Platform,
  key: string,
  { mark, groups, parts }: HourSums,
  tasks: boolean,
): Promise<Group[] | undefined> {
  if (!tasks) return groups;
  const rows = await platform.tables.range<TaskSums>(TASK_HOURS, `${key}/`, { limit: PAGE });
  const mine = rows.slice(0, parts);
  return mine.length === parts && mine.every(({ value }) => value.mark === mark) ? mine.flatMap(({ value }) => value.groups) : undefined;
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
async function stretch<T>(platform: Platform, table: string, projectId: string, from: string, until: string): Promise<Row<T>[]> {
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
