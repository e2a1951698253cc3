import { DatabaseSync } from "node:sqlite";

const SCHEMA = `
CREATE TABLE IF NOT EXISTS functions (
  name TEXT PRIMARY KEY, id TEXT NOT NULL, definition TEXT NOT NULL, checksum TEXT NOT NULL, codeSize INTEGER NOT NULL,
  reserved INTEGER, asyncConfig TEXT, createdAt INTEGER NOT NULL, modifiedAt INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS triggers (
  function TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, definition TEXT NOT NULL,
  createdAt INTEGER NOT NULL, modifiedAt INTEGER NOT NULL, PRIMARY KEY (function, name)
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
  function TEXT NOT NULL, id TEXT NOT NULL, instanceId TEXT NOT NULL, status TEXT NOT NULL,
  ttlS INTEGER NOT NULL, idleS INTEGER NOT NULL, reusable INTEGER NOT NULL, createdAt INTEGER NOT NULL, modifiedAt INTEGER NOT NULL,
  endedAt INTEGER, endReason TEXT, usage TEXT, PRIMARY KEY (function, id)
) STRICT;
CREATE INDEX IF NOT EXISTS ended ON sessions (endedAt) WHERE endedAt IS NOT NULL;
CREATE TABLE IF NOT EXISTS tasks (
  function TEXT NOT NULL, id TEXT NOT NULL, requestId TEXT NOT NULL, status TEXT NOT NULL, payload BLOB NOT NULL,
  headers TEXT NOT NULL, retries INTEGER NOT NULL, dueAt INTEGER NOT NULL, createdAt INTEGER NOT NULL,
  startedAt INTEGER, endedAt INTEGER, error TEXT, events TEXT NOT NULL, PRIMARY KEY (function, id)
) STRICT;
CREATE INDEX IF NOT EXISTS due ON tasks (dueAt) WHERE endedAt IS NULL;
CREATE TABLE IF NOT EXISTS scalings (function TEXT PRIMARY KEY, config TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS processes (pid INTEGER PRIMARY KEY, startedAt TEXT NOT NULL, function TEXT NOT NULL) STRICT;
`;

/** Opens the engine's state. A write is on disk in the log before it is answered, so that SIGKILL loses nothing. */
export function openDatabase(path: string): DatabaseSync {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 2000;");
  db.exec(SCHEMA);
  return db;
}
