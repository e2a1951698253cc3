import * as z from "zod";
import { operation } from "./operation.ts";

const Days = (least: number) => z.int().min(least).max(3650).nullable();

/** Half a year: what logs of this kind are kept for at the least where the law has a word on it. */
const AUDIT_DAYS_MIN = 183;

/** The month that a budget is for and the one before are whole at any time, and so is every task that lives as long as sandboxes do. */
const USAGE_DAYS_MIN = 62;
/** As far back as a report reaches. */
const USAGE_DAYS = 400;

/** What a project writes down of itself, and for how long it keeps it; `null` is for ever. */
export const Records = z.strictObject({
  /**
   * Which requests into sandboxes stand in the audit log beside what changes the project itself: none, those that run code
   * or change files, or every one. They are in the traces in any case.
   */
  audit: z.enum(["off", "writes", "all"]).default("off"),
  spanDays: Days(1).default(90),
  actionDays: Days(1).default(90),
  auditDays: Days(AUDIT_DAYS_MIN).default(null),
  /** What reports of use are made of. Bills of tasks, and what is spent of budgets, are kept apart from it. */
  usageDays: Days(USAGE_DAYS_MIN).default(USAGE_DAYS),
});
export type Records = z.output<typeof Records>;

export const getRecords = operation({
  id: "getRecords",
  method: "get",
  path: "/api/records",
  summary: "What the project writes down of itself, and for how long",
  status: 200,
  returns: Records,
  errors: [],
});

export const setRecords = operation({
  id: "setRecords",
  method: "put",
  path: "/api/records",
  summary: "Say which requests into sandboxes the audit log holds, and how long spans, actions, audit records and use are kept",
  body: Records,
  status: 200,
  returns: Records,
  errors: ["invalid_request", "conflict"],
});
