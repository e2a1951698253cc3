import { LIMITS } from "#contract/limits.ts";
import type { MemoryFilter, MemoryHit, SearchMemory } from "#contract/memory.ts";
import type { Platform, SearchHit, SearchWord } from "#core/ports.ts";
import { projectItself } from "#core/usage/counts.ts";
import type { Owner } from "./collections.ts";
import { dateWords, spansIn } from "./dates.ts";
import { filterOf, type KeptRecord } from "./documents.ts";
import { type Place, placeOf, vectorsFor } from "./records.ts";
import { wordsOf } from "./words.ts";

/** What half a score is: BM25 has no highest. */
const HALF = 8;
/** How much a rank counts beside the others when two ways of looking are joined. */
const RANK = 60;
const DATE_WEIGHT = 1;

/** What is remembered that a question is about, the best first, with why. */
export async function searchMemory(
  platform: Platform,
  owner: Owner,
  name: string,
  asked: SearchMemory,
  signal?: AbortSignal,
): Promise<{ hits: MemoryHit[] }> {
  const place = await placeOf(platform, owner, name);
  platform.counts.count(projectItself(owner.id), { memory_retrievals: 1 });
  const { query, filter, limit, minScore } = asked;
  const nowMs = asked.now === undefined ? platform.clock.now() : Date.parse(asked.now);
  const lexical = await byWords(place, query, filter, place.collection.embeddings ? Math.max(50, limit) : limit, nowMs);
  const hits = place.collection.embeddings ? joined(lexical, await byMeaning(place, query, filter, Math.max(50, limit), signal)) : lexical;
  return { hits: hits.filter(({ score }) => score >= minScore).slice(0, limit) };
}

/** The words and the dates of a question. The same word twice is one word; of a very long question the first words count. */
export function askedWords(query: string, nowMs: number): SearchWord[] {
  const words = [...new Set(wordsOf(query))].slice(0, LIMITS.memoryQueryWords).map((word) => ({ word, weight: 1 }));
  const dates = new Set(spansIn(query, nowMs).flatMap((span) => dateWords(span, "asked")));
  return [...words, ...[...dates].slice(0, LIMITS.memoryQueryWords).map((word) => ({ word, weight: DATE_WEIGHT }))];
}

async function byWords(
  { platform, space }: Place,
  query: string,
  filter: MemoryFilter,
  limit: number,
  nowMs: number,
): Promise<MemoryHit[]> {
  const words = askedWords(query, nowMs);
  if (words.length === 0) return [];
  const found = await platform.search.query<KeptRecord>(space, { words, filter: filterOf(filter), limit, nowMs: platform.clock.now() });
  return found.map(({ value, score, why }) => ({
    record: value.record,
    score: score / (score + HALF),
    why: why.map((one) => ({ ...one, kind: one.word.startsWith("@") ? "date" : "word" })),
  }));
}

async function byMeaning(
  place: Place,
  query: string,
  filter: MemoryFilter,
  limit: number,
  signal?: AbortSignal,
): Promise<SearchHit<KeptRecord>[]> {
  const { platform, space } = place;
  const [vector] = await vectorsFor(place, [query], signal);
  if (!vector) return [];
  return platform.search.nearest<KeptRecord>(space, { vector, filter: filterOf(filter), limit, nowMs: platform.clock.now() });
}

/** Two lists joined by the ranks in each: their scores say nothing of each other. */
function joined(lexical: readonly MemoryHit[], near: readonly SearchHit<KeptRecord>[]): MemoryHit[] {
  const hits = new Map<string, MemoryHit>();
  for (const [rank, { record, why }] of lexical.entries()) hits.set(record.id, { record, why, score: rankScore(rank) });
  for (const [rank, { id, value, score }] of near.entries()) {
    const known = hits.get(id) ?? { record: value.record, why: [], score: 0 };
    const why = { kind: "meaning" as const, word: "", field: "vector" as const, score };
    hits.set(id, { ...known, score: known.score + rankScore(rank), why: [...known.why, why] });
  }
  return [...hits.values()].toSorted((a, b) => b.score - a.score);
}

function rankScore(rank: number): number {
  return (RANK + 1) / (RANK + 1 + rank) / 2;
}
