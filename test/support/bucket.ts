import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { CreateBucketCommand, DeleteBucketCommand, ListMultipartUploadsCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { type BucketConfig, createObjects } from "#infra/aliyun/objects.ts";

/** A server that the environment names, to hold the cloud's adapter against; undefined when it names none. */
export function objectServer(environment: NodeJS.ProcessEnv = process.env): Omit<BucketConfig, "bucket"> | undefined {
  const { S3_ENDPOINT: endpoint, S3_ACCESS_KEY_ID: accessKeyId, S3_ACCESS_KEY_SECRET: accessKeySecret } = environment;
  if (!endpoint || !accessKeyId || !accessKeySecret) return undefined;
  const region = environment["S3_REGION"] ?? "us-east-1";
  return { endpoint, region, accessKeyId, accessKeySecret, forcePathStyle: environment["S3_PATH_STYLE"] !== "0" };
}

/** A new bucket on that server, which goes with all that is in it. `unfinished` counts uploads that were begun and never ended. */
export async function bucketPlace(server: Omit<BucketConfig, "bucket">) {
  const config = { ...server, bucket: `cleanroom-test-${randomUUID()}` };
  const client = new S3Client({
    endpoint: server.endpoint,
    region: server.region,
    forcePathStyle: server.forcePathStyle,
    credentials: { accessKeyId: server.accessKeyId, secretAccessKey: server.accessKeySecret },
  });
  await client.send(new CreateBucketCommand({ Bucket: config.bucket }));
  return {
    config,
    open: () => createObjects(config),
    /** Puts an object as the client does it when nobody tells it otherwise. */
    async putFramed(Key: string, Body: ReadableStream) {
      await client.send(new PutObjectCommand({ Bucket: config.bucket, Key, Body: Readable.fromWeb(Body as never), ContentLength: 10 }));
    },
    async unfinished() {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: config.bucket }));
      return Uploads.length;
    },
    async [Symbol.asyncDispose]() {
      await using objects = createObjects(config);
      for (const { key } of await objects.list("", { limit: 10_000 })) await objects.remove(key);
      await client.send(new DeleteBucketCommand({ Bucket: config.bucket }));
      client.destroy();
    },
  };
}
