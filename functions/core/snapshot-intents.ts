import type { Platform, Row } from "./ports.ts";
import { releaseBlob } from "./blobs.ts";
import { dueTime } from "./due.ts";
import { releaseBytes } from "./snapshot-quotas.ts";
import { unlessConflict } from "./sandbox-rows.ts";
import { CHUNKS, type ChunkRow, chunkPrefix, snapshotKey, SNAPSHOTS, type SnapshotRow } from "./snapshot-rows.ts";

export const INTENTS = "snapshot-intents";
/** How long taking a snapshot, or making sandboxes from one without a name, may last. */
export const TAKE_MAX_MS = 60 * 60_000;
const COLLECT_AFTER_MS = 2 * TAKE_MAX_MS;
const PAGE = 200;

/**
 * What is being captured or deleted, written first. `heldBytes` are taken of the quota for certain, `askedBytes` perhaps;
 * who turns it to `settled` gives back, and nobody else does.
 */
export interface IntentRow {
  projectId: string;
  id: string;
  name?: string;
  heldBytes: number;
  askedBytes: number;
  settled: boolean;
}

/** Writes that something is begun, under the moment from which its age is counted. */
export function putIntent(platform: Platform, intent: Pick<IntentRow, "projectId" | "id" | "name">): Promise<Row<IntentRow>> {
  const now = platform.clock.now();
  return platform.tables.put<IntentRow>(INTENTS, `${dueTime(now)}/${intent.id}/${now}`, {
    ...intent,
    heldBytes: 0,
    askedBytes: 0,
    settled: false,
  });
}

/** Finishes what was begun hours ago and never ended: at most `limit` of it. Answers how much it was. */
export async function collectSnapshots(platform: Platform, limit: number): Promise<number> {
  const rows = await platform.tables.range<IntentRow>(INTENTS, "", { limit });
  const due = rows.filter((row) => row.key < dueTime(platform.clock.now() - COLLECT_AFTER_MS));
  for (const row of due) await finishIntent(platform, row.key, { late: true });
  return due.length;
}

/**
 * Ends an intent: a capture that became a snapshot stays, any other goes with all that only it needs. Any number may do
 * it at once or again after a crash; each step is one that is done already or is done now. Only who comes late takes a
 * row away that somebody else was settling.
 */
export async function finishIntent(platform: Platform, key: string, { late = false } = {}): Promise<void> {
  const intent = await platform.tables.get<IntentRow>(INTENTS, key);
  if (!intent) return;
  const { projectId, id, name } = intent.value;
  const found = name === undefined ? undefined : await platform.tables.get<SnapshotRow>(SNAPSHOTS, snapshotKey(projectId, name));
  const row = found?.value.snapshot.id === id ? found : undefined;
  if (row && !row.value.deleting) return settleIntent(platform, intent, row.value.chargedBytes);
  await removeChunks(platform, intent.value);
  if (row && !(late && row.value.settled)) await settleRow(platform, row, projectId);
  else if (row) await platform.tables.remove(SNAPSHOTS, row.key);
  await settleIntent(platform, intent, 0);
}

/** Gives back what an intent holds above what is kept, once, and removes it after that: what is counted is never below what is held. */
async function settleIntent(platform: Platform, intent: Row<IntentRow>, keptBytes: number): Promise<void> {
  const { projectId, heldBytes, settled } = intent.value;
  if (!settled) {
    const turn = platform.tables.put<IntentRow>(INTENTS, intent.key, { ...intent.value, settled: true }, { ifVersion: intent.version });
    if (!(await unlessConflict(turn))) return;
    await releaseBytes(platform, projectId, heldBytes - keptBytes);
  }
  await platform.tables.remove(INTENTS, intent.key);
}

async function settleRow(platform: Platform, row: Row<SnapshotRow>, projectId: string): Promise<void> {
  if (row.value.settled) return;
  const turn = platform.tables.put<SnapshotRow>(SNAPSHOTS, row.key, { ...row.value, settled: true }, { ifVersion: row.version });
  const settled = await unlessConflict(turn);
  if (!settled) return;
  await releaseBytes(platform, projectId, row.value.chargedBytes);
  await unlessConflict(platform.tables.remove(SNAPSHOTS, row.key, { ifVersion: settled.version }));
}

/** Takes a capture's claims away; a chunk's row goes after its claim, so that none is forgotten. */
async function removeChunks(platform: Platform, intent: Pick<IntentRow, "projectId" | "id">): Promise<void> {
  const { projectId, id } = intent;
  for (;;) {
    const rows = await platform.tables.range<ChunkRow>(CHUNKS, chunkPrefix(intent), { limit: PAGE });
    await Promise.all(new Set(rows.map((row) => row.value.sha256)).values().map((sha256) => releaseBlob(platform, projectId, sha256, id)));
    for (const row of rows) await platform.tables.remove(CHUNKS, row.key);
    if (rows.length < PAGE) return;
  }
}
