import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { type FileHandle, link, mkdir, open, rename, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Problem } from "#contract/problem.ts";
import type { ObjectInfo, Objects } from "#core/ports.ts";
import { openGrowing } from "./growing-file.ts";
import { keysOf, pathOf } from "./object-names.ts";

const READ_BYTES = 256 * 1024;
const ABANDONED_MS = 60 * 60 * 1000;
const RENAME_ATTEMPTS = 20;

/**
 * Opens the objects kept in a folder. An object is written beside its place, forced to the disk and renamed into it,
 * so that whoever looks sees all of the old bytes or all of the new ones, whatever crashes.
 */
export function createObjects(dir: string): Objects & AsyncDisposable {
  const root = join(dir, "keys");
  const incoming = join(dir, "incoming");
  mkdirSync(root, { recursive: true, mode: 0o700 });
  mkdirSync(incoming, { recursive: true, mode: 0o700 });
  sweep(incoming);

  return {
    async put(key, body, { maxBytes }, signal) {
      const target = pathOf(root, key);
      const temporary = join(incoming, randomUUID());
      try {
        const taken = await write(temporary, body, maxBytes, signal);
        signal?.throwIfAborted();
        if (!(await place(temporary, target))) throw new Error("The object stood still for so long that it was swept.");
        return taken;
      } catch (error) {
        await gone(unlink(temporary));
        throw full(error);
      }
    },

    async get(key, range) {
      const file = await present(open(pathOf(root, key), "r"));
      if (!file) return undefined;
      try {
        const { size, mtimeMs } = await file.stat();
        const { start, end } = rangeIn(size, range);
        return { info: { key, sizeBytes: size, modifiedAtMs: Math.floor(mtimeMs) }, body: read(file, start, end) };
      } catch (error) {
        await file.close();
        throw error;
      }
    },

    async head(key) {
      return infoOf(root, key);
    },

    async list(prefix, { after, limit }) {
      if (!Number.isSafeInteger(limit) || limit < 1)
        throw new Problem("invalid_request", { detail: "A page has a limit of at least 1.", limit });
      const infos: ObjectInfo[] = [];
      for await (const key of keysOf(root, prefix, after)) {
        const info = await infoOf(root, key);
        if (info) infos.push(info);
        if (infos.length === limit) break;
      }
      return infos;
    },

    async copy(from, to) {
      const source = pathOf(root, from);
      const target = pathOf(root, to);
      if (source === target) return (await present(stat(source))) !== undefined;
      // Objects are never written in place, so that a second name for the same bytes is a copy of them.
      const temporary = join(incoming, randomUUID());
      if (!(await present(link(source, temporary).then(() => true)))) return false;
      return place(temporary, target);
    },

    async move(from, to) {
      const source = pathOf(root, from);
      const target = pathOf(root, to);
      if (!(await present(stat(source)))) return false;
      if (source === target) return true;
      if (!(await place(source, target))) return false;
      await sync(dirname(source));
      await prune(dirname(source), root);
      return true;
    },

    async remove(key) {
      const path = pathOf(root, key);
      await gone(unlink(path));
      await prune(dirname(path), root);
    },

    downloadLink: () => undefined,
    uploadLink: () => undefined,

    async [Symbol.asyncDispose]() {},
  };
}

async function write(path: string, body: ReadableStream<Uint8Array>, maxBytes: number, signal?: AbortSignal) {
  const reader = body.getReader();
  const stop = () => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", stop, { once: true });
  try {
    signal?.throwIfAborted();
    await using file = await open(path, "wx", 0o600);
    await using growing = openGrowing(file);
    const hash = createHash("sha256");
    let sizeBytes = 0;
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      signal?.throwIfAborted();
      sizeBytes += next.value.byteLength;
      if (sizeBytes > maxBytes) throw new Problem("body_too_large", { detail: `More than ${maxBytes} bytes came.`, maxBytes });
      hash.update(next.value);
      await growing.append(next.value);
    }
    // An abort ends the reader as if the body had ended, and half a body is no object.
    signal?.throwIfAborted();
    await growing.end();
    return { sizeBytes, sha256: hash.digest("hex") };
  } catch (error) {
    await reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Renames into place and forces the names to the disk. False when the source is gone: then another mover was first. */
async function place(source: string, target: string): Promise<boolean> {
  const folder = dirname(target);
  let made: string | undefined;
  for (let attempt = 0; attempt < RENAME_ATTEMPTS; attempt++) {
    const first = await mkdir(folder, { recursive: true, mode: 0o700 }).catch(gaveWay);
    made ??= first;
    if (!(await present(rename(source, target).then(() => true)))) {
      if (!(await present(stat(source)))) return false;
      // Somebody pruned the empty folder between its making and the rename.
      continue;
    }
    await sync(folder);
    if (made !== undefined) await syncAbove(folder, made);
    return true;
  }
  throw new Problem("conflict", { detail: "The folder of the object is made and removed again and again." });
}

// A new folder is there after a power cut only once the folder that names it is on the disk.
async function syncAbove(folder: string, made: string): Promise<void> {
  for (let path = folder; path.length >= made.length; path = dirname(path)) await sync(dirname(path));
}

async function prune(folder: string, root: string): Promise<void> {
  for (let path = folder; path !== root; path = dirname(path)) {
    const removed = await rmdir(path).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}

function read(file: FileHandle, start: number, end: number): ReadableStream<Uint8Array> {
  let position = start;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const buffer = new Uint8Array(Math.min(READ_BYTES, end - position));
          const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, position);
          if (bytesRead === 0 && position < end) throw new Error("The object's file became shorter.");
          position += bytesRead;
          if (bytesRead > 0) controller.enqueue(buffer.subarray(0, bytesRead));
          if (position < end) return;
          await file.close();
          controller.close();
        } catch (error) {
          await file.close();
          controller.error(error);
        }
      },
      cancel: () => file.close(),
    },
    { highWaterMark: 0 },
  );
}

function rangeIn(sizeBytes: number, range: { start: number; end?: number } | undefined): { start: number; end: number } {
  if (!range) return { start: 0, end: sizeBytes };
  const last = Math.min(range.end ?? sizeBytes - 1, sizeBytes - 1);
  if (range.start < 0 || range.start > last) throw new Problem("range_not_satisfiable", { sizeBytes });
  return { start: range.start, end: last + 1 };
}

async function infoOf(root: string, key: string): Promise<ObjectInfo | undefined> {
  const found = await present(stat(pathOf(root, key)));
  return found && { key, sizeBytes: found.size, modifiedAtMs: Math.floor(found.mtimeMs) };
}

// Another process may be writing here, so only what has not grown for long is a leftover of a crash.
function sweep(incoming: string): void {
  for (const name of readdirSync(incoming)) {
    const path = join(incoming, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found && Date.now() - found.mtimeMs > ABANDONED_MS) rmSync(path, { force: true });
  }
}

async function sync(dir: string): Promise<void> {
  const handle = await present(open(dir, "r"));
  if (!handle) return;
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function present<T>(found: Promise<T>): Promise<T | undefined> {
  return found.catch(gaveWay);
}

async function gone(removal: Promise<void>): Promise<void> {
  await removal.catch(gaveWay);
}

function gaveWay(error: unknown): undefined {
  if (codeOf(error) === "ENOENT") return undefined;
  throw error;
}

function full(error: unknown): unknown {
  const code = codeOf(error);
  return code === "ENOSPC" || code === "EDQUOT" ? new Problem("disk_full", { detail: "The disk under the store is full." }, error) : error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
