import type { Clock } from "#core/ports.ts";

/** A clock that stands still until a test moves it. */
export interface FixedClock extends Clock {
  advance(ms: number): void;
}

export function fixedClock(startMs = Date.UTC(2026, 0, 1)): FixedClock {
  let at = startMs;
  return {
    now: () => at,
    advance(ms) {
      at += ms;
    },
  };
}
