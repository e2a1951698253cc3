import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { ArtifactEntry } from "#contract/artifact-content.ts";

const BLOCK = 512;
const WINDOW_BYTES = 64 * 1024;
const WORDS_BYTES = 64 * 1024;

/** One entry of a tar: what it says of itself, where its bytes begin, and where the next one does. */
export interface TarEntry extends ArtifactEntry {
  dataAt: number;
  nextAt: number;
}

/** Reads bytes of something stored; a range that ends beyond it ends with it. */
export type Reader = (start: number, end: number) => Promise<Buffer>;

/**
 * The entries of a tar from one of its headers on, read by pieces: what the files hold is passed over. The tar is a
 * sandbox's word: its sums are checked, its names are bounded and lead nowhere, and nothing of it touches a file system.
 */
export async function* entriesOf(read: Reader, sizeBytes: number, from = 0): AsyncGenerator<TarEntry, void> {
  const window = new Window(read, sizeBytes);
  let said: Said = {};
  let at = from;
  while (at + BLOCK <= sizeBytes) {
    const header = await window.take(at, BLOCK);
    if (header.every((byte) => byte === 0)) return;
    const block = parse(header, at);
    const dataAt = at + BLOCK;
    at = dataAt + Math.ceil((said.size ?? block.size) / BLOCK) * BLOCK;
    if ("LKxg".includes(block.type)) {
      at = dataAt + Math.ceil(block.size / BLOCK) * BLOCK;
      if (block.size > WORDS_BYTES) throw broken("a name is too long");
      if (block.type !== "g") said = { ...said, ...wordsOf(block.type, await window.take(dataAt, block.size)) };
      continue;
    }
    const size = said.size ?? block.size;
    if (size < 0 || dataAt + size > sizeBytes) throw broken("an entry ends beyond the end");
    yield entryOf(block, said, size, dataAt, at);
    said = {};
  }
  if (at > sizeBytes) throw broken("it ends in the middle");
}

/** Refuses a tar that is none, or whose names would lead out of the folder it is unpacked in. Answers how much it holds. */
export async function requireSafe(read: Reader, sizeBytes: number): Promise<number> {
  let entries = 0;
  for await (const { path } of entriesOf(read, sizeBytes)) {
    entries += 1;
    if (entries > LIMITS.archiveEntries) throw broken(`more than ${LIMITS.archiveEntries} entries`);
    const isOut = path.startsWith("/") || path.split("/").includes("..") || path.includes("\0");
    if (isOut || Buffer.byteLength(path) > LIMITS.pathBytes) throw broken("a path leads out of its folder or is too long");
  }
  return entries;
}

interface Block {
  type: string;
  name: string;
  link: string;
  size: number;
  mode: number;
  modifiedAtS: number;
}

/** What blocks before an entry said of it. */
interface Said {
  path?: string;
  link?: string;
  size?: number;
}

function parse(header: Buffer, at: number): Block {
  let sum = 0;
  for (const [place, byte] of header.entries()) sum += place >= 148 && place < 156 ? 32 : byte;
  if (number(header, 148, 8) !== sum) throw broken(`no header at ${at}`);
  const isUstar = text(header, 257, 6) === "ustar";
  const prefix = isUstar ? text(header, 345, 155) : "";
  const type = String.fromCharCode(header[156] ?? 0);
  const size = number(header, 124, 12);
  return {
    type,
    name: prefix === "" ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`,
    link: text(header, 157, 100),
    size: "123456".includes(type) ? 0 : size,
    mode: number(header, 100, 8),
    modifiedAtS: number(header, 136, 12),
  };
}

function entryOf(block: Block, said: Said, size: number, dataAt: number, nextAt: number): TarEntry {
  const path = (said.path ?? block.name).replace(/^(\.\/)+/, "").replace(/\/+$/, "");
  const types: Record<string, ArtifactEntry["type"]> = {
    "\0": "file",
    "0": "file",
    "7": "file",
    "1": "hardlink",
    "2": "symlink",
    "5": "directory",
  };
  const type = types[block.type] ?? "other";
  const target = type === "symlink" || type === "hardlink" ? { target: said.link ?? block.link } : {};
  const atMs = Math.min(Math.max(block.modifiedAtS, 0), 8.64e12) * 1000;
  const modifiedAt = new Date(Math.min(atMs, 8.64e15)).toISOString();
  const mode = (block.mode & 0o7777).toString(8).padStart(4, "0");
  return { path: path === "." ? "" : path, type, sizeBytes: type === "file" ? size : 0, mode, modifiedAt, ...target, dataAt, nextAt };
}

function wordsOf(type: string, bytes: Buffer): Said {
  if (type === "L") return { path: text(bytes, 0, bytes.length) };
  if (type === "K") return { link: text(bytes, 0, bytes.length) };
  const said: Said = {};
  // Each record is its own length in bytes, a space, `name=value` and a line's end.
  for (let at = 0; at < bytes.length;) {
    const length = Number(/^\d{1,7} /.exec(bytes.toString("latin1", at, at + 8))?.[0] ?? Number.NaN);
    if (!(length > 3) || at + length > bytes.length) throw broken("an extended header is not one");
    const record = bytes.toString("utf8", at, at + length - 1);
    const [, name, value = ""] = /^\d+ ([^=]*)=([\s\S]*)$/.exec(record) ?? [];
    if (name === "path") said.path = value;
    if (name === "linkpath") said.link = value;
    if (name === "size") said.size = Number(/^\d{1,15}$/.test(value) ? value : Number.NaN);
    at += length;
  }
  if (said.size !== undefined && !Number.isSafeInteger(said.size)) throw broken("a size is no number");
  return said;
}

function text(bytes: Buffer, at: number, length: number): string {
  const end = bytes.indexOf(0, at);
  return bytes.toString("utf8", at, end < 0 || end > at + length ? at + length : end);
}

/** Octal, or what GNU writes where that is too short: the first bit set, and the rest as one number. */
function number(bytes: Buffer, at: number, length: number): number {
  const first = bytes[at] ?? 0;
  if ((first & 0x80) === 0) {
    const digits = bytes
      .toString("latin1", at, at + length)
      .replace(/[\0 ]+$/, "")
      .trim();
    if (digits === "") return 0;
    if (!/^[0-7]+$/.test(digits)) throw broken("a number is none");
    return parseInt(digits, 8);
  }
  let value = first & 0x3f;
  for (let place = at + 1; place < at + length; place += 1) value = value * 256 + (bytes[place] ?? 0);
  const signed = first & 0x40 ? -1 : value;
  if (!Number.isSafeInteger(signed)) throw broken("a number is too large");
  return signed;
}

function broken(what: string): Problem {
  return new Problem("invalid_archive", { detail: `The directory came as something that is no safe tar: ${what}` });
}

/** What was read last, so that many small entries take one read. */
class Window {
  readonly #read: Reader;
  readonly #sizeBytes: number;
  #start = 0;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(read: Reader, sizeBytes: number) {
    this.#read = read;
    this.#sizeBytes = sizeBytes;
  }

  async take(at: number, length: number): Promise<Buffer> {
    if (at + length > this.#sizeBytes) throw broken("it ends in the middle");
    if (length === 0) return Buffer.alloc(0);
    if (at < this.#start || at + length > this.#start + this.#bytes.length) {
      const end = Math.min(this.#sizeBytes, at + Math.max(WINDOW_BYTES, length)) - 1;
      this.#bytes = await this.#read(at, end);
      this.#start = at;
    }
    return this.#bytes.subarray(at - this.#start, at - this.#start + length);
  }
}
