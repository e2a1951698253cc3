import assert from "node:assert/strict";
import type { Objects } from "#core/ports.ts";
import { streamOf } from "./bodies.ts";

/** Puts a text of any size that a test needs. */
export function put(objects: Objects, key: string, text: string) {
  return objects.put(key, streamOf(Buffer.from(text)), { maxBytes: 64 * 1024 * 1024, mediaType: "text/plain" });
}

/** All bytes of an object that must be there. */
export async function readAll(objects: Objects, key: string, range?: { start: number; end?: number }): Promise<Buffer> {
  const got = await objects.get(key, range);
  assert.ok(got, `${key} is there`);
  return Buffer.concat(await Array.fromAsync(got.body));
}

export async function textOf(objects: Objects, key: string, range?: { start: number; end?: number }): Promise<string> {
  return (await readAll(objects, key, range)).toString();
}
