import type { FileHandle } from "node:fs/promises";

/** How much of an object is forced to the disk while more of it comes. */
const FORCED_BYTES = 32 * 1024 * 1024;
/** What is written at once of an object that comes fast, and for how long of one that comes slowly it is waited for. */
const WRITE_BYTES = 512 * 1024;
const HELD_MS = 1000;

/** A file that takes pieces and is on the disk at its end. */
interface Growing extends AsyncDisposable {
  append(piece: Uint8Array): Promise<void>;
  /** All of it is on the disk then. */
  end(): Promise<void>;
}

/**
 * Grows a file by much at once, since each write costs more than copying a socket's piece does; what comes slowly is
 * written as it comes, so that its file is never taken for abandoned. Bytes go on to the disk before the last has come, so
 * that whoever waits for the end waits for little.
 */
export function openGrowing(file: FileHandle): Growing {
  // Pieces are copied, so that none of them lives for long.
  let buffer: Buffer | undefined;
  let filledBytes = 0;
  let writtenAtMs = 0;
  let unforcedBytes = 0;
  let forcing: Promise<unknown> | undefined;

  async function write(): Promise<void> {
    if (!buffer) return;
    await writeAll(file, buffer.subarray(0, filledBytes));
    writtenAtMs = performance.now();
    unforcedBytes += filledBytes;
    filledBytes = 0;
    if (unforcedBytes < FORCED_BYTES || forcing) return;
    unforcedBytes = 0;
    forcing = file.datasync().then(() => (forcing = undefined));
    // It may fail before it is waited for.
    forcing.catch(() => {});
  }

  return {
    async append(piece) {
      for (let taken = 0; taken < piece.byteLength;) {
        buffer ??= Buffer.allocUnsafeSlow(WRITE_BYTES);
        const part = piece.subarray(taken, taken + WRITE_BYTES - filledBytes);
        buffer.set(part, filledBytes);
        taken += part.byteLength;
        filledBytes += part.byteLength;
        if (filledBytes === WRITE_BYTES) await write();
      }
      if (performance.now() - writtenAtMs > HELD_MS) await write();
    },
    async end() {
      await write();
      await forcing;
      await file.sync();
    },
    /** Nothing of it is under way when the file is closed. */
    async [Symbol.asyncDispose]() {
      await forcing?.catch(() => {});
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, offset);
    offset += bytesWritten;
  }
}
