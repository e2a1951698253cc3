/** How many of the first bytes say what a file is. */
export const HEAD_BYTES = 4096;

const BYTES = "application/octet-stream";
const ACTIVE_NAMES: ReadonlySet<string> = new Set(["text/html", "application/xhtml+xml", "image/svg+xml", "application/xml", "text/xml"]);

/** What begins so is that: an offset, the bytes there in Latin-1, and the type. */
const MAGIC: readonly (readonly [number, string, string])[] = [
  [0, "\x89PNG\r\n\x1a\n", "image/png"],
  [0, "\xff\xd8\xff", "image/jpeg"],
  [0, "GIF87a", "image/gif"],
  [0, "GIF89a", "image/gif"],
  [8, "WEBP", "image/webp"],
  [0, "%PDF-", "application/pdf"],
  [0, "PK\x03\x04", "application/zip"],
  [0, "PK\x05\x06", "application/zip"],
  [0, "\x1f\x8b", "application/gzip"],
  [0, "BZh", "application/x-bzip2"],
  [0, "\xfd7zXZ\0", "application/x-xz"],
  [0, "(\xb5/\xfd", "application/zstd"],
  [0, "PAR1", "application/vnd.apache.parquet"],
  [0, "SQLite format 3\0", "application/vnd.sqlite3"],
  [0, "\x1aE\xdf\xa3", "video/webm"],
  [4, "ftyp", "video/mp4"],
  [257, "ustar", "application/x-tar"],
  [0, "\x7fELF", "application/x-elf"],
  [0, "\0asm", "application/wasm"],
];

/** Packed as zip, and the name says what. */
const ZIPPED: Record<string, string> = {
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  pptx: "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
};

/** Text is text, and the name says of which kind. None of these is shown by a browser as anything but text. */
const TEXTS: Record<string, string> = {
  csv: "text/csv",
  js: "text/javascript",
  json: "application/json",
  jsonl: "application/jsonl",
  log: "text/plain",
  md: "text/markdown",
  py: "text/x-python",
  tsv: "text/tab-separated-values",
  txt: "text/plain",
  yaml: "application/yaml",
  yml: "application/yaml",
};

/** What a browser would run, wherever in the first words it begins. */
const HTML =
  /^\s*(<!--|<!doctype\s+html|<\/?(html|head|body|script|iframe|title|style|link|meta|table|div|span|form|img|a|p|br|h[1-6])[\s/>])/i;
const SVG = /<svg[\s>]/i;

/**
 * What a file is by its first bytes. Its name only says which kind of text, or of zip, something is that has shown itself
 * to be text or a zip: no name makes a page, a picture or a program of it.
 */
export function mediaTypeOf(head: Uint8Array, name: string): string {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.byteLength, HEAD_BYTES)).toString("latin1");
  const extension = /\.([A-Za-z0-9]{1,8})$/.exec(name)?.[1]?.toLowerCase() ?? "";
  const found = MAGIC.find(([offset, bytes, type]) => text.startsWith(bytes, offset) && (type !== "image/webp" || text.startsWith("RIFF")));
  if (found) return found[2] === "application/zip" ? (own(ZIPPED, extension) ?? found[2]) : found[2];
  if (!isText(head)) return BYTES;
  const words = text.replace(/^\xef\xbb\xbf/, "");
  if (HTML.test(words)) return "text/html";
  if (/^\s*<\?xml|^\s*<!doctype|^\s*<svg[\s>]/i.test(words)) return SVG.test(words) ? "image/svg+xml" : "application/xml";
  return own(TEXTS, extension) ?? "text/plain";
}

/** The type that an artifact gets: its keeper's word, unless one of both says that a browser would run it, and the other not. */
export function settledType(head: Uint8Array, name: string, stated: string | undefined): string {
  const found = mediaTypeOf(head, name);
  return stated === undefined || isActive(stated) || isActive(found) ? found : stated;
}

/** Whether a browser that shows it runs what is in it. */
export function isActive(mediaType: string): boolean {
  const plain = (mediaType.split(";")[0] ?? "").trim().toLowerCase();
  return ACTIVE_NAMES.has(plain) || plain.endsWith("+xml");
}

/** UTF-8, or UTF-16 that says so, without the controls that no text has. The last letter may be cut. */
export function isText(bytes: Uint8Array): boolean {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return true;
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return true;
  if (bytes.some((byte) => byte < 32 && ![7, 8, 9, 10, 12, 13, 27].includes(byte))) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

function own(table: Record<string, string>, key: string): string | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** Passes a body on, and tells its first bytes once they have come. */
export async function* withHead(body: AsyncIterable<Uint8Array>, tell: (head: Uint8Array) => void): AsyncGenerator<Uint8Array, void> {
  let head = Buffer.alloc(0);
  for await (const piece of body) {
    if (head.byteLength < HEAD_BYTES) {
      head = Buffer.concat([head, piece.subarray(0, HEAD_BYTES - head.byteLength)]);
      tell(head);
    }
    yield piece;
  }
}
