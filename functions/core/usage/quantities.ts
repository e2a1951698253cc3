import { METERS, type Meter } from "#contract/usage.ts";

/** How much of each meter, in whole numbers of its base. What is missing is none. */
export type Quantities<N extends number | bigint = number> = Partial<Record<Meter, N>>;

export const ALL_METERS = Object.keys(METERS) as readonly Meter[];

/** What came since: of each meter what is above what was there before. Meters never go back. */
export function above(now: Quantities, before: Quantities): Quantities {
  const more: Quantities = {};
  for (const meter of ALL_METERS) {
    const by = (now[meter] ?? 0) - (before[meter] ?? 0);
    if (by > 0) more[meter] = by;
  }
  return more;
}

export function isNothing(quantities: Quantities): boolean {
  return ALL_METERS.every((meter) => (quantities[meter] ?? 0) === 0);
}

export function plus(one: Quantities, other: Quantities): Quantities {
  const sum: Quantities = { ...one };
  for (const meter of ALL_METERS) {
    const by = other[meter] ?? 0;
    if (by !== 0) sum[meter] = (sum[meter] ?? 0) + by;
  }
  return sum;
}

export function sumOf(all: Iterable<Quantities>): Quantities {
  let sum: Quantities = {};
  for (const one of all) sum = plus(sum, one);
  return sum;
}

const SPILL = Number.MAX_SAFE_INTEGER / 2;

/** Sums of any size: counted as numbers, which is fast, and carried over before they would lose a digit. */
export class Sums {
  readonly #low: Record<string, number> = {};
  readonly #high: Record<string, bigint> = {};

  add(quantities: Quantities): void {
    for (const meter in quantities) {
      const sum = (this.#low[meter] ?? 0) + (quantities[meter as Meter] ?? 0);
      if (sum < SPILL) {
        this.#low[meter] = sum;
        continue;
      }
      this.#low[meter] = 0;
      this.#high[meter] = (this.#high[meter] ?? 0n) + BigInt(sum);
    }
  }

  get total(): Quantities<bigint> {
    const names = Object.keys(this.#low) as Meter[];
    return Object.fromEntries(names.map((meter) => [meter, BigInt(this.#low[meter] ?? 0) + (this.#high[meter] ?? 0n)]));
  }
}
