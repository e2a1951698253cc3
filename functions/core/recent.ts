import type { Clock, Recent, Row, Tables } from "./ports.ts";

const TTL_MS = 1000;
const LIMIT = 20_000;

interface Memory {
  row: Row | undefined;
  expiresAtMs: number;
}

/**
 * Tables whose rows are remembered for a second by `recent`. Every write through these tables forgets the row, before
 * and after, so that only another process's write can go unseen, and for a second at most.
 */
export function rememberRows(tables: Tables, clock: Clock): { tables: Tables; recent: Recent } {
  const memories = new Map<string, Memory>();
  let generation = 0;

  function forget(id: string): void {
    generation += 1;
    memories.delete(id);
  }

  async function changing<T>(table: string, key: string, change: () => Promise<T>): Promise<T> {
    const id = `${table}\0${key}`;
    forget(id);
    try {
      return await change();
    } finally {
      forget(id);
    }
  }

  async function get<T>(table: string, key: string): Promise<Row<T> | undefined> {
    const id = `${table}\0${key}`;
    const known = memories.get(id);
    if (known && known.expiresAtMs > clock.now()) return known.row as Row<T> | undefined;
    const before = generation;
    const expiresAtMs = clock.now() + TTL_MS;
    const row = await tables.get<T>(table, key);
    // A write that came between makes what was read too old to keep; a missing row is not kept, so that it is seen once it exists.
    if (row && before === generation) remember(memories, id, { row, expiresAtMs });
    return row;
  }

  return {
    tables: {
      get: (table, key) => tables.get(table, key),
      range: (table, prefix, page) => tables.range(table, prefix, page),
      put: (table, key, value, condition) => changing(table, key, () => tables.put(table, key, value, condition)),
      add: (table, key, by, bound) => changing(table, key, () => tables.add(table, key, by, bound)),
      remove: (table, key, condition) => changing(table, key, () => tables.remove(table, key, condition)),
    },
    recent: { get },
  };
}

function remember(memories: Map<string, Memory>, id: string, memory: Memory): void {
  memories.delete(id);
  memories.set(id, memory);
  if (memories.size <= LIMIT) return;
  const oldest = memories.keys().next();
  if (!oldest.done) memories.delete(oldest.value);
}
