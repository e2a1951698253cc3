import type { DatabaseSync } from "node:sqlite";

export type EndReason = "idle" | "ttl" | "deleted" | "oom" | "crashed" | "engine_restarted";

export interface SessionRow {
  function: string;
  id: string;
  instanceId: string;
  status: "Creating" | "Active" | "Pausing" | "Paused" | "Resuming" | "Expired";
  ttlS: number;
  idleS: number;
  reusable: 0 | 1;
  createdAt: number;
  modifiedAt: number;
  endedAt: number | null;
  endReason: EndReason | null;
  usage: string | null;
}

/** Sessions as they are written down. */
export interface SessionRows {
  find(functionName: string, id: string): SessionRow | undefined;
  list(functionName: string, page: { after: string; limit: number; status?: string | undefined }): SessionRow[];
  save(row: SessionRow): void;
  /** Forgets those that ended before a moment. */
  forget(endedBefore: number): void;
}

/** Sessions of an earlier engine are over: their instances ended with it. Statements are compiled once, as each session takes several. */
export function openSessionRows(db: DatabaseSync, at: number): SessionRows {
  db.prepare("UPDATE sessions SET status = 'Expired', endReason = 'engine_restarted', endedAt = ? WHERE status <> 'Expired'").run(at);
  const find = db.prepare("SELECT * FROM sessions WHERE function = ? AND id = ?");
  const list = db.prepare("SELECT * FROM sessions WHERE function = ? AND id > ? AND (? IS NULL OR status = ?) ORDER BY id LIMIT ?");
  // A row that is there is changed in its place; to replace it would write its keys anew as well.
  const save = db.prepare(`INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    instanceId = excluded.instanceId, status = excluded.status, ttlS = excluded.ttlS, idleS = excluded.idleS,
    reusable = excluded.reusable, createdAt = excluded.createdAt, modifiedAt = excluded.modifiedAt,
    endedAt = excluded.endedAt, endReason = excluded.endReason, usage = excluded.usage`);
  const forget = db.prepare("DELETE FROM sessions WHERE endedAt < ?");
  return {
    find: (functionName, id) => find.get(functionName, id) as unknown as SessionRow | undefined,
    list: (functionName, { after, limit, status = null }) =>
      list.all(functionName, after, status, status, limit) as unknown as SessionRow[],
    save(row) {
      const { instanceId, status, ttlS, idleS, reusable, createdAt, modifiedAt, endedAt, endReason, usage } = row;
      save.run(row.function, row.id, instanceId, status, ttlS, idleS, reusable, createdAt, modifiedAt, endedAt, endReason, usage);
    },
    forget: (endedBefore) => void forget.run(endedBefore),
  };
}
