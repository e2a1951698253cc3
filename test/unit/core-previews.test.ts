import assert from "node:assert/strict";
import { test } from "node:test";
import type { ArtifactPreview } from "#contract/artifact-content.ts";
import { keepBody } from "#core/artifacts.ts";
import { previewArtifact } from "#core/previews.ts";
import { openCore, projectOf } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");

/** What one sees of a file of that name. */
async function see(name: string, content: string | Buffer): Promise<ArtifactPreview> {
  const core = openCore();
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  const { id } = await keepBody(core.platform, ONE.id, { name, path: name }, new Blob([new Uint8Array(bytes)]).stream());
  return previewArtifact(core.platform, ONE, id);
}

const refused = (name: string, content: string | Buffer) => assert.rejects(see(name, content), isProblem("not_supported"));

test("a text is its beginning, in whole letters, and says what was left out", async () => {
  assert.deepEqual(await see("a.txt", "hi <b>\u0007"), { kind: "text", text: "hi <b>\u0007", encoding: "utf-8", truncated: false });
  assert.deepEqual(await see("empty", ""), { kind: "text", text: "", encoding: "utf-8", truncated: false });
  const long = await see("long.md", `x${"é".repeat(100_000)}`);
  assert.ok(long.kind === "text" && long.truncated && long.text.length === 16_384 && !long.text.includes("\ufffd"));
  const pairs = await see("pairs.md", `x${"😀".repeat(100_000)}`);
  assert.ok(pairs.kind === "text" && pairs.text.isWellFormed());
  assert.partialDeepStrictEqual(await see("wide.txt", Buffer.from("\ufeffwïde", "utf16le")), { text: "wïde", encoding: "utf-16le" });
});

test("a page or a drawing is only its text", async () => {
  for (const content of ["<script>alert(1)</script>", "<svg onload=alert(1)>"])
    assert.deepEqual(await see("x.png", content), { kind: "text", text: content, encoding: "utf-8", truncated: false });
});

test("a table is its first rows, whatever it is written in", async () => {
  const expected = {
    kind: "table",
    columns: ["a", "b"],
    rows: [
      ["1", 'x,"y"\n'],
      ["", "2"],
    ],
    truncated: false,
  };
  assert.deepEqual(await see("t.csv", 'a,b\r\n1,"x,""y""\n"\r\n,2'), expected);
  assert.deepEqual(await see("t.tsv", 'a\tb\n1\t"x,""y""\n"\n\t2\n'), expected);
  assert.deepEqual(await see("t.json", JSON.stringify([{ a: 1, b: 'x,"y"\n' }, { b: "2" }])), expected);
  assert.deepEqual(await see("t.jsonl", '{"a":1,"b":"x,\\"y\\"\\n"}\n{"b":"2"}\n'), expected);
  assert.equal((await see("no-table.json", '{"a":1}')).kind, "text");
});

test("a table without end is bounded in rows, columns and cells", async () => {
  const wide = await see("t.csv", `${"c,".repeat(999)}c\n`.repeat(20));
  assert.ok(wide.kind === "table" && wide.columns.length === 50 && wide.truncated);
  const long = await see("t.csv", `a\n${`${"x".repeat(1000)}\n`.repeat(10_000)}`);
  assert.ok(long.kind === "table" && long.rows.length === 50 && long.truncated && long.rows.every(([cell]) => cell?.length === 256));
  const unclosed = await see("t.csv", `a\n"${"x".repeat(200_000)}`);
  assert.ok(unclosed.kind === "table" && unclosed.rows.length === 0 && unclosed.truncated);
  assert.ok((await see("t.jsonl", '{"a":1}\n'.repeat(20_000))).kind === "table");
});

test("a picture is how large its header says it is", async () => {
  const png = Buffer.alloc(40);
  png.write("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1");
  png.writeUInt32BE(640, 16);
  png.writeUInt32BE(480, 20);
  assert.deepEqual(await see("x", png), { kind: "image", format: "png", width: 640, height: 480 });
  const gif = Buffer.alloc(40);
  gif.write("GIF89a", "latin1");
  gif.writeUInt16LE(7, 6);
  gif.writeUInt16LE(9, 8);
  assert.deepEqual(await see("x", gif), { kind: "image", format: "gif", width: 7, height: 9 });
  const jpeg = Buffer.concat([
    Buffer.from("ffd8ffe00010", "hex"),
    Buffer.alloc(14),
    Buffer.from("ffc00011080030004003", "hex"),
    Buffer.alloc(20),
  ]);
  assert.deepEqual(await see("x", jpeg), { kind: "image", format: "jpeg", width: 64, height: 48 });
  const webp = Buffer.alloc(40);
  webp.write("RIFF\0\0\0\0WEBPVP8X", "latin1");
  webp.writeUIntLE(99, 24, 3);
  webp.writeUIntLE(49, 27, 3);
  assert.deepEqual(await see("x", webp), { kind: "image", format: "webp", width: 100, height: 50 });
});

test("what lies about its size, what no picture follows, and what only a program could show has no preview", async () => {
  await refused("x.png", "\x89PNG\r\n\x1a\n");
  await refused("x.png", Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), Buffer.alloc(16, 0xff), Buffer.alloc(20)]));
  await refused("x.jpg", Buffer.concat([Buffer.from("ffd8ff", "hex"), Buffer.alloc(70_000, 0xff)]));
  await refused("x.pdf", "%PDF-1.7\n1 0 obj");
  await refused("x.zip", "PK\x03\x04");
  await refused("x", Buffer.from([0, 1, 2, 3]));
});
