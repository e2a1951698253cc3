import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A fresh directory that is gone with the block that made it. */
export async function tempDir() {
  const path = await mkdtemp(join(tmpdir(), "cleanroom-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}
