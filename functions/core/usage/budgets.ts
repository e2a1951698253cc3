import type { Budget, BudgetStatus, ProjectBudget } from "#contract/budget.ts";
import { Problem } from "#contract/problem.ts";
import type { Platform } from "#core/ports.ts";
import { PROJECTS, type Principal } from "#core/projects.ts";
import type { SandboxRow } from "#core/sandbox-rows.ts";
import type { TaskRow } from "#core/task-rows.ts";
import { type Account, ACCOUNTS, amountsOf, changeAccount, isWithin, openAccount, SPENT, statusOf, withAlerts } from "./accounts.ts";
import { tell } from "#core/webhooks.ts";
import type { MeterState } from "./metering.ts";
import { pricesAt } from "./prices.ts";
import { mostIn } from "./allotted.ts";

const PROJECT_BUDGETS = "project-budgets";

interface ProjectBudgetRow extends ProjectBudget {
  sinceMs: number;
}

/** A budget that a sandbox lives on. */
interface Held {
  key: string;
  /** Left out where the account is there already, or nobody lives on it. */
  budget?: Budget;
  about: { projectId: string; taskId?: string };
}

type Owned = Pick<SandboxRow, "projectId" | "taskId" | "budgeted">;

/** Whether a sandbox that is to be lives on a budget. */
export async function isBudgeted(platform: Platform, task: Pick<TaskRow, "projectId" | "budget">): Promise<boolean> {
  return task.budget !== undefined || (await platform.tables.get(PROJECT_BUDGETS, task.projectId)) !== undefined;
}

/**
 * Sets aside what a sandbox may use until it is metered first, in each of its budgets, or refuses it. Whoever fails
 * afterwards gives it back by `leaveBudgets`, or by ending it.
 */
export async function enterBudgets(platform: Platform, intervalMs: number, row: SandboxRow, task: TaskRow | undefined): Promise<void> {
  if (!row.budgeted) return;
  for (const { key, budget, about } of await budgetsOf(platform, row, task?.budget)) {
    if (!budget) continue;
    const account = await changeAccount(platform, key, budget, (known) => {
      const none = known.settled.map(() => 0);
      const ahead = aheadOf(platform, known.budget, row, intervalMs);
      const entered = { ...known, open: { ...known.open, [row.id]: { base: none, spent: none, ahead } } };
      return !known.spent && isWithin(entered) ? entered : undefined;
    });
    if (account && !(row.id in account.open)) throw budgetSpent(account, about);
  }
}

/** Takes a sandbox off its budgets that never came to be. */
export async function leaveBudgets(platform: Platform, row: SandboxRow): Promise<void> {
  if (row.budgeted) await settleBudgets(platform, row, undefined, undefined);
}

/**
 * Writes what a sandbox has spent by now, and sets aside what it may use until it is metered next; false when there is no
 * more for it. Without an interval it has ended, and what it did not use goes back.
 */
export async function settleBudgets(
  platform: Platform,
  row: SandboxRow,
  state: Pick<MeterState, "byPrices"> | undefined,
  intervalMs: number | undefined,
): Promise<boolean> {
  let hasMore = true;
  for (const { key, budget, about } of await budgetsOf(platform, row)) {
    const account = await changeAccount(platform, key, intervalMs === undefined ? undefined : budget, (known) => {
      const used = amountsOf(known.budget, state?.byPrices ?? {});
      const changed =
        intervalMs === undefined
          ? closed(known, row.id, used)
          : renewed(known, row.id, used, aheadOf(platform, known.budget, row, intervalMs));
      return changed && withAlerts(changed, platform.clock.now());
    });
    if (!account) continue;
    await tellAlerts(platform, key, account, about);
    if (intervalMs !== undefined && account.spent) hasMore &&= isAheadPaid(account, row.id);
  }
  return hasMore;
}

/** Refuses what would use more of a budget that is spent. Reading what is there stays possible. */
export async function refuseIfSpent(platform: Platform, row: SandboxRow): Promise<void> {
  if (!row.budgeted) return;
  for (const { key, about } of await budgetsOf(platform, row)) {
    const account = await platform.recent.get<Account>(ACCOUNTS, key);
    if (account?.value.spent) throw budgetSpent(account.value, about);
  }
}

export async function taskBudgetStatus(platform: Platform, { projectId, id, budget }: TaskRow): Promise<BudgetStatus | undefined> {
  if (!budget) return undefined;
  return statusOf((await platform.tables.get<Account>(ACCOUNTS, `${projectId}/${id}`))?.value ?? openAccount(budget));
}

export async function setProjectBudget(platform: Platform, by: Principal, projectId: string, spec: ProjectBudget): Promise<ProjectBudget> {
  await requireProject(platform, by, projectId, true);
  await platform.tables.put<ProjectBudgetRow>(PROJECT_BUDGETS, projectId, { ...spec, sinceMs: platform.clock.now() });
  // It counts from now on; those who live come under it as they are metered next.
  await changeAccount(platform, projectKey(platform, projectId, spec.period), spec.budget, () => openAccount(spec.budget));
  return spec;
}

export async function getProjectBudget(
  platform: Platform,
  by: Principal,
  projectId: string,
): Promise<{ period?: ProjectBudget["period"]; since?: string; status?: BudgetStatus }> {
  await requireProject(platform, by, projectId, false);
  const row = await platform.tables.get<ProjectBudgetRow>(PROJECT_BUDGETS, projectId);
  if (!row) return {};
  const { budget, period, sinceMs } = row.value;
  const account = await platform.tables.get<Account>(ACCOUNTS, projectKey(platform, projectId, period));
  const since = new Date(Math.max(sinceMs, Date.parse(periodStart(platform, period)))).toISOString();
  return { period, since, status: statusOf(account?.value ?? openAccount(budget)) };
}

export async function deleteProjectBudget(platform: Platform, by: Principal, projectId: string): Promise<void> {
  await requireProject(platform, by, projectId, true);
  await platform.tables.remove(PROJECT_BUDGETS, projectId);
}

/** The budgets of a sandbox. A task's account is made by its first sandbox, a period's by whoever comes first in it. */
async function budgetsOf(platform: Platform, { projectId, taskId, budgeted }: Owned, ofTask?: Budget): Promise<Held[]> {
  const task: Held = { key: `${projectId}/${taskId}`, ...(ofTask ? { budget: ofTask } : {}), about: { projectId, taskId } };
  const row = await platform.recent.get<ProjectBudgetRow>(PROJECT_BUDGETS, projectId);
  if (!row) return budgeted ? [task] : [];
  return [
    ...(budgeted ? [task] : []),
    { key: projectKey(platform, projectId, row.value.period), budget: row.value.budget, about: { projectId } },
  ];
}

/** A task's id never begins like that. */
function projectKey(platform: Platform, projectId: string, period: ProjectBudget["period"]): string {
  return `${projectId}/~${periodStart(platform, period)}`;
}

function periodStart(platform: Platform, period: ProjectBudget["period"]): string {
  if (period === "total") return "1970-01-01";
  const day = new Date(platform.clock.now()).toISOString().slice(0, 10);
  return period === "day" ? day : `${day.slice(0, 8)}01`;
}

function closed(known: Account, id: string, used: readonly number[]): Account | undefined {
  const { [id]: share, ...open } = known.open;
  if (!share) return undefined;
  const settled = known.settled.map((before, at) => before + Math.max(share.spent[at] ?? 0, (used[at] ?? 0) - (share.base[at] ?? 0)));
  const closedNow = { ...known, open, settled };
  return { ...closedNow, spent: known.spent || isUsedUp(closedNow) };
}

function renewed(known: Account, id: string, used: readonly number[], ahead: number[]): Account {
  const share = known.open[id] ?? { base: [...used], spent: used.map(() => 0), ahead };
  // What it spent never falls, whoever comes late with an older word.
  const spent = share.spent.map((before, at) => Math.max(before, (used[at] ?? 0) - (share.base[at] ?? 0)));
  const paid = { ...known, open: { ...known.open, [id]: { ...share, spent, ahead } } };
  if (isWithin(paid)) return paid;
  return { ...known, spent: true, open: { ...known.open, [id]: { ...share, spent, ahead: ahead.map(() => 0) } } };
}

/** Whether a sandbox has something set aside that it may still use. */
function isAheadPaid({ open }: Account, id: string): boolean {
  return open[id]?.ahead.some((amount) => amount > 0) ?? false;
}

function isUsedUp(account: Account): boolean {
  return !isWithin({ ...account, open: {} });
}

/** What a sandbox may use in one interval. */
function aheadOf(platform: Platform, budget: Budget, row: SandboxRow, intervalMs: number): number[] {
  return amountsOf(budget, { [pricesAt(platform.clock.now())]: mostIn(row, intervalMs) });
}

/** Tells what was reached before it is taken off the list, so that a crash makes it told twice under one id, never not at all. */
async function tellAlerts(platform: Platform, key: string, account: Account, about: Held["about"]): Promise<void> {
  if (account.telling.length === 0) return;
  const { projectId, taskId } = about;
  const whose = taskId === undefined ? {} : { taskId };
  for (const { percent, atMs } of account.telling) {
    const data = { ...whose, ...(percent === SPENT ? {} : { percent }), lines: statusOf(account).lines };
    platform.log.event(percent === SPENT ? "budget.spent" : "budget.alert", { ...about, ...(percent === SPENT ? {} : { percent }) });
    await tell(platform, projectId, { type: percent === SPENT ? "budget.spent" : "budget.alert", of: `${key}/${percent}`, atMs, data });
  }
  await changeAccount(platform, key, undefined, (known) => {
    const telling = known.telling.filter(({ percent }) => !account.telling.some((told) => told.percent === percent));
    return telling.length === known.telling.length ? undefined : { ...known, telling };
  });
}

function budgetSpent(account: Account, about: Held["about"]): Problem {
  const whose = about.taskId === undefined ? "The project" : `The task ${about.taskId}`;
  return new Problem("budget_spent", { detail: `${whose} has spent its budget`, ...about, lines: statusOf(account).lines });
}

async function requireProject(platform: Platform, by: Principal, projectId: string, change: boolean): Promise<void> {
  const found = by.root || by.project.id === projectId ? await platform.tables.get(PROJECTS, projectId) : undefined;
  if (!found) throw new Problem("project_not_found", { detail: `Project ${projectId} not found` });
  if (change && !by.root) throw new Problem("forbidden", { detail: "Only the root key may do that", permission: "root" });
}
