import { endRow } from "#core/endings.ts";
import type { Limits } from "#core/limits.ts";
import { factsIfKnown } from "#core/losses.ts";
import type { Platform, Row } from "#core/ports.ts";
import type { Project } from "#contract/project.ts";
import { PROJECTS } from "#core/projects.ts";
import { LIVING, type LivingRow, ownRow, SANDBOXES, type SandboxRow } from "#core/sandbox-rows.ts";
import { settleBudgets } from "./budgets.ts";
import { meterProject, meterSandbox, readState } from "./metering.ts";
import { sumHours } from "./sums.ts";

const PAGE = 200;
const AT_ONCE = 8;

/** What one pass did, by count. */
export interface UsagePass {
  metered: number;
  hoursSummed: number;
  usageFailed: number;
}

/** Meters everything that lives and whose interval is over, and what projects used beside; then makes the sums of hours that are over. */
export async function meterAll(platform: Platform, limits: Limits, signal?: AbortSignal): Promise<UsagePass> {
  const pass: UsagePass = { metered: 0, hoursSummed: 0, usageFailed: 0 };
  await eachRow<LivingRow>(platform, LIVING, pass, signal, async ({ key }) => {
    const atMs = platform.clock.now();
    const row = await platform.tables.get<SandboxRow>(SANDBOXES, key);
    if (row && (await meterLiving(platform, limits, row, atMs))) pass.metered += 1;
  });
  await eachRow<Project>(platform, PROJECTS, pass, signal, async ({ value }) => {
    await meterProject(platform, value.id);
    pass.hoursSummed += await sumHours(platform, value.id);
  });
  return pass;
}

/** What has ended is left to whoever ended it. */
async function meterLiving(platform: Platform, limits: Limits, row: Row<SandboxRow>, atMs: number): Promise<boolean> {
  const { projectId, id, state: is, hours } = row.value;
  if (!hours || (is !== "ready" && is !== "paused")) return false;
  const state = await readState(platform, { projectId, id });
  const beganMs = state?.value.toMs ?? row.value.createdAtMs;
  if (intervalOf(platform.clock.now(), limits) <= intervalOf(beganMs, limits) && !state?.value.pending) return false;
  const facts = await factsIfKnown(platform, row.value);
  // One that is gone is for the sweep to end, with the last that was measured of it.
  if (facts !== "unknown" && !facts?.live) return false;
  const usage = facts === "unknown" ? undefined : facts.usage;
  const metered = await meterSandbox(platform, { row: row.value, usage, atMs });
  if (await settleBudgets(platform, row.value, metered, limits.usageIntervalMs)) return true;
  await endRow(platform, await ownRow(platform, { id: projectId }, id), "budget");
  return true;
}

function intervalOf(atMs: number, { usageIntervalMs }: Limits): number {
  return Math.floor(atMs / usageIntervalMs);
}

async function eachRow<T>(
  platform: Platform,
  table: string,
  pass: UsagePass,
  signal: AbortSignal | undefined,
  action: (row: Row<T>) => Promise<void>,
): Promise<void> {
  let after: string | undefined;
  do {
    const rows = await platform.tables.range<T>(table, "", { limit: PAGE, ...(after === undefined ? {} : { after }) });
    const queue = rows.values();
    const work = async () => {
      for (const row of queue) {
        if (signal?.aborted) return;
        await action(row).catch((error: unknown) => {
          pass.usageFailed += 1;
          platform.log.event("usage.failed", { key: row.key, error: String(error) });
        });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    after = rows.length < PAGE || signal?.aborted ? undefined : rows.at(-1)?.key;
  } while (after !== undefined);
}
