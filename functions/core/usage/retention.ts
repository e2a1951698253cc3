import type { Platform } from "#core/ports.ts";
import { hourKey, USAGE, USAGE_MARKS } from "./metering.ts";
import { HOURS, SUMMED, TASK_HOURS } from "./sums.ts";

/** Every table that is by project and hour. The marks go last: by them an hour is known, and one cut short is met again. */
const TABLES = [USAGE, TASK_HOURS, HOURS, SUMMED, USAGE_MARKS] as const;
const PAGE = 500;
const PAGES_PER_RUN = 10;

/**
 * Lets go of what a project used in hours that were over by then; a run does some of it, and the next goes on. A task's bill
 * and what is spent of a budget are sums of their own, so that neither is less for it.
 */
export async function pruneUsage(platform: Platform, projectId: string, untilMs: number): Promise<number> {
  const { tables } = platform;
  const end = hourKey(projectId, untilMs);
  let gone = 0;
  let pages = 0;
  for (const table of TABLES) {
    // Most of the time nothing is that old, and one row tells.
    const [oldest] = await tables.range(table, `${projectId}/`, { limit: 1 });
    if (!oldest || oldest.key >= end) continue;
    for (;;) {
      const rows = await tables.range(table, `${projectId}/`, { limit: PAGE });
      const old = rows.filter(({ key }) => key < end);
      await Promise.all(old.map(({ key }) => tables.remove(table, key)));
      gone += old.length;
      if (old.length < PAGE) break;
      pages += 1;
      if (pages === PAGES_PER_RUN) return gone;
    }
  }
  return gone;
}
