import { Problem } from "#contract/problem.ts";
import type { Project, Quota } from "#contract/project.ts";
import type { Platform } from "./ports.ts";
import { LIVING, type LivingRow, type SandboxRow, unlessConflict } from "./sandbox-rows.ts";

export const QUOTAS = "quotas";
const RETRY_AFTER_MS = 5_000;
const PAGE = 1000;
const MILLI = 1000;

/** What a sandbox takes of its project's quotas beside its own place. */
type Size = Pick<SandboxRow, "cpu" | "memoryMiB">;

/** One thing that is counted for each project, in whole units: cores are counted in thousandths. */
interface Count {
  /** The count's place beside the others of its project. */
  name: string;
  quota: "sandboxes" | "cpu" | "memoryMiB";
  unitsOf: (size: Size) => number;
  ceilingOf: (quota: Quota) => number;
  words: (ceiling: number) => string;
}

const COUNTS: readonly Count[] = [
  {
    name: "sandboxes",
    quota: "sandboxes",
    unitsOf: () => 1,
    ceilingOf: ({ sandboxes }) => sandboxes,
    words: (ceiling) => `${ceiling} sandboxes`,
  },
  {
    name: "millicores",
    quota: "cpu",
    unitsOf: ({ cpu }) => Math.round(cpu * MILLI),
    ceilingOf: ({ cpu }) => Math.round(cpu * MILLI),
    words: (ceiling) => `${ceiling} cores in its sandboxes`,
  },
  {
    name: "memory-mib",
    quota: "memoryMiB",
    unitsOf: ({ memoryMiB }) => memoryMiB,
    ceilingOf: ({ memoryMiB }) => memoryMiB,
    words: (ceiling) => `${ceiling} MiB of memory in its sandboxes`,
  },
];

/**
 * Takes a sandbox's place, cores and memory from the project's quotas, each in one step that cannot overshoot. When one
 * is refused the others are given back; what a crash between them leaves taken, the count of the living corrects.
 */
export async function reserve(platform: Platform, project: Project, size: Size): Promise<void> {
  const taken = await Promise.allSettled(COUNTS.map((count) => take(platform, project, count, size)));
  const refused = taken.find((one) => one.status === "rejected");
  if (!refused) return;
  await giveBack(
    platform,
    project.id,
    COUNTS.filter((_count, at) => taken[at]?.status === "fulfilled"),
    size,
  );
  throw refused.reason;
}

/** Gives back all that a sandbox held. Only who moved the row to `ended` calls it, once and never again. */
export async function release(platform: Platform, projectId: string, size: Size): Promise<void> {
  await giveBack(platform, projectId, COUNTS, size);
}

/**
 * Corrects a project's counts down to the sandboxes that live. A living-row is written before its units are taken and
 * removed after they were given back, so that it may count what is not held yet, or no more, but never less; and a count
 * that moved meanwhile refuses the correction, which the next sweep repeats. What a crash took and never gave back returns here.
 */
export async function reconcileQuota(platform: Platform, projectId: string): Promise<boolean> {
  const counters = await Promise.all(COUNTS.map((count) => platform.tables.get<number>(QUOTAS, quotaKey(projectId, count))));
  if (counters.every((counter) => counter === undefined)) return false;
  const held = await heldByLiving(platform, projectId);
  let corrected = false;
  for (const [at, counter] of counters.entries()) {
    const units = held[at];
    if (!counter || units === undefined) continue;
    // Giving back what was taken before it was counted leads below nothing, which would let in too much.
    const right = Math.max(0, Math.min(units, counter.value));
    if (right === counter.value) continue;
    const written = await unlessConflict(platform.tables.put(QUOTAS, counter.key, right, { ifVersion: counter.version }));
    corrected ||= written !== undefined;
  }
  return corrected;
}

async function take(platform: Platform, project: Project, count: Count, size: Size): Promise<void> {
  const units = count.unitsOf(size);
  const ceiling = count.ceilingOf(project.quota);
  try {
    await platform.tables.add(QUOTAS, quotaKey(project.id, count), units, { ceiling });
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "quota_exceeded") throw error;
    const quota = project.quota[count.quota];
    const facts = { detail: `The project may have ${count.words(quota)} at once`, resource: count.quota, quota };
    if (units > ceiling) throw new Problem("quota_exceeded", { ...facts, next: "Use a smaller template, or have the quota raised." });
    throw new Problem("quota_exceeded", { ...facts, retryAfterMs: RETRY_AFTER_MS });
  }
}

async function giveBack(platform: Platform, projectId: string, counts: readonly Count[], size: Size): Promise<void> {
  await Promise.all(counts.map((count) => platform.tables.add(QUOTAS, quotaKey(projectId, count), -count.unitsOf(size))));
}

/** What the living hold, in the order of the counts. A row of before sizes were counted holds its place alone. */
async function heldByLiving(platform: Platform, projectId: string): Promise<number[]> {
  let held = COUNTS.map(() => 0);
  let after: string | undefined;
  for (;;) {
    const page = { limit: PAGE, ...(after === undefined ? {} : { after }) };
    const rows = await platform.tables.range<LivingRow>(LIVING, `${projectId}/`, page);
    for (const { value } of rows) {
      const size = { cpu: value.cpu ?? 0, memoryMiB: value.memoryMiB ?? 0 };
      held = COUNTS.map((count, at) => (held[at] ?? 0) + count.unitsOf(size));
    }
    after = rows.at(-1)?.key;
    if (rows.length < PAGE || after === undefined) return held;
  }
}

function quotaKey(projectId: string, count: Count): string {
  return `${projectId}/${count.name}`;
}
