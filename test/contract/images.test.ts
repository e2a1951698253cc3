import assert from "node:assert/strict";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { buffer } from "node:stream/consumers";
import { addImage, listImages, removeImage } from "#infra/images.ts";
import { openImageStore } from "#infra/local/images/store.ts";
import { ARCHITECTURE, configOf, type ImageSpec, type LayerFile, layerOf, savedTar, sha256, writeLayout } from "#support/images.ts";
import { isProblem } from "#support/problem.ts";
import { cannotSeal } from "#support/sealed-host.ts";
import { tempDir } from "#support/temp.ts";

const skip = cannotSeal() ?? false;

/** A store and its folder of images, gone with the block. */
async function openStore() {
  const dir = await tempDir();
  const [dataDir, folder] = [join(dir.path, "data"), join(dir.path, "images")];
  await mkdir(folder);
  const open = () => openImageStore({ dataDir, folders: [folder] });
  const store = await open();
  return {
    folder,
    unpacked: join(dataDir, "unpacked"),
    open,
    resolve: store.resolve,
    [Symbol.asyncDispose]: dir[Symbol.asyncDispose],
  };
}

const read = (root: string, name: string) => readFileSync(join(root, name), "utf8");
const simple = async (more: Partial<ImageSpec> = {}): Promise<ImageSpec> => ({
  layers: [await layerOf([{ name: "a.txt", content: "first" }])],
  config: { Entrypoint: ["/run"], Cmd: ["x"], Env: ["A=1"], WorkingDir: "/w", User: "app" },
  ...more,
});

async function tarOfFolder(dir: string): Promise<Buffer> {
  const tar = pack();
  for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
    if (lstatSync(join(dir, name)).isFile()) tar.entry({ name: `./${name}` }, readFileSync(join(dir, name)));
  }
  tar.finalize();
  return buffer(tar);
}

describe("the store of images", { skip }, () => {
  test("reads a layout, a tar of one and what docker saves, of any packing, as one and the same image", async () => {
    await using store = await openStore();
    const spec = await simple();
    await writeLayout(join(store.folder, "layout"), spec);
    await writeLayout(join(store.folder, "zstd"), { ...spec, packing: "zstd" });
    await writeLayout(join(store.folder, "plain"), { ...spec, packing: "plain" });
    const tar = await tarOfFolder(join(store.folder, "layout"));
    writeFileSync(join(store.folder, "archive.tar"), tar);
    writeFileSync(join(store.folder, "packed.tar.gz"), gzipSync(tar));
    writeFileSync(join(store.folder, "saved.tar"), await savedTar(spec));
    const references = ["layout", "zstd", "plain", "archive.tar", "packed.tar.gz", "saved.tar"].map((name) => join(store.folder, name));
    const stored = [];
    for (const reference of [...references, `oci:${references[0]}`, `docker-archive:${references[5]}:app:latest`, "saved", "packed"])
      stored.push(await store.resolve(reference));
    const digest = sha256(configOf(spec));
    assert.deepEqual([...new Set(stored.map((image) => image.digest))], [digest]);
    assert.deepEqual(readdirSync(store.unpacked), [digest.replace(":", "-")]);
    const [image] = stored;
    assert.deepEqual(image?.program, { entrypoint: ["/run"], command: ["x"], environment: ["A=1"], folder: "/w", user: "app" });
    assert.equal(read(image?.root ?? "", "a.txt"), "first");
  });

  test("layers lie over each other: what is replaced, hidden, linked and owned is as their maker had it", async () => {
    await using store = await openStore();
    const below: LayerFile[] = [
      { name: "usr/lib/" },
      { name: "lib", link: "usr/lib" },
      { name: "kept", content: "kept", uid: 33, gid: 44, mode: 0o640 },
      { name: "gone", content: "gone" },
      { name: "folder/old", content: "old" },
      { name: "folder/deep/old", content: "old" },
      { name: "becomes-file/x", content: "x" },
      { name: "becomes-folder", content: "x" },
      { name: "twin", hard: "kept" },
      { name: "absolute", link: "/etc/passwd" },
    ];
    const above: LayerFile[] = [
      { name: ".wh.gone" },
      { name: "folder/new", content: "new" },
      { name: "folder/.wh..wh..opq" },
      { name: "lib/added", content: "through the link" },
      { name: "becomes-file", content: "file" },
      { name: "becomes-folder/" },
      { name: "becomes-folder/y", content: "y" },
      { name: "owned", content: "", uid: 100_000, gid: 5, mode: 0o4755 },
    ];
    await writeLayout(join(store.folder, "image"), { layers: [await layerOf(below), await layerOf(above)], config: { Cmd: ["x"] } });
    const { root } = await store.resolve("image");
    assert.deepEqual(readdirSync(join(root, "folder")), ["new"]);
    assert.ok(!existsSync(join(root, "gone")));
    assert.equal(read(root, "usr/lib/added"), "through the link");
    assert.equal(readlinkSync(join(root, "lib")), "usr/lib");
    assert.equal(readlinkSync(join(root, "absolute")), "/etc/passwd");
    assert.deepEqual([read(root, "becomes-file"), read(root, "becomes-folder/y")], ["file", "y"]);
    const kept = lstatSync(join(root, "kept"));
    assert.deepEqual([kept.uid, kept.gid, kept.mode & 0o7777, kept.nlink], [33, 44, 0o640, 2]);
    const owned = lstatSync(join(root, "owned"));
    assert.deepEqual([owned.uid, owned.gid, owned.mode & 0o7777], [65_534, 5, 0o755]);
  });

  test("of several processors' images it takes this machine's, of several tags the one that is named", async () => {
    await using store = await openStore();
    const other = ARCHITECTURE === "amd64" ? "arm64" : "amd64";
    const own = await simple();
    await writeLayout(join(store.folder, "many"), await simple({ architecture: other, layers: [await layerOf([])] }), own);
    assert.equal((await store.resolve("many")).digest, sha256(configOf(own)));
    await writeLayout(join(store.folder, "foreign"), await simple({ architecture: other }));
    await assert.rejects(store.resolve("foreign"), {
      code: "image_not_valid",
      message: new RegExp(`nothing for linux/${ARCHITECTURE}.*${other}`),
    });
    const [one, two] = [await simple({ tag: "one" }), await simple({ tag: "two", config: { Cmd: ["other"] } })];
    await writeLayout(join(store.folder, "tags"), one, two);
    assert.equal((await store.resolve(`oci:${store.folder}/tags:two`)).digest, sha256(configOf(two)));
    await assert.rejects(store.resolve("tags"), { code: "image_not_valid", message: /several images/ });
    await assert.rejects(store.resolve(`oci:${store.folder}/tags:three`), {
      code: "image_not_valid",
      message: /no image of the tag "three"/,
    });
  });

  test("what is not what its name says, or breaks off, is refused, and nothing of it stays", async () => {
    await using store = await openStore();
    const spec = await simple({ packing: "plain" });
    const dir = join(store.folder, "image");
    const blobs = join(dir, "blobs/sha256");
    const spoil = async (digest: string, bytes: string | Buffer) => {
      await writeLayout(dir, spec);
      await writeFile(join(blobs, digest.slice("sha256:".length)), bytes);
      // The index tells whether a layout is another; a blob alone does not.
      await utimes(join(dir, "index.json"), new Date(), new Date(Date.now() + Math.random() * 1e6));
    };
    const [layer = new Uint8Array()] = spec.layers;
    const other = await layerOf([{ name: "a.txt", content: "other" }]);
    for (const [digest, bytes, message] of [
      [sha256(layer), other, /is not what its name says/],
      [sha256(layer), Buffer.from(layer).subarray(0, 700), /is not what its name says/],
      [sha256(layer), Buffer.alloc(0), /is not what its name says/],
      [sha256(configOf(spec)), "{}", /is not what its name says/],
    ] as const) {
      await spoil(digest, bytes);
      await assert.rejects(store.resolve("image"), (error: Error) => isProblem("image_not_valid")(error) && message.test(error.message));
      assert.deepEqual(readdirSync(store.unpacked), []);
    }
    const damaged = gzipSync(layer);
    damaged.fill(0, damaged.length >> 1);
    await spoil(sha256(layer), damaged);
    await assert.rejects(store.resolve("image"), isProblem("image_not_valid"));
    for (const [name, bytes] of [
      ["noise.tar", Buffer.alloc(2048, 7)],
      ["empty.tar", Buffer.alloc(0)],
      ["other.tar", await layerOf([{ name: "readme", content: "x" }])],
    ] as const) {
      writeFileSync(join(store.folder, name), bytes);
      await assert.rejects(store.resolve(name), isProblem("image_not_valid"), name);
    }
    assert.deepEqual(readdirSync(store.unpacked), []);
  });

  test("nothing outside of the operator's folders is an image, and a registry is told to be none", async () => {
    await using store = await openStore();
    const outside = join(store.folder, "../outside");
    await writeLayout(outside, await simple());
    mkdirSync(join(store.folder, "real"));
    const hint = /from the folders that CLEANROOM_IMAGES names/;
    for (const reference of [outside, `oci:${outside}`, `${store.folder}/../outside`, "/etc/passwd", store.folder, "/none"])
      await assert.rejects(store.resolve(reference), { code: "image_not_found", message: hint }, reference);
    for (const reference of ["../outside", "..", ".", "oci:relative", "python:3.12", "registry.example.com/team/app@sha256:00"])
      await assert.rejects(store.resolve(reference), isProblem("image_not_found"), reference);
    await assert.rejects(store.resolve("python:3.12"), { message: /no registry to ask/ });
  });

  test("an image is unpacked once, by whoever asks first; what a crash left half done is gone at the next start", async () => {
    await using store = await openStore();
    await writeLayout(join(store.folder, "image"), await simple());
    const all = await Promise.all(Array.from({ length: 4 }, () => store.resolve("image")));
    assert.equal(new Set(all.map(({ root }) => root)).size, 1);
    const made = lstatSync(all[0]?.root ?? "").ino;
    mkdirSync(join(store.unpacked, "x.partial/root/deep"), { recursive: true });
    mkdirSync(join(store.unpacked, "sha256-without-facts"));
    const next = await store.open();
    assert.deepEqual(readdirSync(store.unpacked).length, 1);
    assert.equal(lstatSync((await next.resolve("image")).root).ino, made);
  });

  test("images are added under any name, listed and removed; what is no image is not added", async () => {
    await using store = await openStore();
    const spec = await simple();
    const saved = join(store.folder, "../saved.tar.gz");
    writeFileSync(saved, gzipSync(await savedTar(spec)));
    const name = "registry.example.com/team/app:1";
    assert.deepEqual(await addImage(store.folder, saved, name), { name, digest: sha256(configOf(spec)) });
    assert.equal((await store.resolve(name)).digest, sha256(configOf(spec)));
    const layout = join(store.folder, "../layout");
    await writeLayout(layout, await simple({ config: { Cmd: ["newer"] } }));
    await addImage(store.folder, layout, name);
    assert.deepEqual((await store.resolve(name)).program.command, ["newer"]);
    assert.deepEqual(
      (await listImages(store.folder)).map((image) => image.name),
      [name],
    );
    writeFileSync(saved, "no image");
    await assert.rejects(addImage(store.folder, saved, "other"), isProblem("image_not_valid"));
    assert.deepEqual([await removeImage(store.folder, name), await removeImage(store.folder, name)], [true, false]);
    assert.deepEqual(readdirSync(store.folder), []);
  });
});
