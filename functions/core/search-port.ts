/** A document as it is kept and found. Its words come analysed, so that every store finds the same. */
export interface SearchDoc {
  id: string;
  atMs: number;
  /** From then on no query shows it. */
  expiresAtMs?: number;
  /** What filters ask for: equal or not. */
  facets: Record<string, string>;
  /** What it says; what was said before and after it weighs less. None: it is kept, listed and filtered, and never found by words. */
  words: readonly string[];
  before?: readonly string[];
  after?: readonly string[];
  /** Of length 1. */
  vector?: readonly number[];
  value: unknown;
}

/** All that is named must hold; a facet with several values holds for any of them. Times are from inclusive to exclusive. */
export interface SearchFilter {
  facets?: Record<string, readonly string[]>;
  /** A document that has any of these is not meant. */
  without?: Record<string, readonly string[]>;
  fromMs?: number;
  toMs?: number;
}

export interface SearchWord {
  word: string;
  weight: number;
}

/** Why a document was found: the word, where it stands, and what it added to the score. */
export interface SearchMatch {
  word: string;
  field: "text" | "before" | "after";
  score: number;
}

export interface SearchHit<T = unknown> {
  id: string;
  score: number;
  value: T;
  why: SearchMatch[];
}

/** A kept document with the version by which the next writer must name it. */
export interface KeptDoc<T = unknown> extends Omit<SearchDoc, "value"> {
  version: number;
  value: T;
}

/**
 * Documents by their words, in spaces that know nothing of each other: no word of one weighs in another. `index` replaces
 * by id, all of a batch or none, and a condition that does not hold is Problem `conflict`. What was written is read at
 * once and found a moment later. `nowMs` is when expiry is judged. Words are data: no character of one is an operator.
 */
export interface Search {
  index(space: string, docs: readonly (SearchDoc & { ifVersion?: number | "absent" })[]): Promise<void>;
  /** Those that are there, in the order of the ids. */
  get<T>(space: string, ids: readonly string[]): Promise<KeptDoc<T>[]>;
  /** Best first, by BM25 over the three fields; a document that has none of the words is no hit. */
  query<T>(
    space: string,
    query: { words: readonly SearchWord[]; filter: SearchFilter; limit: number; nowMs: number },
  ): Promise<SearchHit<T>[]>;
  /** Nearest first, by cosine, among the newest `LIMITS.memoryVectorsCompared` that the filter lets through. */
  nearest<T>(
    space: string,
    query: { vector: readonly number[]; filter: SearchFilter; limit: number; nowMs: number },
  ): Promise<SearchHit<T>[]>;
  /** In the order of ids those that start with `prefix`, and come after `after`; backwards when `descending`. */
  list<T>(
    space: string,
    page: { prefix?: string; filter: SearchFilter; after?: string; limit: number; descending?: boolean; nowMs?: number },
  ): Promise<KeptDoc<T>[]>;
  /** Removes by id, and answers which were there. Their bytes leave the store's own files before it answers, or at the next call. */
  forget(space: string, ids: readonly string[]): Promise<string[]>;
  /** The ids of what has expired, oldest first. */
  expired(space: string, nowMs: number, limit: number): Promise<string[]>;
  /** The values that a facet has, in their order, with how many documents have each. */
  values(space: string, facet: string, page: { after?: string; limit: number }): Promise<{ value: string; docs: number }[]>;
  /** How many documents there are and what they take. */
  size(space: string): Promise<{ docs: number; bytes: number }>;
  /** Removes a space with all that is in it; one that is not there is removed already. */
  drop(space: string): Promise<void>;
}
