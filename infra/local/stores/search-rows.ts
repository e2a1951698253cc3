import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { KeptDoc, SearchDoc } from "#core/ports.ts";
import type { Counts } from "./postings.ts";

export const SCHEMA = `
CREATE TABLE IF NOT EXISTS docs (
  doc INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, at INTEGER NOT NULL, expires INTEGER,
  facets TEXT NOT NULL, words TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, vector BLOB, value TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS docs_at ON docs (at);
CREATE INDEX IF NOT EXISTS docs_expires ON docs (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS docs_vector ON docs (at) WHERE vector IS NOT NULL;
CREATE TABLE IF NOT EXISTS words (number INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE, docs INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS postings (place INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS free (doc INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS totals (
  one INTEGER PRIMARY KEY CHECK (one = 1), docs INTEGER NOT NULL, found INTEGER NOT NULL, length INTEGER NOT NULL, next INTEGER NOT NULL
) STRICT;
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0, 0);
`;

const SQL = {
  byId: "SELECT * FROM docs WHERE id = ?",
  byDoc: "SELECT * FROM docs WHERE doc = ?",
  times: "SELECT at, expires FROM docs WHERE doc = ?",
  idOf: "SELECT id FROM docs WHERE doc = ?",
  put: "INSERT OR REPLACE INTO docs VALUES ($doc, $id, $version, $at, $expires, $facets, $words, $before, $after, $vector, $value)",
  remove: "DELETE FROM docs WHERE doc = ?",
  between: "SELECT doc FROM docs WHERE at >= ? AND at < ? LIMIT ?",
  up: "SELECT doc, id FROM docs WHERE id > ? ORDER BY id LIMIT ?",
  down: "SELECT doc, id FROM docs WHERE id < ? ORDER BY id DESC LIMIT ?",
  expired: "SELECT id FROM docs WHERE expires <= ? ORDER BY expires LIMIT ?",
  vectors: "SELECT doc, at, expires, vector FROM docs WHERE vector IS NOT NULL AND at >= ? AND at < ? ORDER BY at DESC",
  values: "SELECT word, docs FROM words WHERE word > ? AND word < ? ORDER BY word LIMIT ?",
  word: "SELECT number, docs FROM words WHERE word = ?",
  addWord: "INSERT INTO words (word, docs) VALUES (?, ?) RETURNING number",
  countWord: "UPDATE words SET docs = ? WHERE number = ?",
  removeWord: "DELETE FROM words WHERE number = ?",
  posting: "SELECT data FROM postings WHERE place = ?",
  postings: "SELECT place, data FROM postings WHERE place >= ? AND place < ?",
  putPosting: "INSERT INTO postings VALUES (?, ?) ON CONFLICT DO UPDATE SET data = excluded.data",
  removePosting: "DELETE FROM postings WHERE place = ?",
  takeFree: "DELETE FROM free WHERE doc = (SELECT min(doc) FROM free) RETURNING doc",
  giveFree: "INSERT INTO free VALUES (?)",
  totals: "SELECT docs, found, length, next FROM totals",
  setTotals: "UPDATE totals SET docs = ?, found = ?, length = ?, next = ?",
  pages: "SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()",
} as const;

export type Statements = Record<keyof typeof SQL, StatementSync>;

export function prepareAll(db: DatabaseSync): Statements {
  return Object.fromEntries(Object.entries(SQL).map(([name, sql]) => [name, db.prepare(sql)])) as Statements;
}

/** All documents, those that words can find, how many words these have together, and the next document's number. */
export interface Totals {
  docs: number;
  found: number;
  length: number;
  next: number;
}

export function totalsOf(statements: Statements): Totals {
  const row = statements.totals.get() ?? {};
  return { docs: Number(row["docs"]), found: Number(row["found"]), length: Number(row["length"]), next: Number(row["next"]) };
}

/** A document's row, read. */
export interface DocRow {
  doc: number;
  kept: KeptDoc;
}

export function docRow(row: Record<string, unknown> | undefined): DocRow | undefined {
  if (!row) return undefined;
  const vector = row["vector"] instanceof Uint8Array ? vectorOf(row["vector"]) : undefined;
  const kept: KeptDoc = {
    id: String(row["id"]),
    version: Number(row["version"]),
    atMs: Number(row["at"]),
    ...(row["expires"] === null ? {} : { expiresAtMs: Number(row["expires"]) }),
    facets: JSON.parse(String(row["facets"])) as Record<string, string>,
    words: listOf(row["words"]),
    before: listOf(row["before"]),
    after: listOf(row["after"]),
    ...(vector ? { vector: [...vector] } : {}),
    value: JSON.parse(String(row["value"])) as unknown,
  };
  return { doc: Number(row["doc"]), kept };
}

export function parametersOf(doc: number, version: number, given: SearchDoc) {
  return {
    doc,
    id: given.id,
    version,
    at: given.atMs,
    expires: given.expiresAtMs ?? null,
    facets: JSON.stringify(given.facets),
    words: given.words.join(" "),
    before: (given.before ?? []).join(" "),
    after: (given.after ?? []).join(" "),
    vector: given.vector ? new Uint8Array(Float32Array.from(given.vector).buffer) : null,
    value: JSON.stringify(given.value),
  };
}

export function vectorOf(blob: Uint8Array): Float32Array {
  const bytes = blob.byteOffset % 4 === 0 ? blob : blob.slice();
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** What no word begins with: so that a facet is never found as a word, nor a word taken for a facet. */
const FACET = "\u0001";

export function facetWord(name: string, value: string): string {
  return `${FACET}${name}${FACET}${value}`;
}

/** Everything that leads to a document: its words with their counts, and its facets. */
export function leadsTo(doc: Pick<SearchDoc, "words" | "before" | "after" | "facets">): Map<string, Counts> {
  const leads = new Map<string, Counts>();
  if (doc.words.length > 0) {
    for (const field of ["text", "before", "after"] as const)
      for (const word of (field === "text" ? doc.words : doc[field]) ?? []) {
        const counts = leads.get(word) ?? { text: 0, before: 0, after: 0 };
        counts[field] += 1;
        leads.set(word, counts);
      }
  }
  for (const [name, value] of Object.entries(doc.facets)) leads.set(facetWord(name, value), { text: 1, before: 0, after: 0 });
  return leads;
}

/** Words that stand for a date count for no length: each document has some. */
export function lengthOf(words: readonly string[]): number {
  return words.reduce((sum, word) => sum + (word.startsWith("@") ? 0 : 1), 0);
}

function listOf(text: unknown): string[] {
  return typeof text === "string" && text !== "" ? text.split(" ") : [];
}
