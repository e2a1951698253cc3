import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { Artifact, PICTURE_MEDIA_TYPE } from "#contract/artifact.ts";
import { ArtifactPreview } from "#contract/artifact-content.ts";
import { LIMITS } from "#contract/limits.ts";
import { imageSize } from "#core/image-size.ts";
import { Artifacts } from "#client/artifacts.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { tempDir } from "#support/temp.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const keep = async (box: Box, path: string) =>
  Artifact.parse(await tenant.json("POST", `/api/sandboxes/${box.id}/artifacts`, { path }, 201));
const previewOf = async ({ id }: Artifact) => ArtifactPreview.parse(await tenant.json("GET", `/api/artifacts/${id}/preview`));
const run = async (box: Box, code: string) => assert.equal((await box.execute(code)).end.status, "ok");

/** The picture's bytes, which are as large as its artifact says, and so many pixels as they say themselves. */
async function pictureOf({ id, picture }: Artifact): Promise<Buffer> {
  const answer = await tenant.send("GET", `/api/artifacts/${id}/preview/picture`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, PICTURE_MEDIA_TYPE]);
  assert.match(answer.headers.get("content-disposition") ?? "", /^attachment;/);
  assert.equal(answer.headers.get("content-security-policy"), "sandbox; default-src 'none'");
  assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
  assert.ok(bytes.byteLength <= LIMITS.artifactPictureBytes);
  assert.deepEqual({ ...imageSize(PICTURE_MEDIA_TYPE, bytes), sizeBytes: bytes.byteLength }, picture);
  return bytes;
}

test("a PDF that is kept has a picture of its first page, drawn inside, which outlives its sandbox", async () => {
  await using box = await makeBox(tenant);
  await run(
    box,
    `import matplotlib.pyplot as plt
from matplotlib.backends.backend_pdf import PdfPages
with PdfPages("report.pdf") as pages:
    for colour in ("red", "blue"):
        figure = plt.figure(figsize=(4, 8), facecolor=colour)
        pages.savefig(figure)`,
  );
  const kept = await keep(box, "report.pdf");
  assert.partialDeepStrictEqual(kept, { mediaType: "application/pdf", picture: { width: 256, height: 512 } });
  assert.deepEqual(await previewOf(kept), { kind: "pdf", picture: kept.picture });
  const bytes = await pictureOf(kept);
  await box.inside("PUT", "/files/content?path=seen.jpg", bytes);
  const { results } = await box.execute("from PIL import Image; print(Image.open('seen.jpg').getpixel((100, 100)))");
  assert.match(JSON.stringify(results), /\(25[0-5], [0-5], [0-5]\)/, "the first of its two pages");
  await box[Symbol.asyncDispose]();
  const own = { url: door.origin, apiKey: tenant.key.apiKey };
  assert.deepEqual(Buffer.from(await Artifacts.picture(kept.id, own)), bytes);
  assert.equal((await (await newTenant(door)).send("GET", `/api/artifacts/${kept.id}/preview/picture`)).status, 404);
  assert.equal((await tenant.send("DELETE", `/api/artifacts/${kept.id}`)).status, 204);
  await refused(tenant.send("GET", `/api/artifacts/${kept.id}/preview/picture`), "artifact_not_found");
});

test("an image has a small one, whatever it is written as and however it is seen through", async () => {
  await using box = await makeBox(tenant);
  await run(
    box,
    `import os
from PIL import Image
noise = Image.frombytes("RGB", (2000, 1000), os.urandom(2000 * 1000 * 3))
for kind in ("png", "jpeg", "webp"): noise.save("noise." + kind)
Image.new("RGBA", (20, 10), (0, 0, 0, 0)).save("clear.png")
Image.new("P", (600, 600)).save("flat.gif")`,
  );
  const sizes: Record<string, [number, number]> = {
    "noise.png": [512, 256],
    "noise.jpeg": [512, 256],
    "noise.webp": [512, 256],
    "clear.png": [20, 10],
    "flat.gif": [512, 512],
  };
  for (const [path, [width, height]] of Object.entries(sizes)) {
    const kept = await keep(box, path);
    assert.partialDeepStrictEqual(kept, { picture: { width, height } }, path);
    assert.partialDeepStrictEqual(await previewOf(kept), { kind: "image", picture: { width, height } });
    await pictureOf(kept);
  }
});

test("what cannot be drawn, or was made to do harm, is kept without a picture; and so is what came from no sandbox", async () => {
  await using box = await makeBox(tenant);
  await run(
    box,
    `import struct, zlib
open("broken.pdf", "wb").write(b"%PDF-1.7\\n" + b"1 0 obj << /Type /Catalog /Pages 1 0 R >> " * 1000)
def part(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(side, data): return b"\\x89PNG\\r\\n\\x1a\\n" + part(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + part(b"IDAT", data)
open("bomb.png", "wb").write(png(30_000, zlib.compress(bytes(10_000_000))))
open("cut.png", "wb").write(png(100, b""))
open("plain.txt", "w").write("no picture")`,
  );
  for (const path of ["broken.pdf", "bomb.png", "cut.png", "plain.txt"]) {
    const kept = await keep(box, path);
    assert.equal(kept.picture, undefined, path);
    await refused(tenant.send("GET", `/api/artifacts/${kept.id}/preview/picture`), "not_supported");
  }
  const [broken] = (await tenant.json<{ items: Artifact[] }>("GET", "/api/artifacts?name=broken.pdf")).items;
  const said = await refused(tenant.send("GET", `/api/artifacts/${broken?.id}/preview`), "not_supported");
  assert.match(JSON.stringify(said), /could not draw/);
  await refused(box.inside("GET", "/picture?path=bomb.png"), "route_not_found");
  await using dir = await tempDir();
  const file = join(dir.path, "outside.pdf");
  await writeFile(file, "%PDF-1.7\n");
  const outside = await Artifacts.upload(file, { url: door.origin, apiKey: tenant.key.apiKey });
  assert.deepEqual([outside.mediaType, outside.picture], ["application/pdf", undefined]);
  assert.match(JSON.stringify(await refused(tenant.send("GET", `/api/artifacts/${outside.id}/preview`), "not_supported")), /has none/);
});
