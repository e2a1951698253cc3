import { randomUUID } from "node:crypto";
import type { StatementSync } from "node:sqlite";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Queue } from "#core/ports.ts";
import { attempt, openSqlite } from "./sqlite.ts";

const SCHEMA = `
CREATE TABLE IF NOT EXISTS messages (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, body TEXT NOT NULL,
  visibleAt INTEGER NOT NULL, attempts INTEGER NOT NULL, dead INTEGER NOT NULL, receipt TEXT UNIQUE
) STRICT;
CREATE INDEX IF NOT EXISTS due ON messages (queue, dead, visibleAt, seq);
CREATE INDEX IF NOT EXISTS tried ON messages (queue, attempts) WHERE dead = 0 AND attempts > 0;
`;

// A receipt is good while the message is out: `visibleAt` is then the end of its time-out, still to come.
const HELD = "queue = $queue AND receipt = $receipt AND dead = 0 AND visibleAt > $now";

const SQL = {
  send: "INSERT INTO messages (id, queue, body, visibleAt, attempts, dead) VALUES ($id, $queue, $body, $visibleAt, 0, 0)",
  due: "SELECT 1 FROM messages WHERE queue = $queue AND dead = 0 AND visibleAt <= $now LIMIT 1",
  bury: `UPDATE messages INDEXED BY tried SET dead = 1, receipt = NULL
    WHERE queue = $queue AND dead = 0 AND attempts > 0 AND attempts >= $maxAttempts AND visibleAt <= $now`,
  receive: `UPDATE messages SET attempts = attempts + 1, visibleAt = $until, receipt = lower(hex(randomblob(16)))
    WHERE seq IN (
      SELECT seq FROM messages WHERE queue = $queue AND dead = 0 AND visibleAt <= $now AND attempts < $maxAttempts
      ORDER BY visibleAt, seq LIMIT $max
    ) RETURNING seq, id, receipt, body, attempts`,
  acknowledge: `DELETE FROM messages WHERE ${HELD}`,
  release: `UPDATE messages SET visibleAt = $visibleAt, receipt = NULL, dead = attempts >= $maxAttempts WHERE ${HELD}`,
  deadLetters: "SELECT id, body, attempts FROM messages WHERE queue = $queue AND dead = 1 ORDER BY visibleAt, seq LIMIT $limit",
  redrive: "UPDATE messages SET dead = 0, attempts = 0, visibleAt = $now WHERE queue = $queue AND id = $id AND dead = 1",
} as const;

/** Opens the queues kept in one SQLite file. Any number of processes may send and receive; each message is held by one at a time. */
export function createQueue(path: string, { maxAttempts, now }: { maxAttempts: number; now: () => number }): Queue & AsyncDisposable {
  const db = openSqlite(path, SCHEMA);
  const statements = Object.fromEntries(Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)])) as Record<
    keyof typeof SQL,
    StatementSync
  >;

  return {
    async send(queue, body, options) {
      if (Buffer.byteLength(body) > LIMITS.messageBytes)
        throw new Problem("body_too_large", { detail: "The message is too large.", maxBytes: LIMITS.messageBytes });
      if (!body.isWellFormed()) throw new Problem("invalid_request", { detail: "A message is Unicode text." });
      const id = randomUUID();
      const visibleAt = now() + delayOf(options);
      attempt(() => statements.send.run({ id, queue, body, visibleAt }));
      return id;
    },

    async receive(queue, { max, visibilityMs }) {
      const visible = whole("visibilityMs", visibilityMs, 1, LIMITS.messageVisibilityMs);
      const at = now();
      whole("max", max, 1, Number.MAX_SAFE_INTEGER);
      // Looking takes no lock, so consumers that find nothing never hold up a sender.
      if (!attempt(() => statements.due.get({ queue, now: at }))) return [];
      attempt(() => statements.bury.run({ queue, now: at, maxAttempts }));
      const taken = attempt(() => statements.receive.all({ queue, now: at, until: at + visible, maxAttempts, max }));
      return taken
        .toSorted((a, b) => Number(a["seq"]) - Number(b["seq"]))
        .map((row) => ({ ...letterOf(row), receipt: String(row["receipt"]) }));
    },

    async acknowledge(queue, receipt) {
      return attempt(() => statements.acknowledge.run({ queue, receipt, now: now() })).changes === 1;
    },

    async release(queue, receipt, options) {
      const at = now();
      const visibleAt = at + delayOf(options);
      return attempt(() => statements.release.run({ queue, receipt, now: at, visibleAt, maxAttempts })).changes === 1;
    },

    async deadLetters(queue, limit) {
      whole("limit", limit, 1, Number.MAX_SAFE_INTEGER);
      attempt(() => statements.bury.run({ queue, now: now(), maxAttempts }));
      return attempt(() => statements.deadLetters.all({ queue, limit })).map(letterOf);
    },

    async redrive(queue, id) {
      return attempt(() => statements.redrive.run({ queue, id, now: now() })).changes === 1;
    },

    async [Symbol.asyncDispose]() {
      if (db.isOpen) db.close();
    },
  };
}

function letterOf(row: Record<string, unknown>) {
  return { id: String(row["id"]), body: String(row["body"]), attempts: Number(row["attempts"]) };
}

function delayOf(options: { delayMs?: number } | undefined): number {
  return whole("delayMs", options?.delayMs ?? 0, 0, LIMITS.messageDelayMs);
}

function whole(name: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new Problem("invalid_request", { detail: `${name} is a whole number from ${min} to ${max}.`, [name]: value });
}
