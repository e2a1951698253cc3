/** Work that many ask for at once is done once: those who come while it goes on get what the first gets. */
export type Shared = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** One key must always stand for one kind of work. */
export function sharedWork(): Shared {
  const running = new Map<string, Promise<unknown>>();
  return <T>(key: string, work: () => Promise<T>): Promise<T> => {
    const known = running.get(key) as Promise<T> | undefined;
    if (known) return known;
    const begun = work().finally(() => running.delete(key));
    running.set(key, begun);
    return begun;
  };
}
