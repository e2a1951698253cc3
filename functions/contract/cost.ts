import * as z from "zod";
import { BudgetStatus } from "./budget.ts";
import { Moment, SandboxId, TaskId } from "./id.ts";
import { operation } from "./operation.ts";
import { Currency, UsageLine } from "./usage.ts";

/** The bill of one task, up to this moment. */
export const TaskCost = z.object({
  taskId: TaskId,
  currency: Currency,
  asOf: Moment,
  /** Whether nothing of it runs any more. */
  final: z.boolean(),
  lines: z.array(UsageLine),
  total: z.string(),
  /** The newest hundred. */
  sandboxes: z.array(z.object({ id: SandboxId, template: z.string(), state: z.string(), total: z.string() })),
  budget: BudgetStatus.optional(),
});
export type TaskCost = z.output<typeof TaskCost>;

export const getTaskCost = operation({
  id: "getTaskCost",
  method: "get",
  path: "/api/tasks/:taskId/cost",
  summary: "The bill of a task, up to now",
  params: z.object({ taskId: z.string() }),
  query: z.strictObject({ currency: Currency.optional() }),
  status: 200,
  returns: TaskCost,
  errors: ["task_not_found", "invalid_request"],
});
