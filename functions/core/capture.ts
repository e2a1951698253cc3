import { createHash } from "node:crypto";
import { newId } from "#contract/id.ts";
import { FILES_HEADER, SKIPPED_HEADER } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { claimBlob } from "./blobs.ts";
import { chunksOf } from "./chunks.ts";
import type { Platform, Row } from "./ports.ts";
import { requestSandbox } from "./sandboxes.ts";
import { finishIntent, INTENTS, type IntentRow, putIntent, TAKE_MAX_MS } from "./snapshot-intents.ts";
import { reserveBytes } from "./snapshot-quotas.ts";
import { type Capture, chunkKey, CHUNKS, type ChunkRow } from "./snapshot-rows.ts";

const RESERVED_BYTES = 64 * 1024 * 1024;
const AT_ONCE = 4;

/** A capture just taken. Until its intent is finished it is nobody's, and a crash takes it away. */
export interface Captured extends Capture {
  intentKey: string;
  newBytes: number;
  digest: string;
  files: number;
  skipped: number;
}

/**
 * Reads all files of a sandbox into chunks, each kept once for the project. The intent is written before anything, a
 * chunk's row before its claim, its claim before its bytes: a crash anywhere leaves work for the sweep, not a leak.
 */
export async function captureSandbox(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  name: string | undefined,
  signal?: AbortSignal,
): Promise<Captured> {
  const bounded = AbortSignal.any([AbortSignal.timeout(TAKE_MAX_MS), ...(signal ? [signal] : [])]);
  const { body, files, skipped } = await openFiles(platform, project, sandboxId, bounded);
  const id = newId(platform.clock.now());
  let intentKey: string | undefined;
  try {
    const intent = await putIntent(platform, { projectId: project.id, id, ...(name === undefined ? {} : { name }) });
    intentKey = intent.key;
    const taking = new Taking(platform, intent);
    await taking.takeAll(readAll(body, sandboxId), bounded);
    const { sizeBytes, newBytes, digest } = taking;
    return { id, projectId: project.id, intentKey, sizeBytes, newBytes, digest, files, skipped };
  } catch (error) {
    if (!body.locked) await body.cancel().catch(() => {});
    if (intentKey !== undefined) await finishIntent(platform, intentKey).catch(() => {});
    throw bounded.aborted && !signal?.aborted ? new Problem("timeout", { detail: "The snapshot took too long", sandboxId }) : error;
  }
}

/** One capture while its stream comes: a few chunks are kept at once, and no more is read than these. */
class Taking {
  readonly #platform: Platform;
  readonly #list = createHash("sha256");
  readonly #stored = new Map<string, Promise<void>>();
  #intent: Row<IntentRow>;
  #count = 0;
  sizeBytes = 0;
  newBytes = 0;
  digest = "";

  constructor(platform: Platform, intent: Row<IntentRow>) {
    this.#platform = platform;
    this.#intent = intent;
  }

  async takeAll(body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const running = new Set<Promise<void>>();
    let failure: { error: unknown } | undefined;
    try {
      for await (const bytes of chunksOf(body)) {
        signal.throwIfAborted();
        await this.#reserve(bytes.length);
        const keeping = this.#keep(bytes, signal).catch((error: unknown) => void (failure ??= { error }));
        running.add(keeping);
        void keeping.finally(() => running.delete(keeping));
        if (running.size >= AT_ONCE) await Promise.race(running);
        if (failure) break;
      }
    } finally {
      // A claim that came after its release would stay for ever.
      await Promise.all(running);
    }
    if (failure) throw failure.error;
    if (this.#count === 0) throw new Problem("sandbox_lost", { detail: "The workspace answered no files at all" });
    this.digest = this.#list.digest("hex");
  }

  /** Takes more of the quota before it is used; what may have been taken is written down before it is. */
  async #reserve(bytes: number): Promise<void> {
    this.sizeBytes += bytes;
    if (this.sizeBytes > LIMITS.snapshotBytes)
      throw new Problem("body_too_large", {
        detail: `A snapshot has at most ${LIMITS.snapshotBytes} bytes`,
        limitBytes: LIMITS.snapshotBytes,
      });
    const { projectId, heldBytes } = this.#intent.value;
    if (Math.max(this.sizeBytes, LIMITS.snapshotLeastBytes) <= heldBytes) return;
    await this.#note({ askedBytes: RESERVED_BYTES });
    try {
      await reserveBytes(this.#platform, projectId, RESERVED_BYTES);
    } catch (error) {
      await this.#note({ askedBytes: 0 });
      throw error;
    }
    await this.#note({ askedBytes: 0, heldBytes: heldBytes + RESERVED_BYTES });
  }

  async #note(change: Partial<IntentRow>): Promise<void> {
    const { key, version, value } = this.#intent;
    this.#intent = await this.#platform.tables.put<IntentRow>(INTENTS, key, { ...value, ...change }, { ifVersion: version });
  }

  async #keep(bytes: Buffer, signal: AbortSignal): Promise<void> {
    const { projectId, id } = this.#intent.value;
    const { tables } = this.#platform;
    const sha256 = createHash("sha256").update(bytes).digest();
    this.#list.update(sha256);
    const chunk: ChunkRow = { sha256: sha256.toString("hex"), sizeBytes: bytes.length };
    const index = this.#count++;
    await tables.put(CHUNKS, chunkKey({ projectId, id }, index), chunk, { ifVersion: "absent" });
    // Runs of zeros come as many equal chunks, of which one has to be kept.
    const stored = this.#stored.get(chunk.sha256) ?? this.#store(chunk.sha256, bytes, signal);
    this.#stored.set(chunk.sha256, stored);
    await stored;
  }

  async #store(sha256: string, bytes: Buffer, signal: AbortSignal): Promise<void> {
    const { projectId, id } = this.#intent.value;
    const { objects } = this.#platform;
    const objectKey = await claimBlob(this.#platform, projectId, sha256, id);
    if (await objects.head(objectKey)) return;
    await objects.put(objectKey, ReadableStream.from([bytes]), { maxBytes: bytes.length, mediaType: "application/octet-stream" }, signal);
    this.newBytes += bytes.length;
  }
}

/** The files as they come; a stream that breaks is a sandbox that is lost. */
async function* readAll(body: ReadableStream<Uint8Array>, sandboxId: string): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } catch (error) {
    throw error instanceof Problem
      ? error
      : new Problem("sandbox_lost", { detail: "The sandbox went away while it was read", sandboxId }, error);
  }
}

interface OpenFiles {
  body: ReadableStream<Uint8Array>;
  files: number;
  skipped: number;
}

async function openFiles(platform: Platform, project: Pick<Project, "id">, sandboxId: string, signal: AbortSignal): Promise<OpenFiles> {
  const passage = { method: "GET", url: "http://workspace/snapshot", headers: new Headers(), body: null, inner: true } as const;
  const response = await requestSandbox(platform, project, sandboxId, passage, signal);
  if (response.ok && response.body)
    return { body: response.body, files: countIn(response, FILES_HEADER), skipped: countIn(response, SKIPPED_HEADER) };
  const said = problemFrom(await response.json().catch(() => undefined));
  throw said ?? new Problem("sandbox_lost", { detail: `The workspace answered ${response.status}`, sandboxId });
}

/** A number that the sandbox says, within what a number of files can be. */
function countIn(response: Response, name: string): number {
  const text = response.headers.get(name) ?? "";
  return /^\d{1,12}$/.test(text) ? Number(text) : 0;
}
