/** Does a thing so many times, a few at once. */
export async function times<T>(count: number, atOnce: number, action: (at: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const work = async () => {
    for (let at = next++; at < count; at = next++) results[at] = await action(at);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}
