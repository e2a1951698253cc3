import { Usage } from "#client/usage.ts";
import type { BudgetStatus } from "#contract/budget.ts";
import type { TaskCost } from "#contract/cost.ts";
import { Currency, METERS, type UsageLine } from "#contract/usage.ts";
import type { Command } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { harmless } from "./filter.ts";
import type { Style } from "./style.ts";

export const cost: Command = {
  name: "cost",
  usage: "TASK",
  summary: "Show the bill of a task: what it used, at which price. A sandbox that named no task is its own: give its id.",
  example: "cleanroom cost 01K5ZV9QJ4T5N2W0D7X3C8B6AE --currency CNY",
  words: { min: 1, max: 1 },
  options: { currency: { type: "string", value: "USD|CNY", about: "in which currency (the project's own)" } },
  async run(given, { screen, client, signal }) {
    const named = given.text("currency");
    const currency = named === undefined ? undefined : Currency.safeParse(named.toUpperCase()).data;
    if (named !== undefined && !currency)
      throw refusal(EXIT.usage, `There are no prices in ${named}`, `Choose one of ${Currency.options.join(", ")}.`);
    const bill = await Usage.costOf(given.positionals[0] ?? "", { ...client, currency, signal });
    await screen.answer(given.json ? `${JSON.stringify(bill, undefined, 2)}\n` : drawBill(bill, screen.style));
    return EXIT.ok;
  },
};

const HEADINGS = ["METER", "USED", "UNIT", "PRICE", "AMOUNT"] as const;
/** Figures stand under each other to the right. */
const FIGURES = new Set([1, 3, 4]);

/** A bill in lines of text, with figures under each other. */
export function drawBill({ taskId, currency, asOf, final, lines, total, sandboxes, budget }: TaskCost, style: Style): string {
  const rows = lines.map(rowOf);
  const widths = HEADINGS.map((heading, at) => Math.max(heading.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const amountWidth = Math.max(widths[4] ?? 0, `${total} ${currency}`.length);
  widths[4] = amountWidth;
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) => (FIGURES.has(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)))
      .join("  ")
      .trimEnd();
  const width = widths.reduce((sum, one) => sum + one, 2 * (widths.length - 1));
  const label = final ? "Total" : "Total so far";
  return [
    `${style.strong("Task")} ${harmless(taskId)}`,
    "",
    style.faint(line(HEADINGS)),
    ...rows.map(line),
    style.faint("─".repeat(width)),
    style.strong(`${label}${`${total} ${currency}`.padStart(width - label.length)}`),
    "",
    ...drawSandboxes(sandboxes, currency, style),
    ...(budget ? drawBudget(budget, style) : []),
    style.faint(`As of ${asOf}, by the prices ${[...new Set(lines.map(({ prices }) => prices))].join(", ") || "of today"}.`),
    "",
  ].join("\n");
}

function rowOf({ meter, quantity, unit, unitPrice, amount }: UsageLine): string[] {
  return [METERS[meter].title, figure(quantity), unit, unitPrice ?? "–", unitPrice === undefined ? "–" : amount];
}

function drawSandboxes(sandboxes: TaskCost["sandboxes"], currency: string, style: Style): string[] {
  if (sandboxes.length < 2) return [];
  const cells = sandboxes.map(({ id, template, state, total }) => [id, template, state, `${total} ${currency}`].map(harmless));
  const widths = [0, 1, 2, 3].map((at) => Math.max(...cells.map((row) => row[at]?.length ?? 0)));
  const rows = cells.map(
    (row) => `  ${row.map((cell, at) => (at === 3 ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0))).join("  ")}`,
  );
  return [style.faint(`${sandboxes.length} sandboxes, the newest first`), ...rows, ""];
}

function drawBudget({ lines, spent }: BudgetStatus, style: Style): string[] {
  const rows = lines.map(({ of, unit, limit, spent: used, reserved }) => {
    const name = of === "money" ? "money" : METERS[of].title;
    return `  ${name}: ${used} of ${limit} ${unit}${Number(reserved) > 0 ? `, ${reserved} set aside` : ""}`;
  });
  return [spent ? style.bad("The budget is spent") : style.faint("Budget"), ...rows, ""];
}

/** A quantity with four digits that say something, and none that say nothing. */
function figure(quantity: number): string {
  if (Number.isInteger(quantity)) return String(quantity);
  return quantity >= 1000 ? quantity.toFixed(0) : String(Number(quantity.toPrecision(4)));
}
