import type { SandboxRow } from "#core/sandbox-rows.ts";

/**
 * How long a sandbox was awake and how long it rested until `sinceMs`, from when on it has been doing what `resting`
 * says. It turns in the same conditional write as the sandbox's state, so that no crash loses or doubles a moment.
 */
export interface Hours {
  awakeMs: number;
  restedMs: number;
  sinceMs: number;
  resting: boolean;
}

type Timed = Pick<SandboxRow, "hours" | "endsAtMs" | "endedAtMs" | "stoppedAtMs">;

export function firstHours(nowMs: number): Hours {
  return { awakeMs: 0, restedMs: 0, sinceMs: nowMs, resting: false };
}

/** How long it was awake and rested, up to now or its end. A clock that goes back adds nothing; one that leaps adds no more than the sandbox may live. */
export function hoursAt(row: Timed, nowMs: number): Pick<Hours, "awakeMs" | "restedMs"> {
  const { hours } = row;
  if (!hours) return { awakeMs: 0, restedMs: 0 };
  const untilMs = Math.min(nowMs, row.endsAtMs, row.endedAtMs ?? Infinity, row.stoppedAtMs ?? Infinity);
  const moreMs = Math.max(0, Math.round(untilMs - hours.sinceMs));
  const { awakeMs, restedMs, resting } = hours;
  return resting ? { awakeMs, restedMs: restedMs + moreMs } : { awakeMs: awakeMs + moreMs, restedMs };
}

/** Its hours once it turns to rest, or wakes. */
export function turnHours(row: Timed, nowMs: number, resting: boolean): { hours?: Hours } {
  return row.hours ? { hours: { ...hoursAt(row, nowMs), sinceMs: nowMs, resting } } : {};
}
