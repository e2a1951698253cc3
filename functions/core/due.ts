/** A moment at which the sweep looks at a sandbox again. It is a hint: the sandbox's row decides what happens. */
export interface DueRow {
  projectId: string;
  id: string;
  createdAtMs: number;
}

/** How long a sandbox may be `creating` before the sweep ends it as failed. */
export const CREATE_GRACE_MS = 60_000;

/** When nobody can be making the sandbox any more; one that starts with the files of a snapshot takes longer. */
export function graceEnd(row: { createdAtMs: number; restoreMs?: number }): number {
  return row.createdAtMs + CREATE_GRACE_MS + (row.restoreMs ?? 0);
}

/** Due-rows sort by time, so that the sweep reads only those that have come. */
export function dueKey(row: { dueAtMs: number; projectId: string; id: string }): string {
  return `${dueTime(row.dueAtMs)}/${row.projectId}/${row.id}`;
}

export function dueTime(atMs: number): string {
  return String(Math.ceil(atMs)).padStart(15, "0");
}

/** When a sandbox that was just used is looked at next: when it may have become idle, or at its end. */
export function nextDue(row: { idleTimeoutMs: number; endsAtMs: number }, activeAtMs: number): number {
  return Math.min(row.endsAtMs, activeAtMs + row.idleTimeoutMs);
}
