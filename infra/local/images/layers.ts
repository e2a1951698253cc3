import { createHash } from "node:crypto";
import { PassThrough, type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { LIMITS } from "#contract/limits.ts";
import { type Unpacked, unpackLayer } from "#infra/local/sealed/unpacker.ts";
import { type Blobs, bounded, decompressorOf, headOf, unusable } from "./blobs.ts";
import type { FoundImage, LayerBlob } from "./manifest.ts";
import { imageNotValid } from "./refusal.ts";

/** Lays all layers of an image over an empty folder, each checked against its digests; a folder of a failure is to be thrown away. */
export async function unpackImage(
  blobs: Blobs,
  image: FoundImage,
  { folder, python }: { folder: string; python?: string | undefined },
  signal: AbortSignal,
): Promise<Unpacked> {
  const all: Unpacked = { entries: 0, bytes: 0, leftOut: {} };
  for (const layer of image.layers) {
    const bounds = {
      bytes: LIMITS.imageBytes - all.bytes,
      entries: LIMITS.imageEntries - all.entries,
      depth: LIMITS.archiveDepth,
    };
    const tar = new PassThrough();
    const read = readLayer(blobs, layer, tar, signal);
    read.catch((error: Error) => tar.destroy(error));
    const unpacked = unpackLayer({ folder, bounds, python }, tar, signal);
    unpacked.catch(() => tar.destroy());
    const [verdict, checked] = await Promise.allSettled([unpacked, read]);
    // What the unpacker refuses cuts the reading short; a part that is not what it should be makes any refusal its own.
    if (checked.status === "rejected" && !isCut(checked.reason)) throw unusable(checked.reason);
    if (verdict.status === "rejected") throw unusable(verdict.reason);
    if (checked.status === "rejected") throw checked.reason;
    all.entries += verdict.value.entries;
    all.bytes += verdict.value.bytes;
    for (const [what, count] of Object.entries(verdict.value.leftOut)) all.leftOut[what] = (all.leftOut[what] ?? 0) + count;
  }
  return all;
}

/** A layer's bytes as a tar, and at their end whether they were the right ones. */
async function readLayer(blobs: Blobs, layer: LayerBlob, tar: PassThrough, signal: AbortSignal): Promise<void> {
  const decompressor = decompressorOf(await headOf(await blobs.open(layer.name))) ?? new PassThrough();
  const [packed, plain] = [new Hashed(), new Hashed()];
  const source: Readable = await blobs.open(layer.name);
  await pipeline(source, packed, decompressor, bounded(), plain, tar, { signal });
  if (layer.digest !== undefined && packed.digest() !== layer.digest)
    throw imageNotValid(`The layer ${layer.digest} is not what its name says`);
  if (plain.digest() !== layer.diffId)
    throw imageNotValid(`The layer ${layer.name.slice(0, 100)} is not what the image's configuration says`);
}

function isCut(error: unknown): boolean {
  return ["ERR_STREAM_PREMATURE_CLOSE", "EPIPE"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** Passes bytes on and hashes them. */
class Hashed extends Transform {
  readonly #hash = createHash("sha256");

  override _transform(piece: Buffer, _encoding: BufferEncoding, done: (error: null, piece: Buffer) => void): void {
    this.#hash.update(piece);
    done(null, piece);
  }

  digest(): string {
    return `sha256:${this.#hash.digest("hex")}`;
  }
}
