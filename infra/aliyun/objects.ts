import { createHash } from "node:crypto";
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { objectKey } from "#contract/key.ts";
import { Problem } from "#contract/problem.ts";
import type { ObjectInfo, Objects } from "#core/ports.ts";
import { copyInParts, putInParts } from "./multipart.ts";
import { presign } from "./presign.ts";

const PAGE_MAX = 1000;
const ONE_COPY_MAX_BYTES = 1024 ** 3;
const PART_BYTES = 8 * 1024 * 1024;

/** Where a bucket is and by which key it is reached. The cloud wants the bucket in the host name; a server on one machine wants it in the path. */
export interface BucketConfig {
  endpoint: string;
  region: string;
  bucket: string;
  accessKeyId: string;
  accessKeySecret: string;
  securityToken?: string;
  forcePathStyle: boolean;
}

/**
 * Opens the objects kept in a bucket of OSS, spoken to as S3. Every request carries its length and a signature over its
 * bytes: OSS refuses the chunked framing that the client would choose for checksums.
 */
export function createObjects(config: BucketConfig): Objects & AsyncDisposable {
  const client = clientOf(config);
  const place = { client, bucket: config.bucket };

  return {
    async put(key, body, { maxBytes, mediaType }, signal) {
      const target = { Bucket: config.bucket, Key: objectKey(key), ContentType: mediaType };
      const taken = { sizeBytes: 0, hash: createHash("sha256") };
      const parts = partsOf(body, maxBytes, taken, signal);
      try {
        const first = await parts.next();
        const second = await parts.next();
        const options = signal ? { abortSignal: signal } : {};
        if (second.done) await client.send(new PutObjectCommand({ ...target, Body: first.value ?? new Uint8Array(0) }), options);
        else await putInParts(client, target, chain([first.value ?? new Uint8Array(0), second.value], parts), signal);
      } catch (error) {
        signal?.throwIfAborted();
        throw problemOf(error);
      } finally {
        await parts.return(undefined);
      }
      return { sizeBytes: taken.sizeBytes, sha256: taken.hash.digest("hex") };
    },

    async get(key, range) {
      if (range && (range.start < 0 || (range.end ?? range.start) < range.start)) return outside(place, key);
      const Range = range ? { Range: `bytes=${range.start}-${range.end ?? ""}` } : {};
      const answer = await found(client.send(new GetObjectCommand({ Bucket: config.bucket, Key: objectKey(key), ...Range })), () =>
        outside(place, key),
      );
      if (!answer?.Body) return undefined;
      const whole = answer.ContentRange?.match(/\/(\d+)$/)?.[1];
      const sizeBytes = whole === undefined ? (answer.ContentLength ?? 0) : Number(whole);
      return { info: { key, sizeBytes, modifiedAtMs: answer.LastModified?.getTime() ?? 0 }, body: answer.Body.transformToWebStream() };
    },

    async head(key) {
      return head(place, key);
    },

    async list(prefix, { after, limit }) {
      if (!Number.isSafeInteger(limit) || limit < 1)
        throw new Problem("invalid_request", { detail: "A page has a limit of at least 1.", limit });
      const infos: ObjectInfo[] = [];
      let StartAfter = after;
      for (let more = true; more && infos.length < limit;) {
        const MaxKeys = Math.min(PAGE_MAX, limit - infos.length);
        const answer = await client
          .send(
            new ListObjectsV2Command({
              Bucket: config.bucket,
              Prefix: prefix,
              MaxKeys,
              ...(StartAfter === undefined ? {} : { StartAfter }),
            }),
          )
          .catch(refuse);
        for (const { Key = "", Size = 0, LastModified } of answer.Contents ?? []) {
          infos.push({ key: Key, sizeBytes: Size, modifiedAtMs: LastModified?.getTime() ?? 0 });
        }
        StartAfter = infos.at(-1)?.key;
        more = answer.IsTruncated === true;
      }
      return infos;
    },

    async copy(from, to) {
      return copy(place, from, to);
    },

    async move(from, to) {
      if (!(await copy(place, from, to))) return false;
      if (from !== to) await client.send(new DeleteObjectCommand({ Bucket: config.bucket, Key: from })).catch(refuse);
      return true;
    },

    async remove(key) {
      await found(client.send(new DeleteObjectCommand({ Bucket: config.bucket, Key: objectKey(key) })));
    },

    downloadLink(key, { name, expiresAtMs }) {
      // Whatever the bytes are, the store's origin shows them to nobody: they are saved.
      const query = {
        "response-content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(name)}`,
        "response-content-type": "application/octet-stream",
      };
      const url = presign(config, { method: "GET", key: objectKey(key), query }, expiresAtMs, Date.now());
      return { method: "GET", url, headers: {} };
    },

    uploadLink(key, { sizeBytes, expiresAtMs }) {
      const headers = { "content-length": String(sizeBytes) };
      return { method: "PUT", url: presign(config, { method: "PUT", key: objectKey(key), headers }, expiresAtMs, Date.now()), headers };
    },

    async [Symbol.asyncDispose]() {
      client.destroy();
    },
  };
}

function clientOf(config: BucketConfig): S3Client {
  const { accessKeyId, accessKeySecret: secretAccessKey, securityToken } = config;
  return new S3Client({
    endpoint: config.endpoint,
    region: config.region,
    forcePathStyle: config.forcePathStyle,
    credentials: { accessKeyId, secretAccessKey, ...(securityToken ? { sessionToken: securityToken } : {}) },
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    maxAttempts: 3,
    requestHandler: { connectionTimeout: 5_000, socketTimeout: 60_000 },
  });
}

/** The body in parts of one size, counted, hashed and bounded as it comes. */
async function* partsOf(
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
  taken: { sizeBytes: number; hash: ReturnType<typeof createHash> },
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, undefined> {
  const reader = body.getReader();
  const stop = () => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", stop, { once: true });
  try {
    signal?.throwIfAborted();
    let part = Buffer.allocUnsafe(PART_BYTES);
    let filled = 0;
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      taken.sizeBytes += next.value.byteLength;
      if (taken.sizeBytes > maxBytes) throw new Problem("body_too_large", { detail: `More than ${maxBytes} bytes came.`, maxBytes });
      taken.hash.update(next.value);
      for (let rest = next.value; rest.byteLength > 0;) {
        const bytes = rest.subarray(0, PART_BYTES - filled);
        part.set(bytes, filled);
        filled += bytes.byteLength;
        rest = rest.subarray(bytes.byteLength);
        if (filled < PART_BYTES) continue;
        yield part;
        part = Buffer.allocUnsafe(PART_BYTES);
        filled = 0;
      }
    }
    // An abort ends the reader as if the body had ended, and half a body is no object.
    signal?.throwIfAborted();
    if (filled > 0) yield part.subarray(0, filled);
    return undefined;
  } finally {
    signal?.removeEventListener("abort", stop);
    await reader.cancel().catch(() => {});
  }
}

async function* chain(first: Uint8Array[], rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* first;
  yield* rest;
}

async function head({ client, bucket }: { client: S3Client; bucket: string }, key: string): Promise<ObjectInfo | undefined> {
  const answer = await found(client.send(new HeadObjectCommand({ Bucket: bucket, Key: objectKey(key) })));
  return answer && { key, sizeBytes: answer.ContentLength ?? 0, modifiedAtMs: answer.LastModified?.getTime() ?? 0 };
}

async function copy(place: { client: S3Client; bucket: string }, from: string, to: string): Promise<boolean> {
  const { client, bucket } = place;
  const target = { Bucket: bucket, Key: objectKey(to) };
  const source = await head(place, from);
  if (!source) return false;
  if (from === to) return true;
  const CopySource = `${bucket}/${from.split("/").map(encodeURIComponent).join("/")}`;
  if (source.sizeBytes <= ONE_COPY_MAX_BYTES)
    return (await found(client.send(new CopyObjectCommand({ ...target, CopySource })))) !== undefined;
  await copyInParts(client, { ...target, CopySource }, source.sizeBytes).catch(refuse);
  return true;
}

async function outside(place: { client: S3Client; bucket: string }, key: string): Promise<undefined> {
  const info = await head(place, key);
  if (info) throw new Problem("range_not_satisfiable", { sizeBytes: info.sizeBytes });
}

async function found<T>(answer: Promise<T>, beyond?: () => Promise<undefined>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
    if (status === 404 && error instanceof Error && error.name !== "NoSuchBucket") return undefined;
    if (status === 416 && beyond) return beyond();
    return refuse(error);
  }
}

function refuse(error: unknown): never {
  throw problemOf(error);
}

function problemOf(error: unknown): unknown {
  if (!(error instanceof S3ServiceException)) return error;
  return new Problem(
    "internal",
    { detail: "The object store refused.", refusal: error.name, status: error.$metadata.httpStatusCode },
    error,
  );
}
