import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";
import { openBlobs } from "./blobs.ts";
import { unpackImage } from "./layers.ts";
import { findImage, type FoundImage, ImageProgram } from "./manifest.ts";
import { findReference, type Found } from "./references.ts";

/** What is kept of an unpacked image beside its root. */
const Kept = z.object({
  digest: z.string(),
  program: ImageProgram,
  entries: z.int(),
  bytes: z.int(),
  leftOut: z.record(z.string(), z.int()),
});

/** An image that is there to be run. Its root holds what its maker wanted: no path below it is to be followed on the host. */
export interface StoredImage {
  digest: string;
  root: string;
  program: ImageProgram;
}

export interface ImageStore {
  /** The image that a reference means, unpacked if it is not yet. */
  resolve(reference: string): Promise<StoredImage>;
}

const PARTIAL = ".partial";
/** An image that no sandbox was made of for so long is unpacked again when one is. */
const UNUSED_MS = 30 * 24 * 3_600_000;

/**
 * Opens the folder of unpacked images: each lies under its digest, whole or not at all. It belongs to one engine at a time,
 * so that what another left half done is nobody's and goes.
 */
export async function openImageStore(options: { dataDir: string; folders: readonly string[]; python?: string }): Promise<ImageStore> {
  const { folders, python } = options;
  const dir = join(options.dataDir, "unpacked");
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await removeUnwanted(dir);
  /** What was found where, until something else lies there. */
  const known = new Map<string, { stamp: string; digest: string }>();
  const underWay = new Map<string, Promise<StoredImage>>();
  let last: Promise<unknown> = Promise.resolve();

  async function resolve(reference: string): Promise<StoredImage> {
    const found = findReference(reference, folders);
    const key = `${found.path}\0${found.tag ?? ""}`;
    const stamp = await stampOf(found.path);
    const before = known.get(key);
    const kept = before?.stamp === stamp ? await readKept(dir, before.digest) : undefined;
    if (kept) return kept;
    const running = underWay.get(key);
    if (running) return running;
    // One after the other: an image that is unpacked has the disk to itself.
    const unpacked = last.then(() => unpack(dir, found, python));
    last = unpacked.catch(() => undefined);
    underWay.set(key, unpacked);
    try {
      const stored = await unpacked;
      known.set(key, { stamp, digest: stored.digest });
      return stored;
    } finally {
      underWay.delete(key);
    }
  }

  return { resolve };
}

/** Beside first and renamed at the end; the root is a folder in a folder, so that nobody but its owner's processes get to it. */
async function unpack(dir: string, { path, tag }: Found, python: string | undefined): Promise<StoredImage> {
  const partial = join(dir, `${randomUUID()}${PARTIAL}`);
  await mkdir(partial, { mode: 0o700 });
  try {
    await using blobs = await openBlobs(path, join(partial, "spool"));
    const image = await findImage(blobs, tag);
    const there = await readKept(dir, image.digest);
    if (there) return there;
    const root = join(partial, "root");
    await mkdir(root, { mode: 0o755 });
    const unpacked = await unpackImage(blobs, image, { folder: root, python }, AbortSignal.timeout(LIMITS.imageUnpackMs));
    return await keep(dir, partial, image, unpacked);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function keep(dir: string, partial: string, image: FoundImage, unpacked: object): Promise<StoredImage> {
  const { digest, program } = image;
  const final = join(dir, folderOf(digest));
  await rm(join(partial, "spool"), { force: true });
  await writeFile(join(partial, "image.json"), JSON.stringify({ digest, program, ...unpacked }, undefined, 2), { mode: 0o600 });
  await rename(partial, final);
  return { digest, program, root: join(final, "root") };
}

async function readKept(dir: string, digest: string): Promise<StoredImage | undefined> {
  const folder = join(dir, folderOf(digest));
  const facts = join(folder, "image.json");
  if (!existsSync(facts)) return undefined;
  const { program } = Kept.parse(JSON.parse(await readFile(facts, "utf8")));
  await utimes(facts, new Date(), new Date());
  return { digest, program, root: join(folder, "root") };
}

async function removeUnwanted(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    const used = await stat(join(dir, name, "image.json")).catch(() => undefined);
    if (name.endsWith(PARTIAL) || !used || Date.now() - used.mtimeMs > UNUSED_MS)
      await rm(join(dir, name), { recursive: true, force: true });
  }
}

/** What tells whether the same still lies there. A layout changes by its index. */
async function stampOf(path: string): Promise<string> {
  const facts = await stat(path);
  const { ino, size, mtimeMs } = facts.isDirectory() ? await stat(join(path, "index.json")).catch(() => facts) : facts;
  return `${ino}-${size}-${mtimeMs}`;
}

function folderOf(digest: string): string {
  return digest.replace(":", "-");
}
