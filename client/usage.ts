import { getTaskCost, type TaskCost } from "#contract/cost.ts";
import { type Currency, getUsage, type Grouping, type UsageGroup } from "#contract/usage.ts";
import { LIMITS } from "#contract/limits.ts";
import { call, type ClientOptions, newClient } from "./client.ts";

interface Options extends ClientOptions {
  currency?: Currency | undefined;
  signal?: AbortSignal | undefined;
}

/** What was used and what it costs. */
export const Usage = {
  /** The bill of one task, up to now. A sandbox that named no task is its own: give its id. */
  costOf(taskId: string, options: Options = {}): Promise<TaskCost> {
    const { currency, signal } = options;
    return call(newClient(options), getTaskCost, { params: { taskId }, query: { currency }, signal });
  },

  /** What the project used, in groups, all pages. */
  async report(options: Options & { from?: Date; to?: Date; groupBy?: readonly Grouping[] } = {}): Promise<UsageGroup[]> {
    const { currency, signal, from, to, groupBy } = options;
    const client = newClient(options);
    const about = { from: from?.toISOString(), to: to?.toISOString(), groupBy: groupBy?.join(","), currency, limit: LIMITS.pageMax };
    const found: UsageGroup[] = [];
    let after: string | undefined;
    do {
      const page = await call(client, getUsage, { query: { ...about, after }, signal });
      found.push(...page.items);
      after = page.next;
    } while (after !== undefined);
    return found;
  },
};
