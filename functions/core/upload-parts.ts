import { Problem } from "#contract/problem.ts";
import type { UploadPart } from "#contract/upload.ts";
import type { UploadRow } from "./artifact-rows.ts";
import { HEAD_BYTES } from "./media-types.ts";
import type { Platform } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";

const PARTS = "upload-parts";
const PAGE = 200;
const PART_DIGITS = 5;

/** A part as it was received, under a key of its own: what replaces it never overwrites the bytes that a row names. */
export interface PartRow extends UploadPart {
  objectKey: string;
  /** A link straight to the store was made for it; whether it was used only the store knows. */
  promised?: true;
}

/** The parts that are there: those that were promised are once the store has them. */
export async function receivedParts(platform: Platform, upload: UploadRow): Promise<PartRow[]> {
  const parts = await partsOf(platform, upload);
  const isThere = await Promise.all(
    parts.map(async ({ promised, objectKey, sizeBytes }) => !promised || (await platform.objects.head(objectKey))?.sizeBytes === sizeBytes),
  );
  return parts.filter((_part, at) => isThere[at]);
}

/** Says that a part is there, and answers where the bytes are that it replaces. */
export async function placePart(platform: Platform, upload: UploadRow, row: PartRow): Promise<string | undefined> {
  const key = partKey(upload, row.part);
  for (;;) {
    const before = await platform.tables.get<PartRow>(PARTS, key);
    const put = platform.tables.put<PartRow>(PARTS, key, row, { ifVersion: before?.version ?? "absent" });
    if (await unlessConflict(put)) return before?.value.objectKey;
  }
}

export async function partsOf(platform: Platform, upload: UploadRow): Promise<PartRow[]> {
  const prefix = partPrefix(upload);
  const parts: PartRow[] = [];
  let after: string | undefined;
  do {
    const rows = await platform.tables.range<PartRow>(PARTS, prefix, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    parts.push(...rows.map(({ value }) => value));
    after = rows.length < PAGE ? undefined : rows.at(-1)?.key;
  } while (after !== undefined);
  return parts;
}

/** How large a part may be beside the others: all of them together are never more than the upload said. */
export async function roomFor(platform: Platform, upload: UploadRow, part: number): Promise<number> {
  const others = (await partsOf(platform, upload)).filter((other) => other.part !== part);
  return others.reduce((room, { sizeBytes }) => room - sizeBytes, upload.upload.sizeBytes);
}

export async function removePart(platform: Platform, upload: UploadRow, row: PartRow): Promise<void> {
  await platform.tables.remove(PARTS, partKey(upload, row.part));
  await platform.objects.remove(row.objectKey);
}

/** By the store's own list, so that bytes which came without their row are found too. */
export async function removeParts(platform: Platform, upload: UploadRow): Promise<void> {
  for (;;) {
    const objects = await platform.objects.list(objectPrefix(upload), { limit: PAGE });
    for (const { key } of objects) await platform.objects.remove(key);
    if (objects.length < PAGE) break;
  }
  for (const { part } of await partsOf(platform, upload)) await platform.tables.remove(PARTS, partKey(upload, part));
}

/** The bytes of all parts, in their order. */
export async function* bytesOf(platform: Platform, parts: PartRow[]): AsyncGenerator<Uint8Array, void> {
  for (const { part, objectKey } of parts) {
    const found = await platform.objects.get(objectKey);
    if (!found) throw new Problem("upload_incomplete", { detail: `Part ${part} was replaced or taken away meanwhile`, part });
    yield* found.body;
  }
}

/** One part that is the whole needs no second writing: its hash is known, and the store copies within itself. */
export async function copyPart(platform: Platform, { part, sizeBytes, sha256, objectKey }: PartRow & { sha256: string }, key: string) {
  const found = await platform.objects.get(objectKey, sizeBytes > 0 ? { start: 0, end: HEAD_BYTES - 1 } : undefined);
  const head = Buffer.concat(await Array.fromAsync(found?.body ?? []));
  if (!found || !(await platform.objects.copy(objectKey, key)))
    throw new Problem("upload_incomplete", { detail: `Part ${part} was replaced or taken away meanwhile`, part });
  return { sizeBytes, sha256, head };
}

export function objectPrefix({ projectId, upload }: UploadRow): string {
  return `uploading/${projectId}/${upload.id}/`;
}

function partPrefix({ projectId, upload }: UploadRow): string {
  return `${projectId}/${upload.id}/`;
}

function partKey(upload: UploadRow, part: number): string {
  return partPrefix(upload) + String(part).padStart(PART_DIGITS, "0");
}
