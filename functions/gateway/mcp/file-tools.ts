import * as z from "zod";
import { FileEntry, SandboxPath } from "#contract/file.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { imageOf, imageType } from "./images.ts";
import { CHANGES, DESTROYS, type Outcome, plain, READS, text, tool, type Work } from "./tool.ts";

const Path = SandboxPath.describe("Absolute, or relative to /home/user");
const Offset = z.int().min(0).default(0).describe("The byte to start at");
const Mode = z.string().regex(/^0?[0-7]{3}$/, "is an octal mode such as 644");
const Written = z.object({ path: z.string(), size: z.int() });
const Entry = z.object({ entry: FileEntry });

const Part = z.object({
  path: z.string(),
  size: z.number().describe("Of the whole file, in bytes"),
  offset: z.number(),
  bytes: z.number().describe("How many bytes this answer holds"),
  next: z.number().optional().describe("Where to go on reading; absent at the end"),
});

export const FILE_TOOLS = [
  tool({
    name: "read_file",
    title: "Read a file",
    description: "Reads a text file, in pieces if it is long, or shows an image. For other bytes use file_system_download.",
    input: z.strictObject({
      path: Path,
      offset: Offset,
      limit: z.int().min(1).max(LIMITS.mcpTextChars).default(LIMITS.mcpTextChars).describe("Bytes to read at most"),
    }),
    output: Part.extend({ content: z.string().optional().describe("The text; absent for an image") }),
    hints: READS,
    run: readText,
  }),
  tool({
    name: "write_file",
    title: "Write a file",
    description: "Writes text to a file, replacing what was there; missing folders are made.",
    input: z.strictObject({ path: Path, content: z.string(), mode: Mode.default("644") }),
    output: Written,
    hints: { ...DESTROYS, idempotentHint: true },
    run: async (input, work) => plain(await work.json(Written, "POST", "/files", { json: input })),
  }),
  tool({
    name: "file_system_list",
    title: "List a folder",
    description: "Lists a folder, as deep as asked.",
    input: z.strictObject({ path: Path.default("/home/user"), depth: z.int().min(1).max(20).default(1) }),
    output: z.object({ path: z.string(), entries: z.array(FileEntry), truncated: z.boolean() }),
    hints: READS,
    run: listFolder,
  }),
  tool({
    name: "file_system_stat",
    title: "Describe a path",
    description: "A file's or folder's kind, size, owner, rights and time of change.",
    input: z.strictObject({ path: Path }),
    output: Entry,
    hints: READS,
    run: async ({ path }, work) => plain(await work.json(Entry, "GET", "/filesystem/stat", { query: { path } })),
  }),
  tool({
    name: "file_system_download",
    title: "Download a file",
    description: "Brings a file's bytes as a blob, in pieces if it is large.",
    input: z.strictObject({
      path: Path,
      offset: Offset,
      length: z.int().min(1).max(LIMITS.mcpBinaryBytes).default(LIMITS.mcpBinaryBytes).describe("Bytes to bring at most"),
    }),
    output: Part.extend({ mediaType: z.string() }),
    hints: READS,
    run: download,
  }),
  tool({
    name: "file_system_upload",
    title: "Upload a file",
    description: "Writes bytes, given as base64, to a file; missing folders are made.",
    input: z.strictObject({ path: Path, content: z.base64().describe("The bytes as base64"), mode: Mode.default("644") }),
    output: Written,
    hints: { ...DESTROYS, idempotentHint: true },
    run: async ({ path, content, mode }, work) => {
      const bytes = Buffer.from(content, "base64");
      return plain(await work.json(Written, "PUT", "/files/content", { query: { path, mode }, bytes }));
    },
  }),
  tool({
    name: "file_system_mkdir",
    title: "Make a folder",
    description: "Makes a folder and those above it; one that exists stays as it is.",
    input: z.strictObject({ path: Path, parents: z.boolean().default(true), mode: Mode.default("755") }),
    output: Entry,
    hints: { ...CHANGES, idempotentHint: true },
    run: async (input, work) => plain(await work.json(Entry, "POST", "/filesystem/mkdir", { json: input })),
  }),
  tool({
    name: "file_system_move",
    title: "Move or rename",
    description: "Moves or renames a file or a folder.",
    input: z.strictObject({ source: Path, destination: Path }),
    output: Entry,
    hints: CHANGES,
    run: async (input, work) => plain(await work.json(Entry, "POST", "/filesystem/move", { json: input })),
  }),
  tool({
    name: "file_system_remove",
    title: "Remove a file or folder",
    description: "Removes a file, or a folder with all that is in it.",
    input: z.strictObject({ path: Path }),
    output: z.object({ entry: FileEntry.optional() }),
    hints: { ...DESTROYS, idempotentHint: true },
    run: async (input, work) => plain(await work.json(Entry.partial(), "POST", "/filesystem/remove", { json: input })),
  }),
];

async function readText({ path, offset, limit }: { path: string; offset: number; limit: number }, work: Work): Promise<Outcome> {
  const { bytes, size } = await readPart(work, path, offset, limit);
  if (offset === 0 && imageType(bytes)) return showImage(path, size, work);
  const content = decoded(bytes, path);
  const length = Buffer.byteLength(content);
  const part = partOf(path, size, offset, length);
  const more = part.next === undefined ? "" : `\n[… ${size - part.next} bytes more: read on at offset ${part.next} …]`;
  return { value: { ...part, content }, content: [text(content + more || "(empty)")] };
}

async function showImage(path: string, size: number, work: Work): Promise<Outcome> {
  if (size > LIMITS.mcpBinaryBytes) {
    const detail = `${path} is an image of ${size} bytes, more than one answer holds`;
    throw new Problem("body_too_large", {
      detail,
      limitBytes: LIMITS.mcpBinaryBytes,
      next: "Make it smaller with run_code, then read that.",
    });
  }
  const { bytes } = await readPart(work, path, 0, LIMITS.mcpBinaryBytes);
  const image = imageOf(bytes);
  return { value: partOf(path, size, 0, bytes.length), content: image ? [image] : [] };
}

/** Text that may end in the middle of a character, which is left for the next piece. */
function decoded(bytes: Uint8Array, path: string): string {
  try {
    const content = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: true });
    if (!content.includes("\0")) return content;
  } catch {
    // It is told below, as bytes that hold a NUL are.
  }
  throw new Problem("not_supported", { detail: `${path} is not text`, next: "Use file_system_download for its bytes." });
}

async function download({ path, offset, length }: { path: string; offset: number; length: number }, work: Work): Promise<Outcome> {
  const { bytes, size } = await readPart(work, path, offset, length);
  const mediaType = (offset === 0 ? imageType(bytes) : undefined) ?? "application/octet-stream";
  const value = { ...partOf(path, size, offset, bytes.length), mediaType };
  const uri = new URL(`file://${encodeURI(path.startsWith("/") ? path : `/home/user/${path}`)}`).href;
  const blob = Buffer.from(bytes).toString("base64");
  return { value, content: [text(JSON.stringify(value)), { type: "resource", resource: { uri, mimeType: mediaType, blob } }] };
}

async function readPart(work: Work, path: string, offset: number, length: number): Promise<{ bytes: Uint8Array; size: number }> {
  const range = `bytes=${offset}-${offset + length - 1}`;
  try {
    const response = await work.ask("GET", "/files/content", { query: { path }, headers: { range } });
    const bytes = await bounded(response, length);
    const total = Number(/\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1] ?? offset + bytes.length);
    return { bytes, size: Math.max(total, offset + bytes.length) };
  } catch (error) {
    // Nothing is left to read of a file that ends there.
    const size = error instanceof Problem && error.code === "range_not_satisfiable" ? error.facts["sizeBytes"] : undefined;
    if (size !== offset) throw error;
    return { bytes: new Uint8Array(), size: offset };
  }
}

/** A sandbox that sends more than was asked for is not read on. */
async function bounded(response: Response, length: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let left = length;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk.subarray(0, left));
    left -= chunk.length;
    if (left <= 0) break;
  }
  return Buffer.concat(chunks);
}

function partOf(path: string, size: number, offset: number, bytes: number) {
  const end = offset + bytes;
  return { path, size, offset, bytes, ...(end < size ? { next: end } : {}) };
}

const ENTRIES_MAX = 500;

async function listFolder(input: { path: string; depth: number }, work: Work): Promise<Outcome> {
  const schema = z.object({ path: z.string(), entries: z.array(FileEntry), truncated: z.boolean() });
  const listed = await work.json(schema, "GET", "/filesystem", { query: input });
  const entries = listed.entries.slice(0, ENTRIES_MAX);
  const truncated = listed.truncated || entries.length < listed.entries.length;
  const lines = entries.map(({ type, path, size }) =>
    type === "directory" ? `${path}/` : `${path} (${type === "file" ? `${size} bytes` : type})`,
  );
  const more = truncated ? [`[… more than ${entries.length} entries: list a folder below …]`] : [];
  return { value: { path: listed.path, entries, truncated }, content: [text([...lines, ...more].join("\n") || "(empty)")] };
}
