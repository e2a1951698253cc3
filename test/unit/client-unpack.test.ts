import assert from "node:assert/strict";
import { chmod, mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { pack } from "tar-stream";
import { packDirectory } from "#client/pack.ts";
import { unpackDirectory } from "#client/unpack.ts";
import { tarOf as hostileTar } from "#support/hostile-tar.ts";
import { isProblem } from "#support/problem.ts";
import { tempDir } from "#support/temp.ts";

type Entry = Parameters<ReturnType<typeof pack>["entry"]>[0] & { content?: string };

function tarOf(entries: Entry[]): AsyncIterable<Uint8Array> {
  const tar = pack();
  for (const { content, ...header } of entries) tar.entry(header, content ?? "");
  tar.finalize();
  return tar as unknown as AsyncIterable<Uint8Array>;
}

const link = (name: string, linkname: string): Entry => ({ name, type: "symlink", linkname });

const unpack = (target: string, entries: Entry[]) => unpackDirectory(target, {}, async () => tarOf(entries));

test("a directory comes back as it was packed", async () => {
  await using dir = await tempDir();
  const from = join(dir.path, "from");
  await mkdir(join(from, "a/empty"), { recursive: true });
  await writeFile(join(from, "a/.hidden"), "dot");
  await writeFile(join(from, "nothing"), "");
  await writeFile(join(from, "tool"), Buffer.alloc(3_000_000, 7));
  await chmod(join(from, "tool"), 0o755);
  await symlink("a/.hidden", join(from, "link"));
  const to = join(dir.path, "to");
  const unpacked = await unpackDirectory(to, {}, async () => await packDirectory(from));
  assert.deepEqual({ ...unpacked, path: "" }, { path: "", entries: 6, bytes: 3_000_003, skipped: [] });
  assert.equal(await readFile(join(to, "link"), "utf8"), "dot");
  assert.equal((await stat(join(to, "tool"))).mode & 0o777, 0o755);
  assert.equal((await stat(join(to, "nothing"))).size, 0);
  assert.deepEqual(await readdir(join(to, "a")), [".hidden", "empty"]);
});

for (const name of ["../out", "a/../../out", "/out", "a/b/../../../out"]) {
  test(`an entry named ${name} is refused and nothing is kept`, async () => {
    await using dir = await tempDir();
    const entries: Entry[] = [
      { name: "fine", content: "1" },
      { name, content: "2" },
    ];
    await assert.rejects(unpack(join(dir.path, "to"), entries), isProblem("invalid_archive"));
    assert.deepEqual(await readdir(dir.path), []);
  });
}

test("links that lead out, alone or through each other, are left out and named", async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, "secret"), "s");
  const to = join(dir.path, "to");
  const { skipped } = await unpack(to, [
    { name: "p/q/file", content: "in" },
    link("absolute", "/etc/passwd"),
    link("climbs", "../secret"),
    link("p/q/up", "../.."),
    link("p/q/through", "up/.."),
    link("chain", "p/q/up/../secret"),
    link("dangles", "gone"),
    link("fine", "p/q/file"),
  ]);
  assert.deepEqual(skipped.map((one) => one.path).toSorted(), ["absolute", "chain", "climbs", "dangles", "p/q/through"]);
  assert.equal(await readlink(join(to, "fine")), "p/q/file");
  assert.deepEqual((await readdir(to)).toSorted(), ["fine", "p"]);
});

test("nothing is written through a link of the same archive", async () => {
  await using dir = await tempDir();
  const outside = join(dir.path, "outside");
  await mkdir(outside);
  const entries: Entry[] = [
    { name: "d", type: "symlink", linkname: "../outside" },
    { name: "d/planted", content: "x" },
  ];
  await unpack(join(dir.path, "to"), entries);
  assert.deepEqual(await readdir(outside), []);
  assert.equal(await readFile(join(dir.path, "to/d/planted"), "utf8"), "x");
});

test("devices, pipes and hard links are left out and named; setuid bits do not arrive", async () => {
  await using dir = await tempDir();
  const to = join(dir.path, "to");
  const { skipped } = await unpack(to, [
    { name: "tool", mode: 0o6755, content: "x" },
    { name: "null", type: "character-device", devmajor: 1, devminor: 3 },
    { name: "pipe", type: "fifo" },
    { name: "hard", type: "link", linkname: "/etc/passwd" },
  ]);
  assert.equal((await stat(join(to, "tool"))).mode & 0o7777, 0o755);
  assert.deepEqual(
    skipped.map((one) => one.path),
    ["null", "pipe", "hard"],
  );
});

test("a directory that holds files is refused before anything is fetched", async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, "mine"), "1");
  let fetched = false;
  const fetchTar = async () => {
    fetched = true;
    return tarOf([]);
  };
  await assert.rejects(unpackDirectory(dir.path, {}, fetchTar), isProblem("already_exists"));
  assert.equal(fetched, false);
});

test("an archive that is too large, cut short or names one file twice leaves nothing", async () => {
  await using dir = await tempDir();
  const to = join(dir.path, "to");
  const big = tarOf([{ name: "big", content: "x".repeat(5000) }]);
  await assert.rejects(
    unpackDirectory(to, { limitBytes: 4999 }, async () => big),
    isProblem("invalid_archive"),
  );
  await assert.rejects(
    unpackDirectory(to, {}, async () => cutShort()),
    isProblem("invalid_archive"),
  );
  await assert.rejects(
    unpack(to, [
      { name: "same", content: "1" },
      { name: "same", content: "2" },
    ]),
    isProblem("invalid_archive"),
  );
  assert.deepEqual(await readdir(dir.path), []);
});

test("a directory that is not there is said before anything is sent", async () => {
  await assert.rejects(packDirectory("/nowhere/at/all"), isProblem("file_not_found"));
});

async function* cutShort() {
  for await (const chunk of tarOf([{ name: "big", content: "x".repeat(500_000) }])) yield chunk.subarray(0, 700);
}

test("an entry whose size cannot be read is refused, where its content would never end", async () => {
  await using dir = await tempDir();
  const tar = Buffer.from(tarWithSize(Buffer.from([0xd9, ...Buffer.alloc(11)])));
  const body = (async function* () {
    yield tar;
  })();
  await assert.rejects(
    unpackDirectory(join(dir.path, "to"), {}, async () => body),
    isProblem("invalid_archive"),
  );
  assert.deepEqual(await readdir(dir.path), []);
});

/** One file whose size is written in these bytes. */
function tarWithSize(size: Buffer): Uint8Array {
  const tar = Buffer.from(hostileTar([{ name: "file", body: "x" }]));
  size.copy(tar, 124);
  tar.write("        ", 148);
  const sum = tar.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return tar;
}
