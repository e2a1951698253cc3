import { Problem } from "#contract/problem.ts";
import type { KeptDoc, Search, SearchFilter, SearchHit, SearchMatch } from "#core/ports.ts";

/** Documents in memory, scored as plainly as BM25 can be written. */
export function memorySearch(): Search & AsyncDisposable {
  const spaces = new Map<string, Map<string, KeptDoc>>();
  const docsOf = (space: string) => {
    const docs = spaces.get(space) ?? new Map<string, KeptDoc>();
    spaces.set(space, docs);
    return docs;
  };

  return {
    async index(space, docs) {
      const written = new Map(docsOf(space));
      for (const { ifVersion, ...doc } of docs) {
        const version = written.get(doc.id)?.version;
        if (ifVersion !== undefined && ifVersion !== (version ?? "absent")) throw new Problem("conflict", { id: doc.id });
        written.set(doc.id, structuredClone({ ...doc, version: (version ?? 0) + 1 }));
      }
      spaces.set(space, written);
    },
    async get(space, ids) {
      return ids.flatMap((id) => docsOf(space).get(id) ?? []).map(copy);
    },
    async query(space, { words, filter, limit, nowMs }) {
      const all = [...docsOf(space).values()].filter((doc) => doc.words.length > 0);
      const hits = all.filter((doc) => passes(doc, filter, nowMs)).map((doc) => hitOf(doc, all, words));
      return ranked(hits, limit) as SearchHit<never>[];
    },
    async nearest(space, { vector, filter, limit, nowMs }) {
      const hits = [...docsOf(space).values()]
        .filter((doc) => doc.vector?.length === vector.length && passes(doc, filter, nowMs))
        .map(({ id, value, vector: other = [] }) => ({
          id,
          value,
          why: [],
          score: vector.reduce((sum, one, at) => sum + one * (other[at] ?? 0), 0),
        }));
      return hits.toSorted((a, b) => b.score - a.score).slice(0, limit) as unknown as SearchHit<never>[];
    },
    async list(space, { prefix = "", filter, after, limit, descending = false, nowMs }) {
      const sorted = [...docsOf(space).values()].filter((doc) => passes(doc, filter, nowMs)).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      if (descending) sorted.reverse();
      return sorted
        .filter(({ id }) => id.startsWith(prefix) && (after === undefined || (descending ? id < after : id > after)))
        .slice(0, limit)
        .map(copy);
    },
    async forget(space, ids) {
      return ids.filter((id) => docsOf(space).delete(id));
    },
    async expired(space, nowMs, limit) {
      const due = [...docsOf(space).values()].filter(({ expiresAtMs }) => expiresAtMs !== undefined && expiresAtMs <= nowMs);
      return due
        .toSorted((a, b) => (a.expiresAtMs ?? 0) - (b.expiresAtMs ?? 0))
        .slice(0, limit)
        .map(({ id }) => id);
    },
    async values(space, facet, { after, limit }) {
      const counts = new Map<string, number>();
      for (const { facets } of docsOf(space).values()) {
        const value = facets[facet];
        if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
      }
      return [...counts]
        .map(([value, docs]) => ({ value, docs }))
        .filter(({ value }) => after === undefined || value > after)
        .toSorted((a, b) => (a.value < b.value ? -1 : 1))
        .slice(0, limit);
    },
    async size(space) {
      return { docs: docsOf(space).size, bytes: 0 };
    },
    async drop(space) {
      spaces.delete(space);
    },
    async [Symbol.asyncDispose]() {},
  };
}

function copy(doc: KeptDoc): KeptDoc<never> {
  return structuredClone(doc) as KeptDoc<never>;
}

function passes(doc: KeptDoc, { facets = {}, without = {}, fromMs, toMs }: SearchFilter, nowMs: number | undefined): boolean {
  if (nowMs !== undefined && doc.expiresAtMs !== undefined && doc.expiresAtMs <= nowMs) return false;
  if ((fromMs !== undefined && doc.atMs < fromMs) || (toMs !== undefined && doc.atMs >= toMs)) return false;
  if (Object.entries(without).some(([name, values]) => values.includes(doc.facets[name] ?? "\0"))) return false;
  return Object.entries(facets).every(([name, values]) => values.includes(doc.facets[name] ?? "\0"));
}

const FIELDS = [
  { field: "text", weight: 1 },
  { field: "before", weight: 0.3 },
  { field: "after", weight: 0.3 },
] as const;

function hitOf(doc: KeptDoc, all: readonly KeptDoc[], words: readonly { word: string; weight: number }[]): SearchHit {
  const why: SearchMatch[] = [];
  for (const { word, weight } of words) {
    const having = all.filter((other) => FIELDS.some(({ field }) => wordsIn(other, field).includes(word))).length;
    const idf = weight * Math.log(1 + (all.length - having + 0.5) / (having + 0.5));
    for (const { field, weight: share } of FIELDS) {
      const times = wordsIn(doc, field).filter((one) => one === word).length * share;
      if (times > 0) why.push({ word, field, score: (idf * times * 2.2) / (times + 1.2) });
    }
  }
  return {
    id: doc.id,
    value: structuredClone(doc.value),
    why: why.toSorted((a, b) => b.score - a.score),
    score: why.reduce((sum, { score }) => sum + score, 0),
  };
}

function wordsIn(doc: KeptDoc, field: SearchMatch["field"]): readonly string[] {
  return (field === "text" ? doc.words : doc[field]) ?? [];
}

function ranked(hits: SearchHit[], limit: number): SearchHit[] {
  return hits
    .filter(({ score }) => score > 0)
    .toSorted((a, b) => b.score - a.score)
    .slice(0, limit);
}
