import type { ActionKind, Actor, DroppedActions } from "#contract/action.ts";

interface Pace {
  burst: number;
  perSecond: number;
}

/** What a page does by itself may be a flood; what an agent or a person does is bounded by what they can do. */
const BY_PAGE: Pace = { burst: 30, perSecond: 2 };
const BY_OTHERS: Pace = { burst: 200, perSecond: 30 };
const MS = 1000;

interface Meter {
  left: number;
  atMs: number;
}

/** Lets so many actions of each kind be written down and counts the rest, what the page does by itself apart from what is done to it. */
export class Sampler {
  readonly #now: () => number;
  readonly #meters = new Map<string, Meter>();
  #missed = new Map<ActionKind, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether one more may be written; if not, it is counted. */
  admits(kind: ActionKind, by: Actor): boolean {
    if (this.isSpent(kind, by)) {
      this.miss(kind);
      return false;
    }
    this.#meterOf(kind, by).left -= 1;
    return true;
  }

  /** Whether one more would only be counted. */
  isSpent(kind: ActionKind, by: Actor): boolean {
    return this.#meterOf(kind, by).left < 1;
  }

  miss(kind: ActionKind, count = 1): void {
    this.#missed.set(kind, (this.#missed.get(kind) ?? 0) + count);
  }

  /** What was not let through since this was asked last. */
  missed(): DroppedActions {
    const missed = Object.fromEntries(this.#missed) as DroppedActions;
    this.#missed = new Map();
    return missed;
  }

  get hasMissed(): boolean {
    return this.#missed.size > 0;
  }

  #meterOf(kind: ActionKind, by: Actor): Meter {
    const { burst, perSecond } = by === "page" ? BY_PAGE : BY_OTHERS;
    const key = `${kind} ${by === "page"}`;
    const atMs = this.#now();
    const meter = this.#meters.get(key) ?? { left: burst, atMs };
    this.#meters.set(key, meter);
    meter.left = Math.min(burst, meter.left + (Math.max(0, atMs - meter.atMs) / MS) * perSecond);
    meter.atMs = atMs;
    return meter;
  }
}
