import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { SandboxRow } from "#core/sandbox-rows.ts";

/** What a server's stores hold of one project, read beside it. */
export interface Records {
  sandboxes: SandboxRow[];
  /** Rows that must go with their sandboxes, by table. */
  left: Record<string, number>;
  /** What is counted against the project's quotas, by name. */
  counted: Record<string, number>;
  /** Instance of each session that the engine remembers, by the sandbox's id. */
  instances: Map<string, string>;
  sessionsOpen: number;
  messages: number;
  snapshotBytes: { counted: number; held: number; intents: number };
}

export function readRecords(dataDir: string, projectId: string): Records {
  const open = (name: string) => new DatabaseSync(join(dataDir, name), { readOnly: true });
  const [tables, engine, queue] = [open("tables.db"), open("engine.db"), open("queue.db")];
  try {
    const rows = (table: string, key: string) =>
      tables.prepare("SELECT key, value FROM rows WHERE tbl = ? AND key GLOB ?").all(table, key) as { key: string; value: string }[];
    const values = (table: string, key: string) => rows(table, key).map(({ value }) => JSON.parse(value) as Record<string, number>);
    const own = `${projectId}/*`;
    const sessions = engine.prepare("SELECT id, instanceId, status FROM sessions WHERE id GLOB ?").all(`${projectId}_*`);
    const intents = values("snapshot-intents", "*").filter(({ projectId: id }) => String(id) === projectId);
    const held = intents.map(({ heldBytes = 0, askedBytes = 0 }) => heldBytes + askedBytes);
    const kept = values("snapshots", own).map(({ chargedBytes = 0 }) => chargedBytes);
    // One that is still to come is a hint that nobody follows; one that has come is followed.
    const come = rows("due", `*/${projectId}/*`).filter(({ key }) => Number(key.split("/")[0]) <= Date.now());
    return {
      sandboxes: rows("sandboxes", own).map(({ value }) => JSON.parse(value) as SandboxRow),
      left: { living: rows("living", own).length, due: come.length, snapshots: kept.length },
      counted: Object.fromEntries(rows("quotas", own).map(({ key, value }) => [key.slice(projectId.length + 1), Number(value)])),
      instances: new Map(sessions.map(({ id, instanceId }) => [String(id).slice(projectId.length + 1), String(instanceId)])),
      sessionsOpen: sessions.filter(({ status }) => status !== "Expired").length,
      messages: Number(queue.prepare("SELECT count(*) AS count FROM messages").get()?.["count"]),
      snapshotBytes: {
        counted: rows("snapshot-quotas", projectId).reduce((sum, { value }) => sum + Number(value), 0),
        held: [...held, ...kept].reduce((sum, bytes) => sum + bytes, 0),
        intents: intents.length,
      },
    };
  } finally {
    for (const db of [tables, engine, queue]) db.close();
  }
}

/** Lines of the server's log that tell one of these events, oldest first. */
export function eventsOf(dataDir: string, names: readonly string[]): Record<string, unknown>[] {
  return [".1", ""]
    .map((part) => join(dataDir, `log/cleanroom.log${part}`))
    .filter((path) => existsSync(path))
    .flatMap((path) => readFileSync(path, "utf8").split("\n"))
    .filter((line) => names.some((name) => line.includes(`"event":"${name}"`)))
    .map(parsed)
    .filter((event) => event !== undefined);
}

/** A line that a killed process left half written is none. */
function parsed(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
