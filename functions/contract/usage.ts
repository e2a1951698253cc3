import * as z from "zod";
import { Count, Moment } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

const GIB = 2 ** 30;
const MILLICORE_MS = 1_000_000;
const MIB_MS = 1024 * 1000;
const MILLION = 1_000_000;

/**
 * Everything that is measured. Quantities are kept as whole numbers of a base that is `per` times smaller than the unit,
 * so that no sum ever rounds: cores as thousandths times milliseconds, memory and disk as MiB times milliseconds.
 */
export const METERS = {
  /** What the sandbox had while it was awake, used or not. */
  cpu_allocated: { title: "vCPU, allocated", unit: "vCPU-second", per: MILLICORE_MS },
  /** What its control group counted, in microseconds. */
  cpu_used: { title: "vCPU, used", unit: "vCPU-second", per: MILLION },
  memory_allocated: { title: "memory, awake", unit: "GiB-second", per: MIB_MS },
  memory_paused: { title: "memory, paused", unit: "GiB-second", per: MIB_MS },
  /** Beyond the 512 MiB that come with every instance. */
  disk: { title: "disk beyond 512 MiB", unit: "GiB-second", per: MIB_MS },
  /** Time of sandboxes that have a browser; its cores and memory are among the others. */
  browser: { title: "browser", unit: "minute", per: 60_000 },
  requests: { title: "requests", unit: "request", per: 1 },
  executes: { title: "executions and commands", unit: "execution", per: 1 },
  tool_calls: { title: "tool calls", unit: "call", per: 1 },
  bytes_in: { title: "bytes in", unit: "GiB", per: GIB },
  bytes_out: { title: "bytes out", unit: "GiB", per: GIB },
  artifact_bytes: { title: "artifacts kept", unit: "GiB", per: GIB },
  memory_events: { title: "memory events", unit: "event", per: 1 },
  memory_retrievals: { title: "memory searches", unit: "search", per: 1 },
  /** Of the models that memory asks, as their endpoints count: those that were read anew, read again, and written. */
  model_input_tokens: { title: "model tokens, read", unit: "token", per: 1 },
  model_cached_tokens: { title: "model tokens, read again", unit: "token", per: 1 },
  model_output_tokens: { title: "model tokens, written", unit: "token", per: 1 },
  embedding_tokens: { title: "embedding tokens", unit: "token", per: 1 },
} as const satisfies Record<string, { title: string; unit: string; per: number }>;

export type Meter = keyof typeof METERS;
export const Meter = z.enum(Object.keys(METERS) as [Meter, ...Meter[]]);

export const Currency = z.enum(["USD", "CNY"]);
export type Currency = z.output<typeof Currency>;

/** An amount of money as a decimal number in text, to the billionth: no binary fraction is exact. */
export const Amount = z.string().regex(/^\d{1,6}(\.\d{1,9})?$/, "is a decimal number such as 12.5, below a million, to the billionth");

/** One meter at one version of the prices. Without a price it is measured and costs nothing. */
export const UsageLine = z.object({
  meter: Meter,
  unit: z.string(),
  quantity: z.number(),
  /** The version of the price table that held when it was used. */
  prices: z.string(),
  unitPrice: z.string().optional(),
  amount: z.string(),
});
export type UsageLine = z.output<typeof UsageLine>;

const GROUPINGS = ["project", "agent", "template", "task", "day"] as const;
export type Grouping = (typeof GROUPINGS)[number];

/** One or several of them, as `agent,day`. */
const GroupBy = z
  .string()
  .transform((text) => text.split(","))
  .pipe(z.array(z.enum(GROUPINGS)).max(GROUPINGS.length))
  .refine((names) => new Set(names).size === names.length, "names each grouping once");

export const UsageQuery = z.strictObject({
  /** Left out, it is thirty days before `to`. */
  from: Moment.optional(),
  /** Left out, it is now. */
  to: Moment.optional(),
  groupBy: GroupBy.default(["project"]),
  /** Left out, it is the project's own. */
  currency: Currency.optional(),
  after: z.string().max(400).optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type UsageQuery = z.output<typeof UsageQuery>;

/** What one group used. A name is missing where there was none, as of what belongs to no task. */
export const UsageGroup = z.object({
  project: z.string().optional(),
  agent: z.string().optional(),
  template: z.string().optional(),
  taskId: z.string().optional(),
  day: z.string().optional(),
  lines: z.array(UsageLine),
  total: z.string(),
});
export type UsageGroup = z.output<typeof UsageGroup>;

export const UsageReport = z.object({
  from: Moment,
  to: Moment,
  currency: Currency,
  items: z.array(UsageGroup),
  next: z.string().optional(),
});
export type UsageReport = z.output<typeof UsageReport>;

export const UsageSettings = z.strictObject({ currency: Currency });
export type UsageSettings = z.output<typeof UsageSettings>;

export const getUsage = operation({
  id: "getUsage",
  method: "get",
  path: "/api/usage",
  summary: "What the project used and what it costs, by project, agent, template, task or day",
  query: UsageQuery,
  status: 200,
  returns: UsageReport,
  errors: ["invalid_request"],
});

export const getUsageSettings = operation({
  id: "getUsageSettings",
  method: "get",
  path: "/api/usage/settings",
  summary: "In which currency the project counts",
  status: 200,
  returns: UsageSettings,
  errors: [],
});

export const setUsageSettings = operation({
  id: "setUsageSettings",
  method: "put",
  path: "/api/usage/settings",
  summary: "Choose the currency in which the project counts",
  body: UsageSettings,
  status: 200,
  returns: UsageSettings,
  errors: ["invalid_request"],
});
