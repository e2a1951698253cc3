import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { createObjects as createBucketObjects } from "#infra/aliyun/objects.ts";
import { createObjects } from "#infra/local/stores/objects.ts";
import { bucketPlace, objectServer } from "#support/bucket.ts";
import { storeChild } from "#support/children.ts";
import { memoryObjects } from "#support/memory-objects.ts";
import { folderPlace, memoryPlace } from "#support/place.ts";
import { isProblem } from "#support/problem.ts";
import { openSwift } from "#support/swift.ts";
import { linksSuite } from "./objects-links.suite.ts";
import { objectsSuite } from "./objects.suite.ts";

const MIB = 1024 * 1024;
const TEXT = { maxBytes: MIB, mediaType: "text/plain" };
const folder = () => folderPlace((path) => () => createObjects(path));

objectsSuite("objects in a folder", folder);

objectsSuite("objects in memory", async () => {
  const objects = memoryObjects();
  return memoryPlace(() => objects);
});

const swift = objectServer() ? undefined : await openSwift();
const server = typeof swift === "object" ? swift : objectServer();
if (typeof swift === "object") after(() => swift[Symbol.asyncDispose]());
if (server) {
  objectsSuite("objects in a bucket", () => bucketPlace(server));
  linksSuite("objects in a bucket", () => bucketPlace(server));
  describe("objects in a bucket, by the wire", () => bucketPromises(server));
} else {
  test("objects in a bucket", { skip: typeof swift === "string" ? swift : "no S3 server" }, () => {});
}

describe("objects in a folder, by the folder", () => {
  test("a writer killed in the middle leaves no half of an object, and loses none that it was told is kept", async () => {
    await using place = await folder();
    await using child = await storeChild("put", place.path ?? "");
    child.go();
    await child.said(60);
    await child.kill();
    await using objects = place.open();
    const listed = await objects.list("", { limit: 99 });
    assert.equal(listed.length, 20);
    for (const { key } of listed) {
      const text = Buffer.concat(await Array.fromAsync((await objects.get(key))?.body ?? [])).toString();
      assert.match(text.slice(0, 1), /\d/);
      assert.equal(text, text.slice(0, 1).repeat(300_000));
    }
    assert.equal(await objects.head("endless"), undefined);
    assert.ok((await readdir(join(place.path ?? "", "incoming"))).length > 0, "the kill left something to sweep");
  });

  test("what a crash left is swept at the next opening, and what another process is writing is not", async () => {
    await using place = await folder();
    place.open();
    const incoming = join(place.path ?? "", "incoming");
    for (const name of ["old", "new"]) await writeFile(join(incoming, name), "half");
    await utimes(join(incoming, "old"), new Date(), new Date(Date.now() - 2 * 60 * 60 * 1000));
    place.open();
    assert.deepEqual(await readdir(incoming), ["new"]);
  });

  test("what is removed, moved, refused or aborted leaves no file and no folder", async () => {
    await using place = await folder();
    await using objects = place.open();
    await objects.put("a/b/c", someBytes(), TEXT);
    await objects.put("d/e", someBytes(), TEXT);
    await objects.move("d/e", "a/x");
    await objects.remove("a/b/c");
    await objects.remove("a/x");
    await assert.rejects(objects.put("f/g", someBytes(), { ...TEXT, maxBytes: 3 }), isProblem("body_too_large"));
    await assert.rejects(objects.put("h/i", someBytes(), TEXT, AbortSignal.abort()));
    assert.deepEqual((await readdir(place.path ?? "", { recursive: true })).toSorted(), ["incoming", "keys"]);
  });

  test("a gigabyte goes in and out in little memory", async () => {
    await using place = await folder();
    await using child = await storeChild("measure", place.path ?? "", [1024 * MIB]);
    child.go();
    const { sizeBytes, readBytes, peakMiB } = JSON.parse((await child.finished())[0] ?? "");
    assert.equal(readBytes, sizeBytes);
    assert.ok(peakMiB < 250, `it took ${peakMiB} MiB`);
  });

  test("a full disk refuses what does not fit, leaves nothing of it and goes on with what does", async (t) => {
    const apart = ["unshare", "--map-root-user", "--mount"];
    const mountable = await promisify(execFile)("unshare", [...apart.slice(1), "mount", "-t", "tmpfs", "none", "/mnt"]).then(
      () => true,
      () => false,
    );
    if (!mountable) return t.skip("this host lets nobody mount a small disk of their own");
    await using place = await folderPlace((path) => () => createObjects(path));
    await using _made = place.open();
    const onSmallDisk = ["sh", "-c", 'mount -t tmpfs -o size=8m none "$1" && shift && exec "$@"', "sh", place.path ?? ""];
    await using child = await storeChild("fill", place.path ?? "", [], [...apart, ...onSmallDisk]);
    child.go();
    assert.deepEqual(JSON.parse((await child.finished())[0] ?? ""), {
      code: "disk_full",
      keys: ["again", "small"],
      sizes: [1000, 100_000],
    });
  });
});

function someBytes(): ReadableStream<Uint8Array> {
  return new Blob(["some bytes"]).stream();
}

function bucketPromises(configured: NonNullable<typeof server>): void {
  test("a wrong secret is refused by the server", async () => {
    await using place = await bucketPlace(configured);
    await using objects = createBucketObjects({ ...place.config, accessKeySecret: "wrong" });
    await assert.rejects(objects.put("k", new Blob(["a"]).stream(), TEXT), isProblem("internal"));
    await assert.rejects(objects.list("", { limit: 1 }), isProblem("internal"));
  });

  test("the server refuses the chunked framing that the client would choose by itself, as OSS does", async () => {
    await using place = await bucketPlace(configured);
    await assert.rejects(place.putFramed("k", new Blob(["some bytes"]).stream()), /not (implemented|supported)|NotImplemented/i);
    await using objects = place.open();
    assert.equal(await objects.head("k"), undefined);
  });

  test("an upload that fails leaves no unfinished parts", async () => {
    await using place = await bucketPlace(configured);
    await using objects = place.open();
    const body = new Blob([new Uint8Array(20 * MIB)]).stream();
    await assert.rejects(objects.put("k", body, { ...TEXT, maxBytes: 18 * MIB }), isProblem("body_too_large"));
    assert.equal(await place.unfinished(), 0);
    assert.equal(await objects.head("k"), undefined);
  });
}
