/** Uids that hosts leave to nobody: each instance has 65,536 of them for itself while it lives. */
const UIDS = { first: 0x40000000, size: 0x10000, slots: 12_000 };

/** Hands out uid ranges; `start` spreads the engines of one host over the ranges. */
export function uidRanges(start: number) {
  const taken = new Set<number>();
  let next = start % UIDS.slots;
  return () => {
    if (taken.size >= UIDS.slots) throw new Error("Every uid range of this host is taken");
    while (taken.has(next)) next = (next + 1) % UIDS.slots;
    const slot = next;
    taken.add(slot);
    next = (next + 1) % UIDS.slots;
    return { base: UIDS.first + slot * UIDS.size, free: () => void taken.delete(slot) };
  };
}
