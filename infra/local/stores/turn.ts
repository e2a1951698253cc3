import type { DatabaseSync } from "node:sqlite";
import { attempt } from "./sqlite.ts";

/** Writes that wait for the end of the turn in which they were asked for. */
export interface TurnWrites {
  /** Answers what the statement answers once it is in the log. */
  write<T>(statement: () => T): Promise<T>;
  /** Writes now what waits. */
  flush(): void;
}

/** How many writes go together at most: while they are written, other processes wait with theirs. */
const TOGETHER = 256;

interface Waiting {
  run: () => unknown;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

/**
 * Writes together, in their order, what was asked for in one turn of the event loop: forcing a page into the log costs
 * more than changing it. Each is answered when all are in the log; when the group cannot be written, each is by itself.
 */
export function writeByTurn(db: DatabaseSync): TurnWrites {
  const begin = db.prepare("BEGIN IMMEDIATE");
  const commit = db.prepare("COMMIT");
  let waiting: Waiting[] = [];

  function flush(): void {
    const all = waiting;
    waiting = [];
    for (let at = 0; at < all.length; at += TOGETHER) writeAll(all.slice(at, at + TOGETHER));
  }

  function writeAll(group: Waiting[]): void {
    try {
      const values = group.length > 1 ? together(group) : undefined;
      for (const [at, one] of group.entries()) {
        if (values) one.resolve(values[at] as never);
        else writeOne(one);
      }
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }

  /** Undefined when nothing is written because one of them cannot be. A lock that is not to be had is waited for once. */
  function together(group: Waiting[]): unknown[] | undefined {
    attempt(() => begin.run());
    try {
      const values = group.map(({ run }) => run());
      commit.run();
      return values;
    } catch {
      if (db.isTransaction) db.exec("ROLLBACK");
      return undefined;
    }
  }

  return {
    write<T>(statement: () => T) {
      if (waiting.length === 0) setImmediate(flush);
      return new Promise<T>((resolve, reject) => waiting.push({ run: statement, resolve, reject }));
    },
    flush,
  };
}

function writeOne({ run, resolve, reject }: Waiting): void {
  try {
    resolve(attempt(run) as never);
  } catch (error) {
    reject(error);
  }
}
