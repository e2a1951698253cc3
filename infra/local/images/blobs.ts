import { createReadStream, createWriteStream } from "node:fs";
import { constants, type FileHandle, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { LIMITS } from "#contract/limits.ts";
import { imageNotValid } from "./refusal.ts";
import { indexTar } from "./tape.ts";

/** The files that an image is made of, by their names in whatever they lie. */
export interface Blobs extends AsyncDisposable {
  has(name: string): Promise<boolean>;
  /** A small document; refused when it is missing or larger than documents are. */
  read(name: string): Promise<Buffer>;
  open(name: string): Promise<Readable>;
}

/** A name below the image's own folder, by which nothing else can be meant. */
const NAME = /^(?!\/)(?!.*(?:^|\/)\.{1,2}(?:\/|$))[\w.:+/-]{1,512}$/;
const HEAD_BYTES = 6;

/** Opens an image where it lies: a folder, a tar, or a compressed tar, which is written out as `spool` first. */
export async function openBlobs(path: string, spool: string): Promise<Blobs> {
  if ((await stat(path)).isDirectory()) return inFolder(path);
  const file = await open(path, "r");
  const decompressed = decompressorOf(await headOf(createReadStream(path, { end: HEAD_BYTES - 1 })));
  if (!decompressed) return inTar(file, path, async () => file.close());
  await file.close();
  try {
    await pipeline(createReadStream(path), decompressed, bounded(), createWriteStream(spool, { mode: 0o600 }));
  } catch (error) {
    await rm(spool, { force: true });
    throw unusable(error);
  }
  const plain = await open(spool, "r");
  return inTar(plain, spool, async () => {
    await plain.close();
    await rm(spool, { force: true });
  });
}

function inFolder(folder: string): Blobs {
  // What is a link is somebody else's file, which its owner did not name.
  const openFile = (name: string) => open(join(folder, checked(name)), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  return {
    async has(name) {
      const found = await openFile(name).catch(() => undefined);
      await found?.close();
      return found !== undefined;
    },
    async read(name) {
      await using file = await openFile(name).catch((error: unknown) => missing(name, error));
      const facts = await file.stat();
      refuseLarge(name, facts.isFile() ? facts.size : Infinity);
      return file.readFile();
    },
    async open(name) {
      const file = await openFile(name).catch((error: unknown) => missing(name, error));
      if ((await file.stat()).isFile()) return file.createReadStream();
      await file.close();
      return missing(name);
    },
    async [Symbol.asyncDispose]() {},
  };
}

async function inTar(file: FileHandle, path: string, close: () => Promise<void>): Promise<Blobs> {
  try {
    const places = await indexTar(file);
    return {
      has: async (name) => places.has(name),
      async read(name) {
        const place = places.get(name) ?? missing(name);
        refuseLarge(name, place.sizeBytes);
        const bytes = Buffer.alloc(place.sizeBytes);
        await file.read(bytes, 0, bytes.length, place.offset);
        return bytes;
      },
      async open(name) {
        const { offset, sizeBytes } = places.get(name) ?? missing(name);
        if (sizeBytes === 0) return Readable.from([]);
        return createReadStream(path, { start: offset, end: offset + sizeBytes - 1, highWaterMark: 1 << 18 });
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What undoes a compression, by the first bytes; undefined for what is not compressed in a known way. */
export function decompressorOf(head: Buffer): Transform | undefined {
  const hex = head.toString("hex");
  if (hex.startsWith("1f8b")) return createGunzip();
  if (hex.startsWith("28b52ffd")) return createZstdDecompress();
  if (hex.startsWith("fd377a585a") || hex.startsWith("425a68")) throw imageNotValid("Only gzip and zstd are undone here, not xz or bzip2");
  return undefined;
}

/** The first bytes of a stream, which is used up by it. */
export async function headOf(stream: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream as AsyncIterable<Buffer>) {
    pieces.push(piece);
    if (Buffer.concat(pieces).length >= HEAD_BYTES) break;
  }
  return Buffer.concat(pieces).subarray(0, HEAD_BYTES);
}

/** Passes no more than a whole image may have, with what a tar adds to it. */
export function bounded(): Transform {
  let left = LIMITS.imageBytes + LIMITS.imageEntries * 4096;
  return new Transform({
    transform(piece: Buffer, _encoding, done) {
      left -= piece.length;
      if (left < 0) done(imageNotValid(`It unpacks to more than ${LIMITS.imageBytes} bytes`));
      else done(null, piece);
    },
  });
}

/** A failure of reading as what it says about the image. */
export function unusable(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  return /^(Z_|ZSTD_|ERR_ZLIB)/.test(code) ? imageNotValid("A compressed part of the image is damaged", error) : error;
}

function checked(name: string): string {
  if (!NAME.test(name)) throw imageNotValid(`The image names a part ${JSON.stringify(name.slice(0, 100))}, which is no name`);
  return name;
}

function refuseLarge(name: string, sizeBytes: number): void {
  if (sizeBytes > LIMITS.imageDocumentBytes) throw imageNotValid(`${name} is no document: it is too large`);
}

function missing(name: string, cause?: unknown): never {
  throw imageNotValid(`The image lacks its part ${name.slice(0, 100)}`, cause);
}
