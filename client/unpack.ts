import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, realpath, rename, rm, rmdir, symlink } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, resolve, sep } from "node:path";
import { extract, type Extract, type Header } from "tar-stream";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";

/** What landed on this machine, and what was left out and why. */
export interface Unpacked {
  path: string;
  entries: number;
  bytes: number;
  skipped: { path: string; why: string }[];
}

interface UnpackOptions {
  limitBytes?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Unpacks a tar that may be hostile. It grows in a folder of its own beside the target, which no one else knows, and
 * takes the target's name when it is complete; so no entry can meet a link that was there before.
 */
export async function unpackDirectory(
  local: string,
  options: UnpackOptions,
  fetchTar: () => Promise<AsyncIterable<Uint8Array>>,
): Promise<Unpacked> {
  const target = resolve(local);
  await refuseFilled(target);
  await mkdir(dirname(target), { recursive: true });
  const staging = await mkdtemp(join(dirname(target), `.${basename(target)}.${randomBytes(4).toString("hex")}-`));
  try {
    const root = await realpath(staging);
    const unpacked = { path: target, entries: 0, bytes: 0, skipped: [] } satisfies Unpacked;
    const links = await unpackFiles(root, await fetchTar(), unpacked, options);
    await makeLinks(root, links, unpacked);
    await rmdir(target).catch(() => {});
    await rename(staging, target);
    return unpacked;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function refuseFilled(target: string): Promise<void> {
  const there = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new Problem("not_a_directory", { detail: `${target} is not a directory on this machine` }, error);
  });
  if (there.length === 0) return;
  const detail = `${target} already holds files`;
  throw new Problem("already_exists", { detail, next: "Name a directory that does not exist yet, or an empty one." });
}

interface Link {
  path: string;
  to: string;
}

/** Writes files and folders as they come and hands back the links, which are made last: nothing is written through one. */
async function unpackFiles(root: string, tar: AsyncIterable<Uint8Array>, unpacked: Unpacked, options: UnpackOptions): Promise<Link[]> {
  const limitBytes = options.limitBytes ?? LIMITS.uploadBytes;
  const links: Link[] = [];
  const parser = extract();
  const feeding = feed(tar, parser, options.signal).catch((error: Error) => parser.destroy(error));
  try {
    for await (const entry of parser) {
      const header = entry.header;
      const path = insidePath(header.name);
      // A size that cannot be read is none, and the content of such an entry would never end.
      if (!Number.isSafeInteger(header.size)) throw hostile("an entry without a size");
      unpacked.entries += 1;
      unpacked.bytes += header.size ?? 0;
      if (unpacked.entries > LIMITS.archiveEntries) throw hostile(`more than ${LIMITS.archiveEntries} entries`);
      if (unpacked.bytes > limitBytes) throw hostile(`more than ${limitBytes} bytes`);
      if (header.type === "symlink") links.push({ path, to: header.linkname ?? "" });
      else if (header.type === "directory") await mkdir(join(root, path), { recursive: true });
      else if (header.type === "file" || header.type === "contiguous-file")
        await writeEntry(root, path, header, entry as unknown as AsyncIterable<Uint8Array>);
      else unpacked.skipped.push({ path, why: `a ${header.type} has no place on this machine` });
      entry.resume();
    }
    return links;
  } catch (error) {
    throw error instanceof Problem || options.signal?.aborted ? error : broken(error);
  } finally {
    parser.destroy();
    await feeding;
  }
}

/** Gives the parser one chunk after the other, as fast as files are written; a parser that gave up ends the reading. */
async function feed(tar: AsyncIterable<Uint8Array>, parser: Extract, signal: AbortSignal | undefined): Promise<void> {
  for await (const chunk of tar) {
    signal?.throwIfAborted();
    if (!parser.write(chunk)) await roomIn(parser);
    if (parser.destroying) return;
  }
  parser.end(null);
}

function roomIn(parser: Extract): Promise<void> {
  return new Promise((settle) => {
    const go = () => {
      parser.off("drain", go).off("close", go);
      settle();
    };
    parser.on("drain", go).on("close", go);
    if (parser.destroying) go();
  });
}

async function writeEntry(root: string, path: string, header: Header, entry: AsyncIterable<Uint8Array>): Promise<void> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  const mode = ((header.mode ?? 0o644) & 0o777) | 0o600;
  await using handle = await open(file, "wx", mode);
  await handle.writeFile(entry);
}

/** The entry's own path, once it is known to stay inside: relative, without `..`, NUL or backslash tricks, not too deep. */
function insidePath(name: string): string {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  const climbs = isAbsolute(name) || parts.includes("..") || name.includes("\0") || (sep === "\\" && /[\\:]/.test(name));
  if (climbs) throw hostile(`an entry named ${JSON.stringify(name.slice(0, 200))}`);
  if (parts.length > LIMITS.archiveDepth) throw hostile(`an entry deeper than ${LIMITS.archiveDepth} folders`);
  return parts.join("/");
}

/** Makes the links whose real target lies inside; the check comes after all are made, since links may lead through links. */
async function makeLinks(root: string, links: Link[], unpacked: Unpacked): Promise<void> {
  for (const { path } of links) await mkdir(dirname(join(root, path)), { recursive: true }).catch(() => {});
  const made: Link[] = [];
  for (const link of links) {
    const placed =
      !isAbsolute(link.to) &&
      (await symlink(link.to, join(root, link.path)).then(
        () => true,
        () => false,
      ));
    if (placed) made.push(link);
    else unpacked.skipped.push({ path: link.path, why: `a link to ${link.to}, which is not inside` });
  }
  for (let changed = true; changed;) {
    changed = false;
    for (const link of made.splice(0)) {
      const real = await realpath(join(root, link.path)).catch(() => undefined);
      if (real !== undefined && (real === root || real.startsWith(root + sep))) {
        made.push(link);
        continue;
      }
      await rm(join(root, link.path));
      unpacked.skipped.push({ path: link.path, why: `a link to ${link.to}, which is not inside` });
      changed = true;
    }
  }
}

function hostile(what: string): Problem {
  return new Problem("invalid_archive", {
    detail: `The sandbox sent an archive with ${what}; nothing of it was kept`,
    next: "Look at what the sandbox holds before fetching it; fetch single files with files.read.",
  });
}

function broken(error: unknown): Problem {
  const why = error instanceof Error ? error.message : "unreadable";
  return new Problem(
    "invalid_archive",
    {
      detail: `The archive could not be unpacked here (${why}); nothing of it was kept`,
      next: "Check the disk of this machine, and fetch it again.",
    },
    error,
  );
}
