import type { Project } from "#contract/project.ts";
import type { TaskCost } from "#contract/cost.ts";
import type { Currency, Grouping, UsageGroup, UsageQuery, UsageReport, UsageSettings } from "#contract/usage.ts";
import { Problem } from "#contract/problem.ts";
import type { Platform, Row } from "#core/ports.ts";
import { factsIfKnown } from "#core/losses.ts";
import type { SandboxRow } from "#core/sandbox-rows.ts";
import { ownTask } from "#core/task-rows.ts";
import { sandboxesOf } from "#core/tasks.ts";
import { taskBudgetStatus } from "./budgets.ts";
import { HOUR_MS, readState, unmetered } from "./metering.ts";
import { billOf, decimal, pricesAt } from "./prices.ts";
import { isNothing, type Quantities, Sums } from "./quantities.ts";
import { type Group, groupsOf, taskGroupsOf, taskOf } from "./sums.ts";

type Owner = Pick<Project, "id">;
type Names = Pick<UsageGroup, "project" | "agent" | "template" | "taskId" | "day">;

interface Found {
  names: Names;
  groups: Group[];
}

const SETTINGS = "usage-settings";
const DAY_MS = 24 * HOUR_MS;
const DEFAULT_MS = 30 * DAY_MS;
const LONGEST_MS = 400 * DAY_MS;
const SHOWN = 100;
const AT_ONCE = 8;

export async function getUsageSettings(platform: Platform, project: Owner): Promise<UsageSettings> {
  return (await platform.tables.get<UsageSettings>(SETTINGS, project.id))?.value ?? { currency: "USD" };
}

export async function setUsageSettings(platform: Platform, project: Owner, settings: UsageSettings): Promise<UsageSettings> {
  return (await platform.tables.put<UsageSettings>(SETTINGS, project.id, settings)).value;
}

/** What a project used in a stretch of time, in groups. */
export async function reportUsage(platform: Platform, project: Owner, query: UsageQuery): Promise<UsageReport> {
  const { fromMs, toMs } = stretchOf(platform, query);
  const currency = query.currency ?? (await getUsageSettings(platform, project)).currency;
  const after = query.after === undefined ? undefined : Buffer.from(query.after, "base64url").toString();
  // Only what is shown is added up: of many tasks a page has few.
  const found = new Map<string, Found>();
  const find = (group: Group, hourMs: number) => {
    const names = namesOf(query.groupBy, project.id, group, hourMs);
    const place = placeOf(query.groupBy, names);
    if (after !== undefined && place <= after) return;
    const mine = found.get(place);
    if (mine) mine.groups.push(group);
    else found.set(place, { names, groups: [group] });
  };
  const before = await findAll(platform, project.id, { fromMs, toMs, query, after }, find, found);
  const places = [...found].flatMap(([place, { names }]) => (isBefore(names, before) ? [place] : [])).toSorted();
  const shown = places.slice(0, query.limit);
  const items = shown.flatMap((place) => {
    const group = found.get(place);
    return group ? [itemOf(group.names, group.groups, currency)] : [];
  });
  const last = shown.at(-1);
  const isMore = last !== undefined && places.length > shown.length;
  return {
    from: iso(fromMs),
    to: iso(toMs),
    currency,
    items,
    ...(isMore ? { next: Buffer.from(last).toString("base64url") } : {}),
  };
}

/**
 * Reads what a page of a report may show. Tasks are many: where they come first, only those of the page are read, and the
 * answer is the first that may not be whole.
 */
async function findAll(
  platform: Platform,
  projectId: string,
  { fromMs, toMs, query, after }: { fromMs: number; toMs: number; query: UsageQuery; after: string | undefined },
  find: (group: Group, hourMs: number) => void,
  found: ReadonlyMap<string, Found>,
): Promise<string | undefined> {
  const { groupBy, limit } = query;
  if (!groupBy.includes("task")) {
    await groupsOf(platform, projectId, { fromMs, toMs }, find);
    return undefined;
  }
  const comeFirst = groupBy.find((name) => name !== "project") === "task";
  const fromTask = comeFirst ? (after?.split("\n")[groupBy.indexOf("task")] ?? "") : "";
  const areEnough = (before: string) => {
    if (!comeFirst) return false;
    let whole = 0;
    for (const { names } of found.values()) if (isBefore(names, before)) whole += 1;
    return whole > limit;
  };
  return taskGroupsOf(platform, projectId, { fromMs, toMs, fromTask }, find, areEnough);
}

function isBefore(names: Names, task: string | undefined): boolean {
  return task === undefined || taskOf(names) < task;
}

/** The bill of one task: what its sandboxes' rows come to, and what they used since. */
export async function costOfTask(platform: Platform, project: Owner, taskId: string, asked: Currency | undefined): Promise<TaskCost> {
  const { value: task } = await ownTask(platform, project.id, taskId);
  await platform.counts.flush();
  const currency = asked ?? (await getUsageSettings(platform, project)).currency;
  const atMs = platform.clock.now();
  const rows = await sandboxesOf(platform, project.id, taskId);
  const all = new Map<string, Sums>();
  const totals: string[] = [];
  for (let at = 0; at < rows.length; at += AT_ONCE) {
    const used = await Promise.all(rows.slice(at, at + AT_ONCE).map((row) => usedBy(platform, row, atMs)));
    for (const byPrices of used) {
      const own = new Map<string, Sums>();
      for (const [prices, quantities] of byPrices)
        for (const sums of [all, own]) {
          const sum = sums.get(prices) ?? new Sums();
          sum.add(quantities);
          sums.set(prices, sum);
        }
      totals.push(decimal(billOf(totalsIn(own), currency).nanos));
    }
  }
  const { lines, nanos } = billOf(totalsIn(all), currency);
  const budget = await taskBudgetStatus(platform, task);
  const sandboxes = rows.map(({ value: { id, template, state } }, at) => ({ id, template, state, total: totals[at] ?? "0" }));
  return {
    taskId,
    currency,
    asOf: iso(platform.clock.now()),
    final: rows.every(({ value }) => value.state === "ended"),
    lines,
    total: decimal(nanos),
    sandboxes: sandboxes.toReversed().slice(0, SHOWN),
    ...(budget ? { budget } : {}),
  };
}

/** What a sandbox used, by the prices that held, with what no row says yet. */
async function usedBy(platform: Platform, { value: row }: Row<SandboxRow>, atMs: number): Promise<[string, Quantities][]> {
  const state = (await readState(platform, { projectId: row.projectId, id: row.id }))?.value;
  const facts = row.state === "ready" || row.state === "paused" ? await factsIfKnown(platform, row) : undefined;
  const usage = facts === "unknown" || !facts?.live ? row.usage : facts.usage;
  const more = await unmetered(platform, { row, usage, atMs }, state);
  const rows: [string, Quantities][] = Object.entries(state?.byPrices ?? {});
  return isNothing(more) ? rows : [...rows, [pricesAt(platform.clock.now()), more]];
}

function itemOf(names: Names, groups: readonly Group[], currency: Currency): UsageGroup {
  const used = new Map<string, Sums>();
  for (const group of groups) {
    let sums = used.get(group.prices);
    if (!sums) used.set(group.prices, (sums = new Sums()));
    sums.add(group.used);
  }
  const { lines, nanos } = billOf(totalsIn(used), currency);
  return { ...names, lines, total: decimal(nanos) };
}

function totalsIn(used: ReadonlyMap<string, Sums>): Map<string, Quantities<bigint>> {
  return new Map([...used].map(([prices, sums]) => [prices, sums.total]));
}

function namesOf(groupBy: readonly Grouping[], projectId: string, { agent, template, taskId }: Group, hourMs: number): Names {
  const names: Names = {};
  for (const name of groupBy) {
    if (name === "project") names.project = projectId;
    else if (name === "day") names.day = iso(hourMs).slice(0, 10);
    else if (name === "agent" && agent !== undefined) names.agent = agent;
    else if (name === "template" && template !== undefined) names.template = template;
    else if (name === "task" && taskId !== undefined) names.taskId = taskId;
  }
  return names;
}

/** Where a group stands among the others: in the order of the names that were asked for. */
function placeOf(groupBy: readonly Grouping[], names: Names): string {
  return groupBy.map((name) => (name === "task" ? names.taskId : names[name]) ?? "").join("\n");
}

function stretchOf(platform: Platform, { from, to }: UsageQuery): { fromMs: number; toMs: number } {
  // Whatever was written up to now is part of it.
  const toMs = to === undefined ? platform.clock.now() + 1 : Date.parse(to);
  const fromMs = from === undefined ? toMs - DEFAULT_MS : Date.parse(from);
  const problem = fromMs >= toMs ? "must be before `to`" : toMs - fromMs > LONGEST_MS ? "must be at most 400 days before `to`" : undefined;
  if (problem !== undefined)
    throw new Problem("invalid_request", { detail: `query.from: ${problem}`, issues: [{ field: "query.from", problem }] });
  return { fromMs, toMs };
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}
