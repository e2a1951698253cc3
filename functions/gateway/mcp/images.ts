import { LIMITS } from "#contract/limits.ts";
import type { Content } from "./tool.ts";

/** How files of each kind begin. What does not begin so is no image, whatever it is called: a model's service refuses a whole conversation for one. */
const KINDS: readonly [string, (bytes: Uint8Array) => boolean][] = [
  ["image/png", (bytes) => begins(bytes, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])],
  ["image/jpeg", (bytes) => begins(bytes, [0xff, 0xd8, 0xff])],
  ["image/gif", (bytes) => begins(bytes, [0x47, 0x49, 0x46, 0x38])],
  ["image/webp", (bytes) => begins(bytes, [0x52, 0x49, 0x46, 0x46]) && begins(bytes.subarray(8), [0x57, 0x45, 0x42, 0x50])],
];

/** The image type that bytes are of, by how they begin. */
export function imageType(bytes: Uint8Array): string | undefined {
  return KINDS.find(([, is]) => is(bytes))?.[0];
}

/** Bytes as an image, if they are one. */
export function imageOf(bytes: Uint8Array): Content | undefined {
  const mimeType = imageType(bytes);
  return mimeType === undefined ? undefined : { type: "image", data: Buffer.from(bytes).toString("base64"), mimeType };
}

/** Takes images as base64 while they fit into one answer, and says of each other why it is not there. */
export function newImages() {
  const content: Content[] = [];
  let left: number = LIMITS.mcpBinaryBytes;
  return {
    content,
    /** Whether it was taken; what is no image is not. */
    add(base64: string): boolean {
      const size = Math.floor((base64.length * 3) / 4);
      if (size > left) {
        content.push({ type: "text", text: `[An image of ${size} bytes is left out: save it to a file and read that.]` });
        return false;
      }
      const image = imageOf(Buffer.from(base64, "base64"));
      if (!image) return false;
      left -= size;
      content.push(image);
      return true;
    },
  };
}

function begins(bytes: Uint8Array, start: readonly number[]): boolean {
  return bytes.length > start.length && start.every((byte, at) => bytes[at] === byte);
}
