import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Problem } from "#contract/problem.ts";

const BUSY = 5;
const FULL = 13;
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens a store that several processes share. Readers never wait; one writer at a time does, in microseconds.
 * A write is in the log before it is answered, so that killing the process loses nothing; the log is forced to the
 * disk at checkpoints only, so that a power cut may take the last writes, whole ones and never a middle one.
 */
export function openSqlite(path: string, schema: string): DatabaseSync {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
  try {
    patiently(() => db.exec("PRAGMA journal_mode = WAL"));
    db.exec("PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY");
    patiently(() => db.exec(schema));
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Runs one statement; what SQLite refuses for want of room or of time becomes a Problem. */
export function attempt<T>(statement: () => T): T {
  try {
    return statement();
  } catch (error) {
    const code = errorCode(error);
    if (code === FULL) throw new Problem("disk_full", { detail: "The disk under the store is full." }, error);
    if (code === BUSY) throw new Problem("timeout", { detail: "The store was locked for too long." }, error);
    throw error;
  }
}

// Turning a new file into a WAL one takes the lock in a way that SQLite's own time-out does not cover.
function patiently(step: () => void): void {
  const deadline = Date.now() + BUSY_TIMEOUT_MS;
  for (;;) {
    try {
      return step();
    } catch (error) {
      if (errorCode(error) !== BUSY || Date.now() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

// Extended codes carry the plain one in their low byte.
function errorCode(error: unknown): number | undefined {
  const code = error instanceof Error && "errcode" in error ? error.errcode : undefined;
  return typeof code === "number" ? code & 0xff : undefined;
}
