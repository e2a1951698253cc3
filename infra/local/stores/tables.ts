import type { StatementSync } from "node:sqlite";
import { prefixEnd, tableKey } from "#contract/key.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Row, Tables } from "#core/ports.ts";
import { attempt, openSqlite } from "./sqlite.ts";
import { writeByTurn } from "./turn.ts";

const SCHEMA = `
CREATE TABLE IF NOT EXISTS rows (
  tbl TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (tbl, key)
) STRICT;
`;

// Each write is one statement, under the write lock before it reads: no other process comes between.
// They are run by `all`, to their end: that is where SQLite moves its log into the file; stopping at the one row never would.
const SQL = {
  get: "SELECT version, value FROM rows WHERE tbl = ? AND key = ?",
  put: `INSERT INTO rows VALUES (?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET value = excluded.value, version = version + 1 RETURNING version`,
  create: "INSERT INTO rows VALUES (?, ?, 1, ?) ON CONFLICT DO NOTHING RETURNING version",
  replace: "UPDATE rows SET value = ?, version = version + 1 WHERE tbl = ? AND key = ? AND version = ? RETURNING version",
  add: `WITH
      old AS (SELECT value FROM rows WHERE tbl = $tbl AND key = $key),
      new AS (SELECT coalesce((SELECT CAST(value AS INTEGER) FROM old), 0) + CAST($by AS INTEGER) AS total)
    INSERT INTO rows SELECT $tbl, $key, 1, CAST(total AS TEXT) FROM new
      WHERE total BETWEEN $floor AND $ceiling AND coalesce((SELECT json_type(value) FROM old), 'integer') = 'integer'
    ON CONFLICT DO UPDATE SET value = excluded.value, version = version + 1 RETURNING CAST(value AS INTEGER) AS total`,
  remove: "DELETE FROM rows WHERE tbl = ? AND key = ?",
  removeVersion: "DELETE FROM rows WHERE tbl = ? AND key = ? AND version = ?",
  up: "SELECT key, version, value FROM rows WHERE tbl = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
  down: "SELECT key, version, value FROM rows WHERE tbl = ? AND key >= ? AND key < ? ORDER BY key DESC LIMIT ?",
} as const;

// SQLite orders every blob after every text.
const ABOVE_ALL_TEXT = new Uint8Array(0);

/** Opens the tables kept in one SQLite file; closing twice is one closing. */
export function createTables(path: string): Tables & AsyncDisposable {
  const db = openSqlite(path, SCHEMA);
  const statements = Object.fromEntries(Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)])) as Record<
    keyof typeof SQL,
    StatementSync
  >;

  const turn = writeByTurn(db);

  return {
    async get<T>(table: string, key: string) {
      const found = attempt(() => statements.get.get(table, tableKey(key)));
      return found && rowOf<T>(key, found);
    },

    async put(table, key, value, condition) {
      const json = encode(value);
      const place = tableKey(key);
      const ifVersion = condition?.ifVersion;
      const written = await turn.write(() => {
        if (ifVersion === undefined) return statements.put.all(table, place, json)[0];
        if (ifVersion === "absent") return statements.create.all(table, place, json)[0];
        return statements.replace.all(json, table, place, ifVersion)[0];
      });
      if (!written) throw new Problem("conflict", { table, key });
      return { key, version: Number(written["version"]), value };
    },

    async add(table, key, by, bound) {
      if (!Number.isSafeInteger(by)) throw new Problem("invalid_request", { detail: "Only integers are added.", by });
      const ceiling = by > 0 ? (bound?.ceiling ?? Number.MAX_SAFE_INTEGER) : Number.MAX_SAFE_INTEGER;
      const parameters = { tbl: table, key: tableKey(key), by, floor: Number.MIN_SAFE_INTEGER, ceiling };
      const written = await turn.write(() => statements.add.all(parameters)[0]);
      if (written) return Number(written["total"]);
      const kept = attempt(() => statements.get.get(table, key));
      if (kept && !Number.isSafeInteger(rowOf(key, kept).value))
        throw new Problem("invalid_request", { detail: "The row is no number.", table, key });
      throw new Problem("quota_exceeded", { table, key, by, ceiling });
    },

    async remove(table, key, condition) {
      const ifVersion = condition?.ifVersion;
      const place = tableKey(key);
      if (ifVersion === undefined) {
        await turn.write(() => statements.remove.run(table, place));
        return;
      }
      const { changes } = await turn.write(() => statements.removeVersion.run(table, place, ifVersion));
      if (changes === 0) throw new Problem("conflict", { table, key });
    },

    async range<T>(table: string, prefix: string, page: { after?: string; limit: number; descending?: boolean }) {
      const { after, limit, descending = false } = page;
      if (!Number.isSafeInteger(limit) || limit < 1)
        throw new Problem("invalid_request", { detail: "A page has a limit of at least 1.", limit });
      const found = attempt(() =>
        descending
          ? statements.down.all(table, prefix, upperEnd(prefix, after), limit)
          : statements.up.all(table, lowerEnd(prefix, after), upperEnd(prefix), limit),
      );
      return found.map((row) => rowOf<T>(String(row["key"]), row));
    },

    async [Symbol.asyncDispose]() {
      turn.flush();
      if (db.isOpen) db.close();
    },
  };
}

function encode(value: unknown): string {
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) throw new Problem("invalid_request", { detail: "A row's value is JSON." });
  const sizeBytes = Buffer.byteLength(json);
  if (sizeBytes > LIMITS.tableValueBytes)
    throw new Problem("body_too_large", { detail: "The row is too large.", sizeBytes, maxBytes: LIMITS.tableValueBytes });
  return json;
}

function rowOf<T>(key: string, row: Record<string, unknown>): Row<T> {
  return { key, version: Number(row["version"]), value: JSON.parse(String(row["value"])) as T };
}

// No key has a NUL, so a key with one appended is the smallest possible after it.
function lowerEnd(prefix: string, after: string | undefined): string {
  if (after === undefined || Buffer.compare(Buffer.from(after), Buffer.from(prefix)) < 0) return prefix;
  return `${after}\0`;
}

function upperEnd(prefix: string, after?: string): string | Uint8Array {
  const end = prefixEnd(prefix);
  if (after === undefined) return end ?? ABOVE_ALL_TEXT;
  if (end === undefined) return after;
  return Buffer.compare(Buffer.from(after), Buffer.from(end)) < 0 ? after : end;
}
