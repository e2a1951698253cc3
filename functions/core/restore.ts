import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { SNAPSHOT_MEDIA_TYPE } from "#contract/inner.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import { findBlob } from "./blobs.ts";
import { inward } from "./passage.ts";
import type { Platform } from "./ports.ts";
import type { SandboxRow } from "./sandbox-rows.ts";
import { CHUNKS, type ChunkRow, chunkPrefix, type Origin, snapshotNotFound } from "./snapshot-rows.ts";

const PAGE = 200;

/** Gives a sandbox that nobody has yet the files of a capture, instead of those that it came with. */
export async function restoreInto(platform: Platform, row: SandboxRow, origin: Origin, signal?: AbortSignal): Promise<void> {
  let broken: unknown;
  const body = Readable.from(
    bytesOf(platform, origin, (error) => (broken = error)),
    { objectMode: false },
  );
  const passage = { method: "PUT", url: "http://workspace/snapshot", headers: new Headers({ "content-type": SNAPSHOT_MEDIA_TYPE }), body };
  try {
    const response = await platform.engine.request(row.ref, inward(platform, row.ref.sessionId, { ...passage, inner: true }), signal);
    if (!response.ok) throw await refusal(response, row, origin);
    await response.body?.cancel();
  } catch (error) {
    throw broken ?? error;
  } finally {
    body.destroy();
  }
}

/** The stream that was captured, each chunk checked against its hash. What fails is said aside: a request only sees its body break. */
async function* bytesOf(platform: Platform, origin: Origin, failed: (error: unknown) => void): AsyncGenerator<Uint8Array, void> {
  try {
    let left = origin.sizeBytes;
    let after: string | undefined;
    for (;;) {
      const page = { limit: PAGE, ...(after === undefined ? {} : { after }) };
      const rows = await platform.tables.range<ChunkRow>(CHUNKS, chunkPrefix(origin), page);
      for (const { value } of rows) {
        left -= value.sizeBytes;
        yield await readChunk(platform, origin, value);
      }
      after = rows.at(-1)?.key;
      if (rows.length < PAGE) break;
    }
    if (left !== 0) throw snapshotNotFound(origin.name ?? origin.id);
  } catch (error) {
    failed(error);
    throw error;
  }
}

async function readChunk(platform: Platform, origin: Origin, chunk: ChunkRow): Promise<Uint8Array> {
  const key = await findBlob(platform, origin.projectId, chunk.sha256, origin.id);
  const object = key === undefined ? undefined : await platform.objects.get(key);
  // Who deletes a snapshot while it is read takes it away under the reader.
  if (!object) throw snapshotNotFound(origin.name ?? origin.id);
  const pieces: Uint8Array[] = [];
  for await (const piece of object.body) pieces.push(piece);
  const bytes = Buffer.concat(pieces);
  if (createHash("sha256").update(bytes).digest("hex") === chunk.sha256) return bytes;
  throw new Problem("internal", { detail: "A chunk of the snapshot is not what was kept", sha256: chunk.sha256 });
}

async function refusal(response: Response, row: SandboxRow, origin: Origin): Promise<Problem> {
  const said = problemFrom(await response.json().catch(() => undefined));
  if (said?.code === "disk_full") {
    const detail = `The snapshot ${origin.name ?? origin.id} does not fit into ${row.diskMiB} MiB, the disk of the template ${row.template}`;
    return new Problem("snapshot_too_large", { detail, diskMiB: row.diskMiB, sizeBytes: origin.sizeBytes });
  }
  const word = said ? said.message : `HTTP ${response.status}`;
  return new Problem("sandbox_lost", { detail: `The workspace did not take the snapshot: ${word}`, sandboxId: row.id });
}
