import type { DatabaseSync } from "node:sqlite";
import { Problem } from "#contract/problem.ts";
import type { KeptDoc, Search, SearchDoc, SearchFilter } from "#core/ports.ts";
import { BLOCK, bytesOf, lengthCodeOf, mergePostings, packPosting, postingsOf } from "./postings.ts";
import { BLOCKS, masked, nearestIn, queryIn, type Masked } from "./search-query.ts";
import {
  docRow,
  facetWord,
  leadsTo,
  lengthOf,
  parametersOf,
  prepareAll,
  SCHEMA,
  totalsOf,
  type DocRow,
  type Statements,
  type Totals,
} from "./search-rows.ts";
import { attempt, openSqlite } from "./sqlite.ts";

type Arguments<Name extends keyof Search> = Parameters<Search[Name]> extends [string, ...infer Rest] ? Rest : never;
type Given = Arguments<"index">[0][number];

const SCANNED = 5000;
const STEP = 500;
const FORGET_TOGETHER = 200;
const CACHE_KIB = 8000;

/** What a batch changes, by word, block and place: a posting, or 0 for none. */
type Changes = Map<string, Map<number, Map<number, number>>>;

/**
 * One space in one file. Postings are our own and not FTS5's, whose BM25 walks every row that has a word: these are read in
 * blocks of 2048 documents and scored at ten million a second, so that a million documents are searched in milliseconds.
 * What is removed is overwritten: `secure_delete` in the file, and a truncated log beside it.
 */
export function openSpace(path: string) {
  const db = openSqlite(path, SCHEMA);
  db.exec(`PRAGMA secure_delete = ON; PRAGMA cache_size = -${CACHE_KIB}`);
  const statements = prepareAll(db);
  let unclean = true;

  return {
    index(docs: Arguments<"index">[0]): void {
      for (const doc of docs) checkWords(doc);
      inTransaction(db, () => write(statements, docs));
    },
    get(ids: readonly string[]): KeptDoc[] {
      return ids.flatMap((id) => docRow(attempt(() => statements.byId.get(id)))?.kept ?? []);
    },
    query: (query: Arguments<"query">[0]) => attempt(() => queryIn(statements, query)),
    nearest: (query: Arguments<"nearest">[0]) => attempt(() => nearestIn(statements, query)),
    list: (page: Arguments<"list">[0]) => attempt(() => listIn(statements, page)),
    forget(ids: readonly string[]): string[] {
      const gone: string[] = [];
      for (let at = 0; at < ids.length; at += FORGET_TOGETHER) {
        const some = ids.slice(at, at + FORGET_TOGETHER);
        inTransaction(db, () => gone.push(...remove(statements, some)));
      }
      // A reader in another process may hold the log; then the next call does it.
      if (gone.length > 0) unclean = true;
      if (unclean) unclean = Number(attempt(() => db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get())?.["busy"]) !== 0;
      return gone;
    },
    expired: (nowMs: number, limit: number) => attempt(() => statements.expired.all(nowMs, limit)).map((row) => String(row["id"])),
    values(facet: string, { after = "", limit }: Arguments<"values">[1]) {
      const lead = facetWord(facet, "");
      const rows = attempt(() => statements.values.all(lead + after, `${lead}\u{10FFFF}`, limit));
      return rows.map((row) => ({ value: String(row["word"]).slice(lead.length), docs: Number(row["docs"]) }));
    },
    size: () => ({ docs: totalsOf(statements).docs, bytes: Number(statements.pages.get()?.["bytes"]) }),
    close: () => db.close(),
  };
}

export type Space = ReturnType<typeof openSpace>;

function write(statements: Statements, docs: readonly Given[]): void {
  const totals = totalsOf(statements);
  const changes: Changes = new Map();
  for (const { ifVersion, ...doc } of docs) {
    const old = docRow(statements.byId.get(doc.id));
    if (ifVersion !== undefined && ifVersion !== (old?.kept.version ?? "absent")) throw new Problem("conflict", { id: doc.id });
    if (old) taken(totals, changes, old);
    const number = old?.doc ?? freeNumber(statements, totals);
    const code = lengthCodeOf(lengthOf(doc.words));
    for (const [word, counts] of leadsTo(doc)) change(changes, word, number, (place) => packPosting(place, counts, code));
    counted(totals, doc, 1);
    statements.put.run(parametersOf(number, (old?.kept.version ?? 0) + 1, doc));
  }
  apply(statements, changes);
  statements.setTotals.run(totals.docs, totals.found, totals.length, totals.next);
}

function remove(statements: Statements, ids: readonly string[]): string[] {
  const totals = totalsOf(statements);
  const changes: Changes = new Map();
  const gone: string[] = [];
  for (const id of ids) {
    const old = docRow(statements.byId.get(id));
    if (!old) continue;
    taken(totals, changes, old);
    statements.remove.run(old.doc);
    statements.giveFree.run(old.doc);
    gone.push(id);
  }
  apply(statements, changes);
  statements.setTotals.run(totals.docs, totals.found, totals.length, totals.next);
  return gone;
}

function taken(totals: Totals, changes: Changes, { doc, kept }: DocRow): void {
  for (const word of leadsTo(kept).keys()) change(changes, word, doc, () => 0);
  counted(totals, kept, -1);
}

function counted(totals: Totals, doc: Pick<SearchDoc, "words">, by: 1 | -1): void {
  totals.docs += by;
  if (doc.words.length === 0) return;
  totals.found += by;
  totals.length += by * lengthOf(doc.words);
}

/** Numbers that were given back are given out again, so that what a query holds in memory grows with the documents alone. */
function freeNumber(statements: Statements, totals: Totals): number {
  const free = statements.takeFree.all()[0];
  if (free) return Number(free["doc"]);
  totals.next += 1;
  return totals.next - 1;
}

function change(changes: Changes, word: string, doc: number, posting: (place: number) => number): void {
  const block = Math.floor(doc / BLOCK);
  let blocks = changes.get(word);
  if (!blocks) changes.set(word, (blocks = new Map()));
  let places = blocks.get(block);
  if (!places) blocks.set(block, (places = new Map()));
  places.set(doc % BLOCK, posting(doc % BLOCK));
}

function apply(statements: Statements, changes: Changes): void {
  for (const [word, blocks] of changes) {
    const known = statements.word.get(word);
    let having = Number(known?.["docs"] ?? 0);
    const number = Number(known?.["number"] ?? statements.addWord.all(word, 0)[0]?.["number"]);
    for (const [block, places] of blocks) {
      const key = number * BLOCKS + block;
      const old = postingsOf(statements.posting.get(key)?.["data"] as Uint8Array | undefined);
      const merged = mergePostings(old, places);
      having += merged.length - old.length;
      if (merged.length > 0) statements.putPosting.run(key, bytesOf(merged));
      else if (old.length > 0) statements.removePosting.run(key);
    }
    // A word that nothing has any more is forgotten like what had it.
    if (having > 0) statements.countWord.run(having, number);
    else statements.removeWord.run(number);
  }
}

function listIn(statements: Statements, { prefix = "", filter, after, limit, descending = false, nowMs }: Arguments<"list">[0]): KeptDoc[] {
  const filtered = masked(statements, filter, totalsOf(statements).next);
  const end = `${prefix}\u{10FFFF}`;
  const start = after ?? (descending ? end : prefix);
  const kept: KeptDoc[] = [];
  for (const doc of inOrder(statements, filtered, start, descending)) {
    const row = docRow(statements.byDoc.get(doc));
    if (!row || (descending ? row.kept.id < prefix : row.kept.id > end)) break;
    if (row.kept.id.startsWith(prefix) && isShown(row.kept, filter, nowMs)) kept.push(row.kept);
    if (kept.length === limit) break;
  }
  return kept;
}

/** The documents beyond an id, in the order of ids: by looking up the few that a filter lets through, or by going along all. */
function* inOrder(statements: Statements, filtered: Masked | undefined, start: string, descending: boolean): Generator<number> {
  if (filtered?.docs && filtered.docs.length <= SCANNED) {
    const rows = filtered.docs
      .map((doc) => ({ doc, id: String(statements.idOf.get(doc)?.["id"]) }))
      .filter(({ id }) => (descending ? id < start : id > start));
    rows.sort((a, b) => (a.id < b.id === descending ? 1 : -1));
    yield* rows.map(({ doc }) => doc);
    return;
  }
  for (let from = start; ;) {
    const rows = (descending ? statements.down : statements.up).all(from, STEP);
    for (const row of rows) if (!filtered || filtered.lets(Number(row["doc"]))) yield Number(row["doc"]);
    const last = rows.at(-1);
    if (!last) return;
    from = String(last["id"]);
  }
}

function isShown(doc: KeptDoc, { fromMs, toMs }: SearchFilter, nowMs: number | undefined): boolean {
  if (nowMs !== undefined && doc.expiresAtMs !== undefined && doc.expiresAtMs <= nowMs) return false;
  return (fromMs === undefined || doc.atMs >= fromMs) && (toMs === undefined || doc.atMs < toMs);
}

/** A document that none of its batch may be without: all are written or none. */
function inTransaction(db: DatabaseSync, step: () => void): void {
  attempt(() => db.exec("BEGIN IMMEDIATE"));
  try {
    attempt(step);
    attempt(() => db.exec("COMMIT"));
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

function checkWords({ id, words, before, after }: SearchDoc): void {
  for (const list of [words, before ?? [], after ?? []])
    for (const word of list)
      if (word === "" || /[\s\p{Cc}]/u.test(word))
        throw new Problem("invalid_request", { detail: "A word has no spaces and no control characters.", id });
}
