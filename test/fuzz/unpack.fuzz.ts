import assert from "node:assert/strict";
import { lstat, mkdir, readdir, readFile, realpath, writeFile } from "node:fs/promises";
import { join, sep } from "node:path";
import * as fc from "fast-check";
import { unpackDirectory } from "#client/unpack.ts";
import { Problem } from "#contract/problem.ts";
import { tempDir } from "#support/temp.ts";
import { archives } from "./archives.ts";
import { hold, property } from "./property.ts";

await hold(import.meta.url, [
  property(
    "whatever an archive holds, a client has all of it inside one folder or nothing at all",
    fc.tuple(archives, fc.integer({ min: 1, max: 1500 })),
    async ([{ bytes }, size]) => {
      await using dir = await tempDir();
      const [beside, target] = [join(dir.path, "beside"), join(dir.path, "in")];
      await mkdir(beside);
      await writeFile(join(beside, "canary"), "canary");
      const done = await unpackDirectory(target, {}, async () => inPieces(bytes, size)).catch((error: unknown) => {
        assert.ok(error instanceof Problem && error.code === "invalid_archive", String(error));
      });
      assert.deepEqual((await readdir(dir.path)).toSorted(), done ? ["beside", "in"] : ["beside"]);
      assert.deepEqual(await readdir(beside), ["canary"]);
      assert.equal(await readFile(join(beside, "canary"), "utf8"), "canary");
      if (done) await judgeFolder(await realpath(target));
    },
    { cost: 2, caseMs: 4_000 },
  ),
]);

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function judgeFolder(root: string, folder = root): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const found = await lstat(path);
    assert.ok(found.isFile() || found.isDirectory() || found.isSymbolicLink(), path);
    if (found.isFile()) assert.equal(found.mode & 0o7000, 0, path);
    const real = await realpath(path);
    assert.ok(real === root || real.startsWith(root + sep), `${path} leads to ${real}`);
    if (found.isDirectory()) await judgeFolder(root, path);
  }
}
