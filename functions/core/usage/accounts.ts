import { setTimeout as delay } from "node:timers/promises";
import type { Budget, BudgetLine, BudgetStatus } from "#contract/budget.ts";
import { METERS, type Meter } from "#contract/usage.ts";
import { Problem } from "#contract/problem.ts";
import type { Platform } from "#core/ports.ts";
import { unlessConflict } from "#core/sandbox-rows.ts";
import { costOf, decimal, nanosOf } from "./prices.ts";
import type { Quantities } from "./quantities.ts";

/** What one sandbox has of a budget, by bound: what it had used when it came under it, what it spent since, what is set aside for it. */
export interface Share {
  base: number[];
  spent: number[];
  ahead: number[];
}

/**
 * A budget and who lives on it. Shares are absolute, not added to, so that writing one twice is writing it once; the sum
 * of all is bounded in the very write that changes one. A share of what has ended is moved to `settled` as it is removed.
 */
export interface Account {
  budget: Budget;
  settled: number[];
  open: Record<string, Share>;
  /** Percentages that were reached, and when; those of `telling` are yet to be told. 101 stands for being spent. */
  reached: number[];
  telling: { percent: number; atMs: number }[];
  /** Somebody was refused more, so that nothing begins any more. */
  spent: boolean;
}

export const ACCOUNTS = "budgets";
const ATTEMPTS = 60;
const PATIENT_AFTER = 3;
const WAIT_MS = 20;

/** One thing that a budget bounds, in whole numbers of its base. */
interface Bound {
  of: "money" | Meter;
  limit: number;
}

function boundsOf({ money, units = {} }: Budget): Bound[] {
  const meters = Object.entries(units) as [Meter, number][];
  return [
    ...(money ? [{ of: "money" as const, limit: Number(nanosOf(money.amount)) }] : []),
    ...meters.map(([meter, limit]) => ({ of: meter, limit: Math.round(limit * METERS[meter].per) })),
  ];
}

export function openAccount(budget: Budget): Account {
  return { budget, settled: boundsOf(budget).map(() => 0), open: {}, reached: [], telling: [], spent: false };
}

/** What so much use comes to, by bound of a budget. */
export function amountsOf(budget: Budget, byPrices: Record<string, Quantities>): number[] {
  return boundsOf(budget).map(({ of }) => {
    let sum = 0n;
    for (const [version, quantities] of Object.entries(byPrices)) {
      if (of !== "money") sum += BigInt(quantities[of] ?? 0);
      else
        for (const [meter, quantity] of Object.entries(quantities) as [Meter, number][])
          sum += costOf(version, meter, BigInt(quantity), budget.money?.currency ?? "USD");
    }
    return Number(sum);
  });
}

/** What is spent of each bound, and what is spoken for besides. */
function sumsOf({ settled, open }: Account): { spent: number[]; ahead: number[] } {
  const shares = Object.values(open);
  const sum = (pick: (share: Share) => number[], at: number) => shares.reduce((total, share) => total + (pick(share)[at] ?? 0), 0);
  return {
    spent: settled.map((before, at) => before + sum(({ spent }) => spent, at)),
    ahead: settled.map((_, at) => sum(({ ahead }) => ahead, at)),
  };
}

/** Whether all that is spent and set aside is within the bounds; what is used up lets nothing more begin. */
export function isWithin(account: Account): boolean {
  const { spent, ahead } = sumsOf(account);
  return boundsOf(account.budget).every(({ limit }, at) => (spent[at] ?? 0) + (ahead[at] ?? 0) <= limit && (spent[at] ?? 0) < limit);
}

export const SPENT = 101;

/** The same account, with the percentages that were reached by now. */
export function withAlerts(account: Account, atMs: number): Account {
  const { spent } = sumsOf(account);
  const part = Math.max(...boundsOf(account.budget).map(({ limit }, at) => ((spent[at] ?? 0) / limit) * 100));
  const isReached = (percent: number) => account.spent || part >= percent;
  const fresh = [...account.budget.alertsAt, SPENT].filter((percent) => isReached(percent) && !account.reached.includes(percent));
  const telling = [...account.telling, ...fresh.map((percent) => ({ percent, atMs }))];
  return fresh.length === 0 ? account : { ...account, reached: [...account.reached, ...fresh], telling };
}

export function statusOf(account: Account): BudgetStatus {
  const { spent, ahead } = sumsOf(account);
  const { budget, reached } = account;
  const lines = boundsOf(budget).map(({ of, limit }, at): BudgetLine => {
    const say = (amount = 0) => (of === "money" ? decimal(BigInt(amount)) : String(amount / METERS[of].per));
    const unit = of === "money" ? (budget.money?.currency ?? "USD") : METERS[of].unit;
    return { of, unit, limit: say(limit), spent: say(spent[at]), reserved: say(ahead[at]) };
  });
  return { budget, lines, spent: account.spent, alerted: reached.filter((percent) => percent !== SPENT) };
}

/** Changes an account by one conditional write, however many others do so; undefined leaves it as it is. */
export async function changeAccount(
  platform: Platform,
  key: string,
  budget: Budget | undefined,
  change: (account: Account) => Account | undefined,
): Promise<Account | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await platform.tables.get<Account>(ACCOUNTS, key);
    const known = row?.value ?? (budget && openAccount(budget));
    const changed = known && change(known);
    if (!changed) return known;
    const written = await unlessConflict(platform.tables.put<Account>(ACCOUNTS, key, changed, { ifVersion: row?.version ?? "absent" }));
    if (written) return changed;
    if (attempt >= PATIENT_AFTER) await delay(Math.random() * WAIT_MS);
  }
  throw new Problem("conflict", { detail: "Too many spend of this budget at once" });
}
