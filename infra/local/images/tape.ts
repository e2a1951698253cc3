import { type FileHandle } from "node:fs/promises";
import { posix } from "node:path";
import { imageNotValid } from "./refusal.ts";

/** Where a file lies within a tar. */
export interface Place {
  offset: number;
  sizeBytes: number;
}

const BLOCK = 512;
const ENTRIES_MAX = 20_000;
const LINKS_MAX = 8;
/** Headers of entries that say something about the next entry; of one long enough to name no blob nothing is wanted. */
const EXTENSION_BYTES = 64 * 1024;

/** Finds the files of a plain tar without reading their content: names as they are written, links followed. */
export async function indexTar(file: FileHandle): Promise<Map<string, Place>> {
  const { size } = await file.stat();
  const places = new Map<string, Place>();
  const links = new Map<string, string>();
  const header = Buffer.alloc(BLOCK);
  let extended: { path?: string; linkpath?: string; size?: number } = {};
  let at = 0;
  for (let count = 0; at + BLOCK <= size; count += 1) {
    if (count > ENTRIES_MAX) throw imageNotValid(`The archive has more than ${ENTRIES_MAX} entries`);
    await file.read(header, 0, BLOCK, at);
    if (header.every((byte) => byte === 0)) break;
    refuseDamaged(header);
    const kind = String.fromCharCode(header[156] ?? 0);
    const sizeBytes = extended.size ?? numberIn(header.subarray(124, 136));
    const place = { offset: at + BLOCK, sizeBytes };
    if (!Number.isSafeInteger(sizeBytes) || place.offset + sizeBytes > size) throw imageNotValid("The archive is cut off");
    at = place.offset + Math.ceil(sizeBytes / BLOCK) * BLOCK;
    if (kind === "x") extended = { ...extended, ...extensionIn(await bytesAt(file, place)) };
    else if (kind === "L") extended = { ...extended, path: textIn(await bytesAt(file, place)) };
    else if (kind === "K") extended = { ...extended, linkpath: textIn(await bytesAt(file, place)) };
    else if (kind !== "g") {
      const name = posix.normalize(extended.path ?? nameIn(header));
      if (kind === "0" || kind === "\0") places.set(name, place);
      else if (kind === "2") links.set(name, posix.join(posix.dirname(name), extended.linkpath ?? textIn(header.subarray(157, 257))));
      else if (kind === "1") links.set(name, posix.normalize(extended.linkpath ?? textIn(header.subarray(157, 257))));
      extended = {};
    }
  }
  for (const name of links.keys()) {
    const place = followed(name, places, links);
    if (place) places.set(name, place);
  }
  return places;
}

function followed(name: string, places: ReadonlyMap<string, Place>, links: ReadonlyMap<string, string>): Place | undefined {
  let to: string | undefined = name;
  for (let hops = 0; hops < LINKS_MAX && to !== undefined; hops += 1) {
    const place = places.get(to);
    if (place) return place;
    to = links.get(to);
  }
  return undefined;
}

async function bytesAt(file: FileHandle, { offset, sizeBytes }: Place): Promise<Buffer> {
  if (sizeBytes > EXTENSION_BYTES) throw imageNotValid("A header of the archive is too long");
  const bytes = Buffer.alloc(sizeBytes);
  await file.read(bytes, 0, sizeBytes, offset);
  return bytes;
}

function refuseDamaged(header: Buffer): void {
  const sum = header.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (sum !== numberIn(header.subarray(148, 156))) throw imageNotValid("The file is neither an OCI layout nor a tar of one");
}

/** Octal digits, or for what they cannot hold its bytes. */
function numberIn(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) !== 0) {
    const bytes = Buffer.from(field);
    bytes[0] = (bytes[0] ?? 0) & 0x7f;
    return Number(BigInt(`0x${bytes.toString("hex")}`));
  }
  const digits = textIn(field).trim();
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || "0", 8) : Number.NaN;
}

function nameIn(header: Buffer): string {
  const prefix = header.subarray(257, 263).toString("latin1") === "ustar\0" ? textIn(header.subarray(345, 500)) : "";
  const name = textIn(header.subarray(0, 100));
  return prefix === "" ? name : `${prefix}/${name}`;
}

function textIn(field: Buffer): string {
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? field.length : end).toString("utf8");
}

function extensionIn(record: Buffer): { path?: string; linkpath?: string; size?: number } {
  const said: Record<string, string> = {};
  for (const [, key = "", value = ""] of record.toString("utf8").matchAll(/\d+ ([\w.]+)=([^\n]*)\n/g)) said[key] = value;
  const { path, linkpath, size } = said;
  return {
    ...(path === undefined ? {} : { path }),
    ...(linkpath === undefined ? {} : { linkpath }),
    ...(size === undefined ? {} : { size: Number(size) }),
  };
}
