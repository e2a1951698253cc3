import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from "@aws-sdk/client-s3";

const COPY_PART_BYTES = 512 * 1024 * 1024;

interface Target {
  Bucket: string;
  Key: string;
}

/** Puts an object of unknown length part by part; one that fails leaves nothing. */
export async function putInParts(
  client: S3Client,
  target: Target & { ContentType: string },
  parts: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<void> {
  const options = signal ? { abortSignal: signal } : {};
  await inParts(client, target, async function* (upload) {
    let PartNumber = 0;
    for await (const Body of parts) {
      PartNumber += 1;
      const { ETag } = await client.send(new UploadPartCommand({ ...upload, PartNumber, Body, ContentLength: Body.byteLength }), options);
      yield { PartNumber, ETag };
    }
    signal?.throwIfAborted();
  });
}

/** Copies an object that is too large for one copy, within the store. */
export async function copyInParts(client: S3Client, target: Target & { CopySource: string }, sizeBytes: number): Promise<void> {
  const { CopySource, ...place } = target;
  await inParts(client, place, async function* (upload) {
    for (let start = 0, PartNumber = 1; start < sizeBytes; start += COPY_PART_BYTES, PartNumber++) {
      const end = Math.min(start + COPY_PART_BYTES, sizeBytes) - 1;
      const { CopyPartResult } = await client.send(
        new UploadPartCopyCommand({ ...upload, PartNumber, CopySource, CopySourceRange: `bytes=${start}-${end}` }),
      );
      yield { PartNumber, ETag: CopyPartResult?.ETag };
    }
  });
}

async function inParts(
  client: S3Client,
  target: Target & { ContentType?: string },
  send: (upload: Target & { UploadId: string | undefined }) => AsyncIterable<CompletedPart>,
) {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand(target));
  const upload = { Bucket: target.Bucket, Key: target.Key, UploadId };
  try {
    const Parts: CompletedPart[] = [];
    for await (const part of send(upload)) Parts.push(part);
    await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
  } catch (error) {
    // What cannot be taken back now falls to the bucket's rule for unfinished uploads; the first error is the one that counts.
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => {});
    throw error;
  }
}
