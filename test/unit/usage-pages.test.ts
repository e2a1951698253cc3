import assert from "node:assert/strict";
import { test } from "node:test";
import { type UsageGroup, UsageQuery } from "#contract/usage.ts";
import type { Platform } from "#core/ports.ts";
import { HOUR_MS, hourKey, type UsageRow } from "#core/usage/metering.ts";
import { reportUsage } from "#core/usage/reports.ts";
import { sumHours, TASK_HOURS } from "#core/usage/sums.ts";
import { openCore, projectOf } from "#support/core.ts";

const ONE = projectOf("p1");
const HOURS = 30;
/** More than one part of an hour's sums holds. */
const TASKS = 450;
const ORDERS = ["task", "task,day", "project,task", "agent,task", "day,task", "task,template,agent"];

/** Rows of so many hours before now: each task in some of them, in two templates, and what belongs to no task. */
async function fill(platform: Platform): Promise<Map<string, number>> {
  const expected = new Map<string, number>();
  const beginMs = Math.floor(platform.clock.now() / HOUR_MS) * HOUR_MS - HOURS * HOUR_MS;
  const names = Array.from({ length: TASKS }, (_, at) => `task-${((at * 7919) % TASKS).toString(36)}`);
  for (let hour = 0; hour < HOURS; hour += 1) {
    const key = hourKey(ONE.id, beginMs + hour * HOUR_MS);
    const some = names.filter((_, at) => hour === 7 || at % HOURS === hour || at % 97 === 0);
    for (const [at, taskId] of ["", ...some].entries()) {
      for (const template of ["small", "large"]) {
        const used = { requests: 1 + ((hour + at) % 5) };
        const toMs = beginMs + hour * HOUR_MS + at;
        const about = taskId === "" ? {} : { taskId, template, agent: `agent-${at % 3}` };
        const row: UsageRow = { source: `${taskId}-${template}`, fromMs: toMs, toMs, prices: "fc-2026-11", used, ...about };
        await platform.tables.put("usage", `${key}/${row.source}/0000000001`, row);
        await platform.tables.add("usage-marks", key, 1);
        expected.set(taskId, (expected.get(taskId) ?? 0) + used.requests);
      }
    }
  }
  return expected;
}

async function pages(platform: Platform, groupBy: string, limit: number): Promise<UsageGroup[]> {
  const all: UsageGroup[] = [];
  let after: string | undefined;
  do {
    const page = await reportUsage(platform, ONE, UsageQuery.parse({ groupBy, limit, ...(after === undefined ? {} : { after }) }));
    assert.ok(page.items.length === limit || page.next === undefined, `a page of ${groupBy} has ${page.items.length}, and more come`);
    all.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return all;
}

test("pages by task are the same from sums as from rows, whatever their size and whatever is old or being made of them", async () => {
  const { platform } = openCore();
  const expected = await fill(platform);
  const whole = new Map<string, UsageGroup[]>();
  for (const order of ORDERS) whole.set(order, await pages(platform, order, 200));
  const byTask = (whole.get("task") ?? []).map(({ taskId, lines }) => [taskId ?? "", lines[0]?.quantity]);
  assert.deepEqual(
    byTask,
    [...expected].toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
  const hold = async (when: string, ...limits: number[]) => {
    for (const order of ORDERS)
      for (const limit of limits) assert.deepEqual(await pages(platform, order, limit), whole.get(order), `${when}: ${order} by ${limit}`);
  };
  // Half of the hours have sums, then all have.
  await sumHours(platform, ONE.id, HOURS / 2, HOURS);
  await hold("half summed", 200);
  await sumHours(platform, ONE.id, HOURS, HOURS);
  await hold("all summed", 31, 199, 200);
  // Whoever makes sums again was killed in the middle of it, or is not done.
  const parts = await platform.tables.range<{ mark: number }>(TASK_HOURS, `${ONE.id}/`, { limit: 1000 });
  assert.ok(parts.length > HOURS, "an hour has several parts");
  for (const { key, value } of parts.filter((_, at) => at % 3 === 0))
    await platform.tables.put(TASK_HOURS, key, { mark: value.mark + 1, groups: [] });
  await hold("half made", 200);
  // A mark that was raised twice makes sums old, and no more than that.
  await platform.tables.add("usage-marks", parts[0]?.key.split("/").slice(0, 2).join("/") ?? "", 1);
  await hold("old", 200);
});

test("a page by task reads the parts that its tasks may be in, and no others", async () => {
  const { platform } = openCore();
  const expected = await fill(platform);
  await sumHours(platform, ONE.id, HOURS, HOURS);
  const parts = await platform.tables.range(TASK_HOURS, `${ONE.id}/`, { limit: 1000 });
  let read = 0;
  const tables = {
    ...platform.tables,
    get<T>(table: string, key: string) {
      if (table === TASK_HOURS) read += 1;
      return platform.tables.get<T>(table, key);
    },
  };
  const counted = async (after: string) => {
    read = 0;
    const query = UsageQuery.parse({ groupBy: "task", limit: 5, after: Buffer.from(after).toString("base64url") });
    const { items } = await reportUsage({ ...platform, tables }, ONE, query);
    return { found: items.length, read };
  };
  const sorted = [...expected.keys()].toSorted();
  const afterLast = await counted(sorted.at(-1) ?? "");
  assert.equal(afterLast.found, 0);
  assert.ok(afterLast.read <= 2, `the last task is in two hours, and ${afterLast.read} parts are read`);
  assert.deepEqual(await counted("task-zzz"), { found: 0, read: 0 });
  const near = await counted(sorted.at(-6) ?? "");
  assert.equal(near.found, 5);
  assert.ok(near.read <= HOURS, `${near.read} of ${parts.length} parts are read`);
});
