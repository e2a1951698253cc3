import { createHash, createHmac } from "node:crypto";
import type { BucketConfig } from "./objects.ts";

const ALGORITHM = "AWS4-HMAC-SHA256";
const LIFETIME_MAX_S = 7 * 24 * 60 * 60;

/** What a link lets its bearer send: one method on one key, with these headers and no others of these names. */
export interface Presigned {
  method: "GET" | "PUT";
  key: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
}

/**
 * Signs one request by its query, as S3 does it (Signature Version 4), so that whoever has the address may send exactly
 * that request until it expires. A header that is signed binds its value too: `content-length` the size of the body.
 */
export function presign(config: BucketConfig, request: Presigned, expiresAtMs: number, nowMs: number): string {
  const { protocol, host: endpoint } = new URL(config.endpoint);
  const host = config.forcePathStyle ? endpoint : `${config.bucket}.${endpoint}`;
  const path = (config.forcePathStyle ? `/${config.bucket}/` : "/") + request.key.split("/").map(encoded).join("/");
  const at = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
  const scope = `${at.slice(0, 8)}/${config.region}/s3/aws4_request`;
  const headers = Object.entries({ ...request.headers, host }).toSorted(byName);
  const names = headers.map(([name]) => name).join(";");
  const lifetimeS = Math.min(LIFETIME_MAX_S, Math.max(1, Math.floor((expiresAtMs - nowMs) / 1000)));
  const query = Object.entries({
    ...request.query,
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${config.accessKeyId}/${scope}`,
    "X-Amz-Date": at,
    "X-Amz-Expires": String(lifetimeS),
    "X-Amz-SignedHeaders": names,
    ...(config.securityToken ? { "X-Amz-Security-Token": config.securityToken } : {}),
  })
    .map(([name, value]): [string, string] => [encoded(name), encoded(value)])
    .toSorted(byName)
    .map(([name, value]) => `${name}=${value}`)
    .join("&");
  const lines = headers.map(([name, value]) => `${name}:${value.trim()}\n`).join("");
  const canonical = [request.method, path, query, lines, names, "UNSIGNED-PAYLOAD"].join("\n");
  const text = [ALGORITHM, at, scope, createHash("sha256").update(canonical).digest("hex")].join("\n");
  const key = scope.split("/").reduce<Buffer | string>((secret, part) => hmac(secret, part), `AWS4${config.accessKeySecret}`);
  return `${protocol}//${host}${path}?${query}&X-Amz-Signature=${hmac(key, text).toString("hex")}`;
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** All but the unreserved, which is more than `encodeURIComponent` takes. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function byName([a]: [string, string], [b]: [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
