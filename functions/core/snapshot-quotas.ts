import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Platform } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";
import { INTENTS, type IntentRow } from "./snapshot-intents.ts";
import { snapshotKey, SNAPSHOTS, type SnapshotRow } from "./snapshot-rows.ts";

export const SNAPSHOT_QUOTAS = "snapshot-quotas";
const PAGE = 1000;

/** Takes bytes of the project's quota for snapshots, in one step that cannot overshoot. */
export async function reserveBytes(platform: Platform, projectId: string, bytes: number): Promise<void> {
  const ceiling = LIMITS.snapshotsBytes;
  try {
    await platform.tables.add(SNAPSHOT_QUOTAS, projectId, bytes, { ceiling });
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "quota_exceeded") throw error;
    const detail = `All snapshots of the project together may have ${ceiling} bytes`;
    throw new Problem("quota_exceeded", { detail, quotaBytes: ceiling, next: "Delete a snapshot that is not needed any more." });
  }
}

/** Gives bytes back. Only who removed the row that held them calls it. */
export async function releaseBytes(platform: Platform, projectId: string, bytes: number): Promise<void> {
  if (bytes > 0) await platform.tables.add(SNAPSHOT_QUOTAS, projectId, -bytes);
}

/**
 * Corrects a project's count to what its rows and intents hold. Both say what they hold before it is taken and until it
 * was given back, so that the sum is never below; a count that moved meanwhile refuses the correction.
 */
export async function reconcileBytes(platform: Platform, projectId: string): Promise<boolean> {
  const counter = await platform.tables.get<number>(SNAPSHOT_QUOTAS, projectId);
  if (!counter) return false;
  const intents = await platform.tables.range<IntentRow>(INTENTS, "", { limit: PAGE });
  if (intents.length === PAGE) return false;
  let held = 0;
  for (const { value } of intents) if (value.projectId === projectId) held += value.heldBytes + value.askedBytes;
  let after: string | undefined;
  do {
    const rows = await platform.tables.range<SnapshotRow>(SNAPSHOTS, snapshotKey(projectId, ""), {
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    for (const row of rows) held += row.value.chargedBytes;
    after = rows.length < PAGE ? undefined : rows.at(-1)?.key;
  } while (after !== undefined);
  if (held === counter.value) return false;
  return (await unlessConflict(platform.tables.put(SNAPSHOT_QUOTAS, counter.key, held, { ifVersion: counter.version }))) !== undefined;
}
