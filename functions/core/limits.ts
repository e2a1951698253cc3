import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Quota } from "#contract/project.ts";
import type { Scaling } from "#contract/template.ts";

/** What this installation's operator set. */
export interface Limits {
  idleMinMs: number;
  idleMaxMs: number;
  idleDefaultMs: number;
  lifeMaxMs: number;
  /** Of the built-in template, and of those that name none. */
  scaling: Scaling;
  /** Of projects that were made without one of their own. */
  quota: Quota;
  /** How long a stretch of use is that one row tells of. */
  usageIntervalMs: number;
  /** The function of which sandboxes of the built-in template are sessions, and the model for all others. */
  workspaceFunction: string;
}

/** The default life, which the operator's maximum may shorten. */
export function lifeDefaultMs(limits: Limits): number {
  return Math.min(LIMITS.lifeDefaultMs, limits.lifeMaxMs);
}

/** Refuses idle times and lives outside what the operator allows, naming the field. */
export function checkTimes(limits: Limits, times: { idleTimeoutMs?: number | undefined; lifetimeMs?: number | undefined }): void {
  const { idleTimeoutMs, lifetimeMs } = times;
  if (idleTimeoutMs !== undefined && (idleTimeoutMs < limits.idleMinMs || idleTimeoutMs > limits.idleMaxMs))
    throw outside("idleTimeoutMs", limits.idleMinMs, limits.idleMaxMs);
  if (lifetimeMs !== undefined && (lifetimeMs < 1000 || lifetimeMs > limits.lifeMaxMs)) throw outside("lifetimeMs", 1000, limits.lifeMaxMs);
}

/** A scaling with changes laid over it; one bound alone takes the other along. */
export function scalingOf(
  before: Scaling,
  change: { minPrepared?: number | undefined; maxPrepared?: number | undefined } | undefined,
): Scaling {
  const { minPrepared, maxPrepared } = change ?? {};
  if (minPrepared !== undefined && maxPrepared !== undefined && minPrepared > maxPrepared) {
    const problem = `must be at least minPrepared, ${minPrepared}`;
    const issues = [{ field: "body.scaling.maxPrepared", problem }];
    throw new Problem("invalid_request", { detail: `body.scaling.maxPrepared: ${problem}`, issues });
  }
  return {
    minPrepared: minPrepared ?? Math.min(before.minPrepared, maxPrepared ?? Infinity),
    maxPrepared: maxPrepared ?? Math.max(before.maxPrepared, minPrepared ?? 0),
  };
}

function outside(field: string, min: number, max: number): Problem {
  const problem = `must be between ${min} and ${max}`;
  return new Problem("invalid_request", { detail: `body.${field}: ${problem}`, issues: [{ field: `body.${field}`, problem }], min, max });
}
