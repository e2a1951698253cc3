import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { unzipSync } from "fflate";
import { refusal } from "./refusals.ts";

const ZIP_BYTES = 100 * 1024 * 1024;
const UNPACKED_BYTES = 500 * 1024 * 1024;

export interface Code {
  checksum: string;
  sizeBytes: number;
}

/** Unpacks a function's code into a folder named by its hash, so that the running version keeps its files. */
export async function installCode(folder: string, zipFile: string): Promise<Code> {
  const zip = Buffer.from(zipFile, "base64");
  if (zip.length > ZIP_BYTES) throw refusal("EntityTooLarge", "The code is more than 100 MB");
  const checksum = createHash("sha256").update(zip).digest("hex").slice(0, 32);
  const target = join(folder, checksum);
  if (existsSync(target)) return { checksum, sizeBytes: zip.length };
  const staging = `${target}.new`;
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true });
  for (const [name, bytes] of Object.entries(unpack(zip))) {
    if (name.endsWith("/")) continue;
    const path = join(staging, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }
  await rename(staging, target);
  return { checksum, sizeBytes: zip.length };
}

function unpack(zip: Uint8Array): Record<string, Uint8Array> {
  let total = 0;
  try {
    return unzipSync(zip, {
      filter: ({ name, originalSize }) => {
        total += originalSize;
        if (total > UNPACKED_BYTES) throw refusal("EntityTooLarge", "The code unpacks to more than 500 MB");
        const path = normalize(name);
        if (path.startsWith("/") || path.startsWith("..") || path.includes("\0")) throw refusal("InvalidArgument", `The zip names ${name}`);
        return true;
      },
    });
  } catch (error) {
    throw error instanceof Error && error.name === "Problem" ? error : refusal("InvalidArgument", "code.zipFile is not a zip", error);
  }
}
