import { setTimeout as delay } from "node:timers/promises";

/** Waits until a condition holds, and says which one did not. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`It never came to be that ${what}`);
    await delay(10);
  }
}
