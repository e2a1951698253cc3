/** How fast the memory of a burst fades: by half in two minutes. */
const HALF_LIFE_MS = 2 * 60_000;
const REFILL_GUESS_MS = 250;
const REFILL_MS = { least: 1, most: 30_000 };
/** The newest refill's part in the average. */
const NEWEST = 0.2;
/** A demand without end is not remembered beyond this. */
const LEVEL_MAX = 1000;
/** Less than half an instance is none. */
const FORGOTTEN = 0.5;

/**
 * How many prepared instances would have served what was asked for of late. Each take raises a level by one and each
 * refill's time lowers it by one: its highest is what a pool has to hold for none of the takes to wait.
 */
export class Demand {
  #refillMs = REFILL_GUESS_MS;
  #level = 0;
  #levelAt = 0;
  #peak = 0;
  #peakAt = 0;

  took(at: number): void {
    const refilled = Math.max(0, at - this.#levelAt) / this.#refillMs;
    this.#level = Math.min(Math.max(0, this.#level - refilled) + 1, LEVEL_MAX);
    this.#levelAt = at;
    if (this.#level <= this.#faded(at)) return;
    this.#peak = this.#level;
    this.#peakAt = at;
  }

  /** Tells how long it took to make one. */
  refilled(tookMs: number): void {
    const bounded = Math.min(Math.max(tookMs, REFILL_MS.least), REFILL_MS.most);
    this.#refillMs += NEWEST * (bounded - this.#refillMs);
  }

  wanted(at: number): number {
    const peak = this.#faded(at);
    return peak < FORGOTTEN ? 0 : Math.ceil(peak);
  }

  #faded(at: number): number {
    return this.#peak * 2 ** (-Math.max(0, at - this.#peakAt) / HALF_LIFE_MS);
  }
}

/** What one pool would hold, and what each of its instances is measured to take. */
export interface Ask {
  wanted: number;
  sizeBytes: number;
}

/** How many each may hold of what is there for all: who comes first is served first, and the rest is shared by the next. */
export function allot(asks: readonly Ask[], budget: { instances: number; bytes: number }): number[] {
  let { instances, bytes } = budget;
  return asks.map(({ wanted, sizeBytes }) => {
    const given = Math.max(0, Math.min(wanted, instances, Math.floor(bytes / sizeBytes)));
    instances -= given;
    bytes -= given * sizeBytes;
    return given;
  });
}
