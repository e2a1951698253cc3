import { LIMITS } from "#contract/limits.ts";
import type { Search, SearchFilter, SearchHit, SearchMatch, SearchWord } from "#core/ports.ts";
import { BLOCK, idfOf, lengthCodeOf, postingsOf, scorer, type Postings } from "./postings.ts";
import { docRow, facetWord, leadsTo, lengthOf, totalsOf, vectorOf, type DocRow, type Statements } from "./search-rows.ts";

/** The first bits of a posting's key are its word's number, the last ones its block. */
export const BLOCKS = 2 ** 20;
/** Up to so many blocks are asked for one by one; more are read in a row. */
const BLOCKS_ALONE = 48;
/** Up to so many documents of a stretch of time are looked up ahead; of more, each is looked at when it is found. */
const TIMES_AHEAD = 20_000;
/** From so small a share of the documents on, those that a filter lets through are looked up one by one. */
const FEW = 16;
const NEVER = Number.MAX_SAFE_INTEGER;
const PLACE_SHIFT = 20;
const BARRED = 255;

/** Which documents a filter's facets let through. */
export interface Masked {
  /** Undefined when they are nearly all. */
  docs: readonly number[] | undefined;
  lets(doc: number): boolean;
  /** The blocks that have any; undefined when they are nearly all. */
  blocks: readonly number[] | undefined;
}

/** Scores by document; where only a few were looked at, which. */
interface Scored {
  scores: Float32Array;
  few: readonly number[] | undefined;
}

interface Word {
  word: string;
  idf: number;
  number: number;
}

/** Undefined when nothing is asked that facets answer. The rarest is read first, and of the others only where it is. */
export function masked(statements: Statements, filter: SearchFilter, size: number): Masked | undefined {
  const { fromMs, toMs } = filter;
  const groups = Object.entries(filter.facets ?? {})
    .map(([name, values]) => groupOf(statements, name, values))
    .toSorted((a, b) => a.docs - b.docs);
  const inTime =
    fromMs === undefined && toMs === undefined ? undefined : statements.between.all(fromMs ?? -NEVER, toMs ?? NEVER, TIMES_AHEAD + 1);
  let docs = inTime && inTime.length <= TIMES_AHEAD ? inTime.map((row) => Number(row["doc"])) : undefined;
  const barred = Object.entries(filter.without ?? {}).flatMap(([name, values]) => groupOf(statements, name, values).numbers);
  if (!docs && groups.length === 0 && barred.length === 0) return undefined;
  const steps = new Uint8Array(size);
  for (const number of barred)
    eachPosting(statements, number, undefined, (postings, base) => {
      for (const posting of postings) steps[base + (posting >>> PLACE_SHIFT)] = BARRED;
    });
  if (!docs && groups.length === 0) return { docs: undefined, lets: (doc) => steps[doc] !== BARRED, blocks: undefined };
  docs = docs?.filter((doc) => steps[doc] !== BARRED);
  for (const doc of docs ?? []) steps[doc] = 1;
  let step = docs ? 1 : 0;
  for (const { numbers } of groups) {
    const passed: number[] = [];
    const blocks = docs && blocksOf(docs);
    for (const number of numbers)
      eachPosting(statements, number, blocks, (postings, base) => {
        for (const posting of postings) {
          const doc = base + (posting >>> PLACE_SHIFT);
          if (steps[doc] !== step) continue;
          steps[doc] = step + 1;
          passed.push(doc);
        }
      });
    docs = passed;
    step += 1;
  }
  const passed = docs ?? [];
  return { docs: passed, lets: (doc) => steps[doc] === step, blocks: blocksOf(passed) };
}

function groupOf(statements: Statements, name: string, values: readonly string[]): { docs: number; numbers: number[] } {
  const rows = [...new Set(values)].map((value) => statements.word.get(facetWord(name, value))).filter((row) => row !== undefined);
  return { docs: rows.reduce((sum, row) => sum + Number(row["docs"]), 0), numbers: rows.map((row) => Number(row["number"])) };
}

function blocksOf(docs: readonly number[]): number[] {
  return [...new Set(docs.map((doc) => Math.floor(doc / BLOCK)))];
}

/** Scores every document that has one of the words, and answers the best that the filter lets through. */
export function queryIn(statements: Statements, { words, filter, limit, nowMs }: Parameters<Search["query"]>[1]): SearchHit[] {
  const totals = totalsOf(statements);
  const known = words.flatMap((word) => wordIn(statements, word, totals.found));
  const filtered = masked(statements, filter, totals.next);
  if (known.length === 0 || filtered?.docs?.length === 0) return [];
  const { score, parts } = scorer(totals.length / Math.max(1, totals.found));
  const scores = new Float32Array(totals.next);
  const few = filtered?.docs && filtered.docs.length * FEW <= totals.next ? filtered.docs.toSorted((a, b) => a - b) : undefined;
  for (const { number, idf } of known)
    eachPosting(statements, number, filtered?.blocks, (postings, base) => {
      if (few) {
        for (const [doc, posting] of ofFew(postings, base, few)) scores[doc] = (scores[doc] ?? 0) + score(posting, idf);
        return;
      }
      for (const posting of postings) {
        const doc = base + (posting >>> PLACE_SHIFT);
        scores[doc] = (scores[doc] ?? 0) + score(posting, idf);
      }
    });
  if (filtered && !few) for (let doc = 0; doc < scores.length; doc += 1) if (scores[doc] !== 0 && !filtered.lets(doc)) scores[doc] = 0;
  const shown = isShown(statements, filter, nowMs);
  return best({ scores, few }, limit, shown).map((doc) => hitOf(docRow(statements.byDoc.get(doc)), scores[doc] ?? 0, known, parts));
}

/** The postings of those of some documents, in order, that are in this block and have one: looked up, since they are few. */
function* ofFew(postings: Postings, base: number, docs: readonly number[]): Generator<[number, number]> {
  for (let at = firstFrom(docs, base); at < docs.length; at += 1) {
    const doc = docs[at] ?? 0;
    if (doc >= base + BLOCK) return;
    const place = ((doc - base) << PLACE_SHIFT) >>> 0;
    const posting = postings[firstFrom(postings, place)];
    if (posting !== undefined && posting >>> PLACE_SHIFT === doc - base) yield [doc, posting];
  }
}

/** Where in numbers that rise the first is that is not below. */
function firstFrom(numbers: ArrayLike<number>, least: number): number {
  let [from, to] = [0, numbers.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((numbers[middle] ?? 0) < least) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Compares vectors one by one, the newest first, as many as the limit says. */
export function nearestIn(statements: Statements, { vector, filter, limit, nowMs }: Parameters<Search["nearest"]>[1]): SearchHit[] {
  const filtered = masked(statements, filter, totalsOf(statements).next);
  const near: { doc: number; score: number }[] = [];
  let compared = 0;
  for (const row of statements.vectors.iterate(filter.fromMs ?? -NEVER, filter.toMs ?? NEVER)) {
    const doc = Number(row["doc"]);
    if (filtered && !filtered.lets(doc)) continue;
    if (row["expires"] !== null && Number(row["expires"]) <= nowMs) continue;
    if ((compared += 1) > LIMITS.memoryVectorsCompared) break;
    const other = vectorOf(row["vector"] as Uint8Array);
    if (other.length === vector.length) near.push({ doc, score: dot(vector, other) });
  }
  near.sort((a, b) => b.score - a.score);
  return near.slice(0, limit).map(({ doc, score }) => hitOf(docRow(statements.byDoc.get(doc)), score, [], undefined));
}

function wordIn(statements: Statements, { word, weight }: SearchWord, documents: number): Word[] {
  const row = statements.word.get(word);
  if (!row || word.startsWith("\u0001")) return [];
  return [{ word, number: Number(row["number"]), idf: weight * idfOf(documents, Number(row["docs"])) }];
}

function eachPosting(
  statements: Statements,
  number: number,
  blocks: readonly number[] | undefined,
  visit: (postings: Postings, base: number) => void,
): void {
  if (blocks && blocks.length <= BLOCKS_ALONE) {
    for (const block of blocks) {
      const row = statements.posting.get(number * BLOCKS + block);
      if (row) visit(postingsOf(row["data"] as Uint8Array), block * BLOCK);
    }
    return;
  }
  for (const row of statements.postings.iterate(number * BLOCKS, (number + 1) * BLOCKS))
    visit(postingsOf(row["data"] as Uint8Array), (Number(row["place"]) - number * BLOCKS) * BLOCK);
}

/** The best documents that may be shown. More are picked when too few of them may. */
function best(scored: Scored, limit: number, shown: (doc: number) => boolean): number[] {
  for (let size = limit + 16; ; size *= 8) {
    const { docs, all } = highest(scored, size);
    const found: number[] = [];
    for (const doc of docs) {
      if (found.length === limit) break;
      if (shown(doc)) found.push(doc);
    }
    if (all || found.length === limit) return found;
  }
}

/** The highest scores by a heap whose root is the least of them; the newer document first among equals. */
function highest({ scores, few }: Scored, size: number): { docs: number[]; all: boolean } {
  const heap: number[] = [];
  const below = (a: number, b: number) => (scores[a] ?? 0) - (scores[b] ?? 0) || a - b;
  let all = true;
  const looked = few?.length ?? scores.length;
  for (let at = 0; at < looked; at += 1) {
    const doc = few ? (few[at] ?? 0) : at;
    if (scores[doc] === 0) continue;
    if (heap.length < size) {
      heap.push(doc);
      up(heap, below);
      continue;
    }
    all = false;
    if (below(doc, heap[0] ?? 0) <= 0) continue;
    heap[0] = doc;
    down(heap, below);
  }
  return { docs: heap.sort((a, b) => below(b, a)), all };
}

type Order = (a: number, b: number) => number;

function up(heap: number[], below: Order): void {
  for (let at = heap.length - 1; at > 0;) {
    const parent = (at - 1) >> 1;
    if (below(heap[at] ?? 0, heap[parent] ?? 0) >= 0) return;
    swap(heap, at, parent);
    at = parent;
  }
}

function down(heap: number[], below: Order): void {
  for (let at = 0; ;) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) if (child < heap.length && below(heap[child] ?? 0, heap[least] ?? 0) < 0) least = child;
    if (least === at) return;
    swap(heap, at, least);
    at = least;
  }
}

function swap(heap: number[], a: number, b: number): void {
  const kept = heap[a] ?? 0;
  heap[a] = heap[b] ?? 0;
  heap[b] = kept;
}

function isShown(statements: Statements, { fromMs, toMs }: SearchFilter, nowMs: number): (doc: number) => boolean {
  return (doc) => {
    const row = statements.times.get(doc);
    if (!row || (row["expires"] !== null && Number(row["expires"]) <= nowMs)) return false;
    const at = Number(row["at"]);
    return (fromMs === undefined || at >= fromMs) && (toMs === undefined || at < toMs);
  };
}

function hitOf(
  row: DocRow | undefined,
  score: number,
  words: readonly Word[],
  parts: ReturnType<typeof scorer>["parts"] | undefined,
): SearchHit {
  const { id, value } = row?.kept ?? { id: "", value: undefined };
  const why: SearchMatch[] = [];
  if (row && parts) {
    const leads = leadsTo(row.kept);
    const code = lengthCodeOf(lengthOf(row.kept.words));
    for (const { word, idf } of words) {
      const counts = leads.get(word);
      if (!counts) continue;
      const each = parts(counts, code, idf);
      for (const field of ["text", "before", "after"] as const) if (each[field] > 0) why.push({ word, field, score: each[field] });
    }
    why.sort((a, b) => b.score - a.score);
  }
  return { id, score, value, why };
}

function dot(a: readonly number[], b: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < b.length; at += 1) sum += (a[at] ?? 0) * (b[at] ?? 0);
  return sum;
}
