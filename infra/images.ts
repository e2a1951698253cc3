import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { cp, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { Problem } from "#contract/problem.ts";
import { findImage } from "#infra/local/images/manifest.ts";
import { openBlobs } from "#infra/local/images/blobs.ts";
import { fileNameOf, findReference, nameOfFile } from "#infra/local/images/references.ts";

/** An image as its folder has it. */
export interface AddedImage {
  name: string;
  sizeBytes: number;
  addedAt: string;
}

const ADDING = ".adding-";

/** Copies an image under a name into the folder of images, once it is seen to be one for this machine. Adding again replaces. */
export async function addImage(folder: string, source: string, name: string): Promise<{ name: string; digest: string }> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const partial = join(folder, `${ADDING}${randomUUID()}`);
  const target = join(folder, fileNameOf(name));
  if (Buffer.byteLength(fileNameOf(name)) > 255 || name === "")
    throw new Problem("invalid_request", { detail: "That is no name of an image" });
  try {
    const isFolder = (await stat(source)).isDirectory();
    // A compressed one is written out as plain, which is read where it lies from then on.
    const spool = `${partial}-plain`;
    await using blobs = await openBlobs(source, spool);
    const { digest } = await findImage(blobs, undefined);
    if (isFolder) await cp(source, partial, { recursive: true, verbatimSymlinks: true });
    else await copyFile((await exists(spool)) ? spool : source, partial);
    await removeImage(folder, name);
    await rename(partial, isFolder ? target.slice(0, -".tar".length) : target);
    return { name, digest };
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

export async function listImages(folder: string): Promise<AddedImage[]> {
  const files = await readdir(folder).catch(() => []);
  const shown = files.filter((file) => !file.startsWith(ADDING)).toSorted();
  return Promise.all(
    shown.map(async (file) => {
      const { size, mtime } = await stat(join(folder, file));
      return { name: nameOfFile(file), sizeBytes: size, addedAt: mtime.toISOString() };
    }),
  );
}

/** Removes an image; false when there was none. Sandboxes that run keep what they were made of. */
export async function removeImage(folder: string, name: string): Promise<boolean> {
  try {
    const { path } = findReference(name, [folder]);
    await rm(path, { recursive: true });
    return true;
  } catch (error) {
    if (error instanceof Problem && error.code === "image_not_found") return false;
    throw error;
  }
}

async function copyFile(source: string, target: string): Promise<void> {
  await using file = await open(source, "r");
  await pipeline(file.createReadStream({ autoClose: false }), createWriteStream(target, { mode: 0o600, flags: "wx" }));
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
