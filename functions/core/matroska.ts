/** Where a Matroska says its duration: the element's id and the size of a double. */
const DURATION = Buffer.from([0x44, 0x89, 0x88]);
const HEAD_BYTES = 1024;

/**
 * The beginning of a video with its true duration, in milliseconds as its recorder counts: what makes it as it goes can
 * only leave a place for it. A beginning without one, as code inside may have made it, stays as it is.
 */
export function withDuration(beginning: Uint8Array, durationMs: number): Uint8Array {
  const at = Buffer.from(beginning.buffer, beginning.byteOffset, Math.min(beginning.byteLength, HEAD_BYTES)).indexOf(DURATION);
  if (at < 0 || at + DURATION.length + 8 > beginning.byteLength) return beginning;
  const written = Buffer.from(beginning);
  written.writeDoubleBE(Math.max(durationMs, 0), at + DURATION.length);
  return written;
}
