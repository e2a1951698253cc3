import type { ArtifactPreview } from "#contract/artifact-content.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { entriesFrom, readerOf } from "./artifact-entries.ts";
import { ownArtifact, toArtifact } from "./artifact-rows.ts";
import { imageSize } from "./image-size.ts";
import { isText, mediaTypeOf } from "./media-types.ts";
import type { Platform } from "./ports.ts";
import { tableOf } from "./preview-tables.ts";

const READ_BYTES = 64 * 1024;
const IMAGE_BYTES = 256 * 1024;
const TEXT_CHARS = 16 * 1024;
const ENTRIES = 100;
const UNDRAWN = "Its sandbox could not draw the first page of this PDF when it was kept";

/**
 * What an artifact begins with. It reads a bounded piece and decodes no format that is more than its header says: what a
 * sandbox made is as hostile as its code.
 */
export async function previewArtifact(platform: Platform, project: Pick<Project, "id">, id: string): Promise<ArtifactPreview> {
  const { value } = await ownArtifact(platform, project.id, id);
  const artifact = toArtifact(value);
  const { picture } = artifact;
  if (artifact.kind === "directory") {
    const { items, next } = await entriesFrom(platform, value, 0, ENTRIES);
    return { kind: "directory", entries: items, truncated: next !== undefined };
  }
  const read = readerOf(platform, value.objectKey);
  const beginning = (bytes: number) => (artifact.sizeBytes === 0 ? Buffer.alloc(0) : read(0, bytes - 1));
  const head = await beginning(READ_BYTES);
  const type = mediaTypeOf(head.subarray(0, 4096), artifact.name);
  if (type.startsWith("image/") && type !== "image/svg+xml") {
    const size = imageSize(type, type === "image/jpeg" ? await beginning(IMAGE_BYTES) : head);
    if (size) return { kind: "image", format: type.slice("image/".length), ...size, ...(picture ? { picture } : {}) };
    throw noPreview("It calls itself a picture and its header says no size");
  }
  if (type === "application/pdf") {
    if (picture) return { kind: "pdf", picture };
    // A PDF is as good as a program, and nothing outside of a sandbox looks into one.
    throw noPreview(artifact.sandboxId === undefined ? "A PDF is drawn by the sandbox that it is kept from, and this has none" : UNDRAWN);
  }
  if (!isText(head)) throw noPreview(`There is no preview of ${type}`);
  const { text, encoding } = decoded(head);
  const isWhole = artifact.sizeBytes <= head.length;
  const table = tableOf(type, text, isWhole);
  if (table) return { kind: "table", ...table };
  return { kind: "text", text: text.slice(0, TEXT_CHARS).toWellFormed(), encoding, truncated: !isWhole || text.length > TEXT_CHARS };
}

/** The letters that are whole. Bytes that say they are UTF-16 are; all other text is UTF-8. */
function decoded(bytes: Buffer): { text: string; encoding: "utf-8" | "utf-16le" | "utf-16be" } {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
  return { text: new TextDecoder(encoding).decode(bytes, { stream: true }), encoding };
}

function noPreview(detail: string): Problem {
  return new Problem("not_supported", { detail, next: "Download it by its link." });
}
