import { compareKeys, tableKey } from "#contract/key.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Row, Tables } from "#core/ports.ts";

/** Tables in memory. Rows are kept as JSON text, so that nobody changes one by holding on to what was read. */
export function memoryTables(): Tables & AsyncDisposable {
  const tables = new Map<string, Map<string, { version: number; json: string }>>();

  function rowsOf(table: string) {
    const rows = tables.get(table) ?? new Map<string, { version: number; json: string }>();
    tables.set(table, rows);
    return rows;
  }

  function write<T>(table: string, key: string, value: T): Row<T> {
    const json = encode(value);
    const version = (rowsOf(table).get(key)?.version ?? 0) + 1;
    rowsOf(table).set(key, { version, json });
    return { key, version, value };
  }

  return {
    async get<T>(table: string, key: string): Promise<Row<T> | undefined> {
      const row = rowsOf(table).get(tableKey(key));
      return row && { key, version: row.version, value: JSON.parse(row.json) as T };
    },
    async put(table, key, value, condition) {
      const version = rowsOf(table).get(tableKey(key))?.version ?? "absent";
      if (condition?.ifVersion !== undefined && condition.ifVersion !== version) throw new Problem("conflict", { table, key });
      return write(table, key, value);
    },
    async add(table, key, by, bound) {
      const row = rowsOf(table).get(tableKey(key));
      const old: unknown = row ? JSON.parse(row.json) : 0;
      if (!Number.isSafeInteger(by) || !Number.isSafeInteger(old)) throw new Problem("invalid_request", { table, key, by });
      const sum = Number(old) + by;
      const ceiling = by > 0 ? (bound?.ceiling ?? Number.MAX_SAFE_INTEGER) : Number.MAX_SAFE_INTEGER;
      if (sum > ceiling) throw new Problem("quota_exceeded", { table, key, by, ceiling });
      return write(table, key, sum).value;
    },
    async remove(table, key, condition) {
      const version = rowsOf(table).get(tableKey(key))?.version;
      if (condition?.ifVersion !== undefined && condition.ifVersion !== version) throw new Problem("conflict", { table, key });
      rowsOf(table).delete(key);
    },
    async range<T>(
      table: string,
      prefix: string,
      { after, limit, descending = false }: { after?: string; limit: number; descending?: boolean },
    ): Promise<Row<T>[]> {
      if (!Number.isSafeInteger(limit) || limit < 1) throw new Problem("invalid_request", { limit });
      const order = descending ? -1 : 1;
      return [...rowsOf(table)]
        .filter(([key]) => key.startsWith(prefix) && (after === undefined || order * compareKeys(key, after) > 0))
        .toSorted(([a], [b]) => order * compareKeys(a, b))
        .slice(0, limit)
        .map(([key, { version, json }]) => ({ key, version, value: JSON.parse(json) as T }));
    },
    async [Symbol.asyncDispose]() {},
  };
}

function encode(value: unknown): string {
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) throw new Problem("invalid_request");
  if (Buffer.byteLength(json) > LIMITS.tableValueBytes) throw new Problem("body_too_large", { maxBytes: LIMITS.tableValueBytes });
  return json;
}
