import type { DatabaseSync } from "node:sqlite";
import * as z from "zod";
import { readFields } from "./definitions.ts";

/** The most instances that one function may have prepared. */
const MOST = 512;
const Count = z.int().min(0).max(MOST);

/** How many instances of a function wait for sessions: never fewer than one, never more than the other, by demand between. */
export interface Scaling {
  minPrepared: number;
  maxPrepared: number;
}

const policyTimes = z.undefined("policies with times are not supported by this engine").optional();

const Policy = z
  .strictObject({
    name: z.string().max(64).default("prepared"),
    metricType: z.literal("ProvisionedConcurrencyUtilization", "this engine follows the use of prepared instances alone"),
    metricTarget: z.number().gt(0).max(1).default(0.6),
    minInstances: Count,
    maxInstances: Count,
    startTime: policyTimes,
    endTime: policyTimes,
    timeZone: z.string().optional(),
  })
  .refine((policy) => policy.minInstances <= policy.maxInstances, "minInstances may not exceed maxInstances");

/** A function's scaling as Function Compute takes it. Without a policy the pool has one size. */
const ScalingConfig = z
  .strictObject({
    minInstances: Count.default(0),
    horizontalScalingPolicies: z.array(Policy).max(1).default([]),
    scheduledPolicies: z.array(z.unknown()).max(0, "scheduled policies are not supported by this engine").default([]),
    enableOnDemandScaling: z.literal(true, "an empty pool never refuses a session here").default(true),
  })
  .refine((it) => it.horizontalScalingPolicies.every((policy) => policy.maxInstances >= it.minInstances), {
    path: ["horizontalScalingPolicies"],
    message: "maxInstances may not be less than the function's minInstances",
  });
export type ScalingConfig = z.output<typeof ScalingConfig>;

export function readScalingConfig(input: unknown): ScalingConfig {
  return readFields(ScalingConfig, input);
}

/** The scaling of each function that has any, in memory for every take and in the database for the next start. */
export class Scalings {
  readonly #db: DatabaseSync;
  readonly #configs = new Map<string, ScalingConfig>();

  constructor(db: DatabaseSync) {
    this.#db = db;
    for (const row of db.prepare("SELECT * FROM scalings").all())
      this.#configs.set(String(row["function"]), JSON.parse(String(row["config"])) as ScalingConfig);
  }

  get(functionName: string): ScalingConfig | undefined {
    return this.#configs.get(functionName);
  }

  put(functionName: string, config: ScalingConfig): void {
    this.#db.prepare("INSERT OR REPLACE INTO scalings VALUES (?, ?)").run(functionName, JSON.stringify(config));
    this.#configs.set(functionName, config);
  }

  remove(functionName: string): void {
    this.#db.prepare("DELETE FROM scalings WHERE function = ?").run(functionName);
    this.#configs.delete(functionName);
  }

  names(): Iterable<string> {
    return this.#configs.keys();
  }

  /** How many instances a function wants prepared; undefined for one that was never asked. */
  of(functionName: string): Scaling | undefined {
    const config = this.#configs.get(functionName);
    return config && scalingOf(config);
  }
}

function scalingOf({ minInstances, horizontalScalingPolicies: [policy] }: ScalingConfig): Scaling {
  const minPrepared = Math.max(minInstances, policy?.minInstances ?? 0);
  return { minPrepared, maxPrepared: Math.max(minPrepared, policy?.maxInstances ?? 0) };
}
