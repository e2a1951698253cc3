import { createHash } from "node:crypto";

const KIB = 1024;

/** Bounds of a chunk; a cut comes every `2 ** meanBits` bytes on average, once there is the least. */
export interface ChunkSizes {
  leastBytes: number;
  mostBytes: number;
  meanBits: number;
}

const SIZES: ChunkSizes = { leastBytes: 256 * KIB, mostBytes: 4096 * KIB, meanBits: 20 };

/** A random number for each byte, the same for ever: whoever changes them finds no old chunk again. */
const GEAR = Int32Array.from({ length: 256 }, (_, byte) => createHash("sha256").update(`cleanroom chunk ${byte}`).digest().readInt32LE(0));

/**
 * Cuts a stream where its own bytes say so, by a rolling hash over the last 32 of them. What changes in a stream changes
 * the chunks around it and no others, wherever it moves the rest. Holds one chunk at a time.
 */
export async function* chunksOf(source: AsyncIterable<Uint8Array>, sizes: ChunkSizes = SIZES): AsyncGenerator<Buffer, void> {
  const cutter = new Cutter(sizes);
  let held: Uint8Array[] = [];
  for await (const piece of source) {
    for (let start = 0; start < piece.length;) {
      const { end, cut } = cutter.pass(piece, start);
      held.push(piece.subarray(start, end));
      start = end;
      if (!cut) continue;
      yield Buffer.concat(held);
      held = [];
    }
  }
  if (held.length > 0) yield Buffer.concat(held);
}

class Cutter {
  readonly #sizes: ChunkSizes;
  #hash = 0;
  #length = 0;

  constructor(sizes: ChunkSizes) {
    this.#sizes = sizes;
  }

  /** Goes on through a piece from `start`: where the chunk ends, or where the piece does. */
  pass(piece: Uint8Array, start: number): { end: number; cut: boolean } {
    const { leastBytes, mostBytes, meanBits } = this.#sizes;
    const skipped = Math.min(Math.max(leastBytes - this.#length, 0), piece.length - start);
    const last = Math.min(piece.length, start + mostBytes - this.#length);
    const shift = 32 - meanBits;
    let hash = this.#hash;
    for (let at = start + skipped; at < last;) {
      hash = ((hash << 1) + (GEAR[piece[at] ?? 0] ?? 0)) | 0;
      at += 1;
      if (hash >>> shift === 0) return this.#cutAt(at);
    }
    this.#hash = hash;
    this.#length += last - start;
    return this.#length === mostBytes ? this.#cutAt(last) : { end: last, cut: false };
  }

  #cutAt(end: number): { end: number; cut: true } {
    this.#hash = 0;
    this.#length = 0;
    return { end, cut: true };
  }
}
