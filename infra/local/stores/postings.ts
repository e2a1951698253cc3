/**
 * The postings of one word in one block of documents: one number for each document that has it, in the order of documents.
 * A number holds the document's place in the block, how often the word is in each field, and how long the document is,
 * so that a score needs nothing else to be read.
 */
export type Postings = Uint32Array;

/** How many documents one block covers: the more, the fewer reads a query takes, and the more bytes a write rewrites. */
export const BLOCK = 2048;

const PLACE_SHIFT = 20;
const TEXT_SHIFT = 16;
const BEFORE_SHIFT = 12;
const AFTER_SHIFT = 8;
const MOST = 15;
const LENGTHS = 256;

/** How often a word is in each field of one document. */
export interface Counts {
  text: number;
  before: number;
  after: number;
}

export function packPosting(place: number, { text, before, after }: Counts, lengthCode: number): number {
  const counts = (Math.min(text, MOST) << TEXT_SHIFT) | (Math.min(before, MOST) << BEFORE_SHIFT) | (Math.min(after, MOST) << AFTER_SHIFT);
  return ((place << PLACE_SHIFT) | counts | lengthCode) >>> 0;
}

/** Lengths in 256 steps, finer where documents are short. */
export function lengthCodeOf(words: number): number {
  return Math.min(LENGTHS - 1, Math.round(16 * Math.log2(1 + words)));
}

/** The postings with changes laid over them: a number by place, 0 for none. */
export function mergePostings(old: Postings, changes: ReadonlyMap<number, number>): Postings {
  const kept: number[] = [];
  for (const posting of old) if (!changes.has(posting >>> PLACE_SHIFT)) kept.push(posting);
  const put = [...changes.values()].filter((posting) => posting !== 0);
  return Uint32Array.from([...kept, ...put]).sort();
}

export function postingsOf(blob: Uint8Array | undefined): Postings {
  if (!blob) return new Uint32Array();
  // What the driver hands over begins wherever it likes; numbers begin at multiples of four.
  const bytes = blob.byteOffset % 4 === 0 ? blob : blob.slice();
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

export function bytesOf(postings: Postings): Uint8Array {
  return new Uint8Array(postings.buffer, postings.byteOffset, postings.byteLength);
}

/** BM25's two settings and what a neighbour's word counts beside the document's own. */
const K1 = 1.2;
const B = 0.6;
export const BESIDE = 0.3;

/** What a word in a document adds to its score, by how long the document is. */
export function scorer(averageLength: number): {
  score(posting: number, idf: number): number;
  parts(counts: Counts, lengthCode: number, idf: number): Counts;
} {
  const norms = Float32Array.from(
    { length: LENGTHS },
    (_, code) => K1 * (1 - B + (B * (2 ** (code / 16) - 1)) / Math.max(1, averageLength)),
  );
  return {
    score(posting, idf) {
      const frequency =
        ((posting >>> TEXT_SHIFT) & MOST) + BESIDE * (((posting >>> BEFORE_SHIFT) & MOST) + ((posting >>> AFTER_SHIFT) & MOST));
      return (idf * frequency * (K1 + 1)) / (frequency + (norms[posting & 0xff] ?? K1));
    },
    parts({ text, before, after }, lengthCode, idf) {
      const frequency = text + BESIDE * (before + after);
      const each = (idf * (K1 + 1)) / (frequency + (norms[lengthCode] ?? K1));
      return { text: each * text, before: each * BESIDE * before, after: each * BESIDE * after };
    },
  };
}

/** How much finding a word tells, by how many of all documents have it; never nothing, so that what all have still counts as found. */
export function idfOf(documents: number, having: number): number {
  return Math.log(1 + (documents - having + 0.5) / (having + 0.5));
}
