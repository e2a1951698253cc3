import { refusal } from "./refusals.ts";

export interface CapacityLimits {
  /** Isolated instances at once. */
  instances: number;
  /** Instances that may start at once after a rest, and how many more each minute. */
  burst: number;
  startsPerMinute: number;
}

/** Counts the instances of sessions. A place is taken in the same step as it is found free, so that a race cannot exceed a limit. */
export class Capacity {
  readonly #limits: CapacityLimits;
  readonly #now: () => number;
  readonly #byFunction = new Map<string, number>();
  #instances = 0;
  #tokens: number;
  #filledAt: number;

  constructor(limits: CapacityLimits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
    this.#tokens = limits.burst;
    this.#filledAt = now();
  }

  /** Places that are free, for one function when it is named. */
  free(functionName?: string, reserved: number | null = null): number {
    const left = this.#limits.instances - this.#instances;
    if (functionName === undefined || reserved === null) return left;
    return Math.min(left, reserved - (this.#byFunction.get(functionName) ?? 0));
  }

  /** Takes a place for one instance of a function, or refuses; the answer gives it back, once. */
  take(functionName: string, reserved: number | null): () => void {
    const { instances, burst, startsPerMinute } = this.#limits;
    const ofFunction = this.#byFunction.get(functionName) ?? 0;
    if (reserved !== null && ofFunction >= reserved)
      throw refusal("ResourceExhausted", `The function ${functionName} may have ${reserved} sessions`);
    if (this.#instances >= instances) throw refusal("ResourceExhausted", `This engine may have ${instances} instances`);
    const at = this.#now();
    this.#tokens = Math.min(burst, this.#tokens + ((at - this.#filledAt) / 60_000) * startsPerMinute);
    this.#filledAt = at;
    if (this.#tokens < 1) throw refusal("ResourceExhausted", `This engine starts ${startsPerMinute} instances a minute`);
    this.#tokens--;
    this.#instances++;
    this.#byFunction.set(functionName, ofFunction + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      this.#instances--;
      this.#byFunction.set(functionName, (this.#byFunction.get(functionName) ?? 1) - 1);
    };
  }
}
