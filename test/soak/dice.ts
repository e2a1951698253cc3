/** Choices that a seed decides, the same ones each time. */
export interface Dice {
  /** A whole number from 0 up to, and without, a bound. */
  below(bound: number): number;
  chance(share: number): boolean;
  pick<T>(items: readonly T[]): T | undefined;
  /** Picks a name as often as its weight says. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T;
  /** Dice of somebody else: what one chooses does not depend on how often the other did. */
  other(name: string): Dice;
}

const STEP = 0x6d2b79f5;
/** Of the hash FNV-1a. */
const [BASIS, PRIME] = [0x811c9dc5, 0x01000193];

export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  const share = () => {
    state = (state + STEP) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (bound: number) => Math.floor(share() * bound);
  return {
    below,
    chance: (wanted) => share() < wanted,
    pick: (items) => items[below(items.length)],
    weighted<T extends string>(weights: Readonly<Record<T, number>>) {
      const entries = Object.entries(weights) as [T, number][];
      let left = share() * entries.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [name, weight] of entries) if ((left -= weight) < 0) return name;
      throw new RangeError("There is nothing to pick from");
    },
    other: (name) => diceOf(Buffer.from(name).reduce((mixed, byte) => Math.imul(mixed ^ byte, PRIME), seed ^ BASIS)),
  };
}
