import { createHash } from "node:crypto";
import { open as openFile, type FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import type { Artifact } from "#contract/artifact.ts";
import { Problem } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";
import { completeUpload, createUpload, getUpload, putUploadPart, type Upload } from "#contract/upload.ts";
import { call, newClient, type Client, type ClientOptions } from "./client.ts";

const PART_BYTES = 64 * 1024 * 1024;
const ATTEMPTS = 4;
const FIRST_WAIT_MS = 500;

/**
 * Uploads a local file in parts, and makes an artifact of it whose hash is the file's. A part that fails is sent again;
 * after a crash, `resume` goes on with an upload by its id, and what came of the same file is not sent again.
 */
export async function uploadFile(
  file: string,
  options: ClientOptions & {
    name?: string | undefined;
    mediaType?: string | undefined;
    taskId?: string | undefined;
    retainUntil?: string | undefined;
    resume?: string | undefined;
    partBytes?: number | undefined;
    onUpload?: (upload: Upload) => void;
    signal?: AbortSignal | undefined;
  } = {},
): Promise<Artifact> {
  const client = newClient(options);
  const { name = basename(file), mediaType, taskId, retainUntil, resume, partBytes = PART_BYTES, signal } = options;
  await using handle = await openFile(file, "r");
  const sizeBytes = (await handle.stat()).size;
  const upload =
    resume === undefined
      ? await call(client, createUpload, { body: { name, sizeBytes, mediaType, taskId, retainUntil }, signal })
      : await call(client, getUpload, { params: { uploadId: resume }, signal });
  options.onUpload?.(upload);
  if (upload.sizeBytes !== sizeBytes)
    throw new Problem("invalid_request", { detail: `The upload is of ${upload.sizeBytes} bytes, and ${file} has ${sizeBytes}` });
  const whole = createHash("sha256");
  const known = new Map(upload.parts.map((part) => [part.part, part]));
  // What was sent in parts of one size goes on in parts of that size.
  const step = known.get(1)?.sizeBytes || partBytes;
  for (let start = 0, part = 1; start < sizeBytes; start += step, part += 1) {
    const bytes = await readPart(handle, start, Math.min(step, sizeBytes - start), file);
    whole.update(bytes);
    if (known.get(part)?.sha256 === createHash("sha256").update(bytes).digest("hex")) continue;
    await sendPart(client, upload.id, part, bytes, signal);
  }
  const body = { sha256: whole.digest("hex") };
  return await call(client, completeUpload, { params: { uploadId: upload.id }, body, signal });
}

async function sendPart(
  client: Client,
  uploadId: string,
  part: number,
  body: Uint8Array<ArrayBuffer>,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await call(client, putUploadPart, { params: { uploadId, part }, body, signal });
      return;
    } catch (error) {
      const mayHelp = error instanceof Problem && PROBLEMS[error.code].retry;
      if (!mayHelp || attempt === ATTEMPTS || signal?.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_WAIT_MS * 2 ** attempt));
    }
  }
}

async function readPart(handle: FileHandle, start: number, length: number, file: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const { bytesRead } = await handle.read(bytes, at, length - at, start + at);
    if (bytesRead === 0) throw new Problem("file_changed", { detail: `${file} became shorter while it was sent`, path: file });
    at += bytesRead;
  }
  return bytes;
}
