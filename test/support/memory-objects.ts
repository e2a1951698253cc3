import { createHash } from "node:crypto";
import { compareKeys, objectKey } from "#contract/key.ts";
import { Problem } from "#contract/problem.ts";
import type { Objects } from "#core/ports.ts";

/** Objects in memory. */
export function memoryObjects(now: () => number = Date.now): Objects & AsyncDisposable {
  const kept = new Map<string, { bytes: Uint8Array; modifiedAtMs: number }>();
  const infoOf = (key: string) => {
    const object = kept.get(objectKey(key));
    return object && { key, sizeBytes: object.bytes.byteLength, modifiedAtMs: object.modifiedAtMs };
  };

  return {
    async put(key, body, { maxBytes }, signal) {
      objectKey(key);
      const bytes = await readAll(body, maxBytes, signal);
      kept.set(key, { bytes, modifiedAtMs: now() });
      return { sizeBytes: bytes.byteLength, sha256: createHash("sha256").update(bytes).digest("hex") };
    },
    async get(key, range) {
      const info = infoOf(key);
      const bytes = kept.get(key)?.bytes;
      if (!info || !bytes) return undefined;
      const { start, end = start } = range ? { ...range, end: range.end ?? bytes.byteLength } : { start: 0 };
      if (range && (start < 0 || end < start || start >= bytes.byteLength))
        throw new Problem("range_not_satisfiable", { sizeBytes: info.sizeBytes });
      const part = range ? bytes.subarray(start, end + 1) : bytes;
      return { info, body: new Blob([part.slice()]).stream() };
    },
    async head(key) {
      return infoOf(key);
    },
    async list(prefix, { after, limit }) {
      if (!Number.isSafeInteger(limit) || limit < 1) throw new Problem("invalid_request", { limit });
      return [...kept.keys()]
        .filter((key) => key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0))
        .toSorted(compareKeys)
        .slice(0, limit)
        .flatMap((key) => infoOf(key) ?? []);
    },
    async copy(from, to) {
      const object = kept.get(objectKey(from));
      if (object) kept.set(objectKey(to), object);
      return object !== undefined;
    },
    async move(from, to) {
      const object = kept.get(objectKey(from));
      objectKey(to);
      if (!object) return false;
      kept.delete(from);
      kept.set(to, object);
      return true;
    },
    async remove(key) {
      kept.delete(objectKey(key));
    },
    downloadLink: () => undefined,
    uploadLink: () => undefined,
    async [Symbol.asyncDispose]() {},
  };
}

async function readAll(body: ReadableStream<Uint8Array>, maxBytes: number, signal?: AbortSignal): Promise<Uint8Array> {
  const reader = body.getReader();
  const stop = () => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", stop, { once: true });
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  try {
    signal?.throwIfAborted();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      chunks.push(next.value);
      sizeBytes += next.value.byteLength;
      if (sizeBytes > maxBytes) throw new Problem("body_too_large", { maxBytes });
    }
    signal?.throwIfAborted();
    return new Uint8Array(Buffer.concat(chunks));
  } finally {
    signal?.removeEventListener("abort", stop);
    await reader.cancel().catch(() => {});
  }
}
