import * as z from "zod";
import { Moment } from "./id.ts";
import { operation } from "./operation.ts";
import { Amount, Currency, Meter } from "./usage.ts";

/** What may be spent at most: money, and units of meters, each in the meter's own unit. */
export const Budget = z
  .strictObject({
    money: z.strictObject({ currency: Currency, amount: Amount }).optional(),
    units: z.partialRecord(Meter, z.number().positive().max(1_000_000_000)).optional(),
    /** Of which percentages to tell, by webhook and in the log. */
    alertsAt: z.array(z.int().min(1).max(100)).max(10).default([80]),
  })
  .refine(({ money, units = {} }) => money !== undefined || Object.keys(units).length > 0, "names an amount of money, or units");
export type Budget = z.output<typeof Budget>;

/** How much of one thing is spent, and how much is set aside for what runs. Money is decimal text, units are numbers as text. */
const BudgetLine = z.object({
  of: z.union([z.literal("money"), Meter]),
  unit: z.string(),
  limit: z.string(),
  spent: z.string(),
  reserved: z.string(),
});
export type BudgetLine = z.output<typeof BudgetLine>;

export const BudgetStatus = z.object({
  budget: Budget,
  lines: z.array(BudgetLine),
  /** Whether nothing more may begin. */
  spent: z.boolean(),
  /** Percentages that were told. */
  alerted: z.array(z.int()),
});
export type BudgetStatus = z.output<typeof BudgetStatus>;

const BudgetPeriod = z.enum(["day", "month", "total"]);

/** What a project may spend in each day or month of UTC, or altogether. */
export const ProjectBudget = z.strictObject({ budget: Budget, period: BudgetPeriod.default("month") });
export type ProjectBudget = z.output<typeof ProjectBudget>;

const params = z.object({ projectId: z.string() });

export const setProjectBudget = operation({
  id: "setProjectBudget",
  method: "put",
  path: "/api/projects/:projectId/budget",
  summary: "Set what a project may spend in a period (root key only)",
  params,
  body: ProjectBudget,
  status: 200,
  returns: ProjectBudget,
  errors: ["forbidden", "project_not_found", "invalid_request"],
});

export const getProjectBudget = operation({
  id: "getProjectBudget",
  method: "get",
  path: "/api/projects/:projectId/budget",
  summary: "What a project may spend, and what of it is spent in this period",
  params,
  status: 200,
  returns: z.object({ period: BudgetPeriod.optional(), since: Moment.optional(), status: BudgetStatus.optional() }),
  errors: ["forbidden", "project_not_found"],
});

export const deleteProjectBudget = operation({
  id: "deleteProjectBudget",
  method: "delete",
  path: "/api/projects/:projectId/budget",
  summary: "Let a project spend without bound again (root key only)",
  params,
  status: 204,
  errors: ["forbidden", "project_not_found"],
});
