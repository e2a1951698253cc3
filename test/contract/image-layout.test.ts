import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isTransient, newestPackage, writeImage } from "#infra/image/layout.ts";
import { openImageStore } from "#infra/local/images/store.ts";
import { cannotSeal } from "#support/sealed-host.ts";
import { tempDir } from "#support/temp.ts";

const skip = cannotSeal() ?? false;
const BUILT_S = 1_700_000_000;

/** A root as a builder leaves it; what its packages brought is dated, the rest is of now. */
function makeRoot(root: string, names: string[]): void {
  for (const folder of ["usr/share/doc/one", "etc", "proc", "var/log", "tmp"]) mkdirSync(join(root, folder), { recursive: true });
  for (const name of names) writeFileSync(join(root, name), name);
  writeFileSync(join(root, "usr/share/doc/one/copyright"), "");
  utimesSync(join(root, "usr/share/doc/one/copyright"), BUILT_S, BUILT_S);
  utimesSync(join(root, "etc/b"), BUILT_S - 100, BUILT_S - 100);
  chownSync(join(root, "etc/b"), 33, 44);
  chmodSync(join(root, "etc/a"), 0o750);
  linkSync(join(root, "etc/b"), join(root, "etc/twin"));
  symlinkSync("../etc", join(root, "usr/link"));
  writeFileSync(join(root, "var/log/build.log"), String(Math.random()));
}

test("equal roots are one image, whenever and in whatever order they were made, and it is unpacked as they were", { skip }, async () => {
  await using dir = await tempDir();
  const folder = join(dir.path, "images");
  const long = `etc/${"n".repeat(150)}`;
  const digests = [];
  for (const [at, names] of [
    ["etc/a", "etc/b", long],
    [long, "etc/b", "etc/a"],
  ].entries()) {
    const root = join(dir.path, `root-${at}`);
    mkdirSync(root);
    makeRoot(root, names);
    const added = join(dir.path, `added-${at}`);
    mkdirSync(added);
    writeFileSync(join(added, "program.py"), "print(1)");
    mkdirSync(folder, { recursive: true });
    const about = { config: { Cmd: ["x"] }, newest: await newestPackage(root), tag: "latest" };
    const layers = [
      { folder: root, without: isTransient },
      { folder: added, at: "opt/own/program/", owner: 0 },
    ];
    digests.push((await writeImage(join(folder, `image-${at}`), layers, about)).digest);
  }
  assert.equal(digests[0], digests[1]);
  const { resolve } = await openImageStore({ dataDir: join(dir.path, "data"), folders: [folder] });
  const { root } = await resolve("image-0");
  assert.equal((await resolve("image-1")).root, root);
  assert.deepEqual([readdirSync(join(root, "proc")), readdirSync(join(root, "var/log"))], [[], []]);
  assert.equal(readFileSync(join(root, "opt/own/program/program.py"), "utf8"), "print(1)");
  assert.equal(readFileSync(join(root, long), "utf8"), long);
  assert.equal(readlinkSync(join(root, "usr/link")), "../etc");
  const [a, b] = [lstatSync(join(root, "etc/a")), lstatSync(join(root, "etc/b"))];
  assert.deepEqual([a.mode & 0o7777, a.mtimeMs / 1000], [0o750, BUILT_S]);
  assert.deepEqual([b.uid, b.gid, b.nlink, b.mtimeMs / 1000], [33, 44, 2, BUILT_S - 100]);
});
