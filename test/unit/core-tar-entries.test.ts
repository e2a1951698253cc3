import assert from "node:assert/strict";
import { test } from "node:test";
import { pack } from "tar-stream";
import { entriesOf, requireSafe, type TarEntry } from "#core/tar-entries.ts";
import { isProblem } from "#support/problem.ts";

const reading = (bytes: Buffer) => async (start: number, end: number) => bytes.subarray(start, end + 1);
const entries = (bytes: Buffer): Promise<TarEntry[]> => Array.fromAsync(entriesOf(reading(bytes), bytes.length));
const safe = (bytes: Buffer) => requireSafe(reading(bytes), bytes.length);

/** A tar as any program may write it. */
async function tar(...files: ({ name: string; content?: string } & Record<string, unknown>)[]): Promise<Buffer> {
  const packing = pack();
  for (const { content = "", ...header } of files) packing.entry({ mtime: new Date(0), ...header }, content);
  packing.finalize();
  return Buffer.concat(await Array.fromAsync(packing as AsyncIterable<Buffer>));
}

/** Puts the right sum into a header that was changed. */
function summed(bytes: Buffer): Buffer {
  bytes.fill(" ", 148, 156);
  const sum = bytes.subarray(0, 512).reduce((all, byte) => all + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return bytes;
}

test("each entry says what it is and where its bytes are", async () => {
  const long = `${"deep/".repeat(60)}file.txt`;
  const bytes = await tar(
    { name: "./a/", type: "directory" },
    { name: "./a/ü.txt", content: "hello" },
    { name: long, content: "x".repeat(200_000), mode: 0o600 },
    { name: "l", type: "symlink", linkname: "/etc/passwd" },
    { name: "last", content: "" },
  );
  const found = await entries(bytes);
  const text = ({ dataAt, sizeBytes }: TarEntry) => bytes.toString("utf8", dataAt, dataAt + sizeBytes);
  assert.deepEqual(
    found.map(({ path, type, sizeBytes }) => [path, type, sizeBytes]),
    [
      ["a", "directory", 0],
      ["a/ü.txt", "file", 5],
      [long, "file", 200_000],
      ["l", "symlink", 0],
      ["last", "file", 0],
    ],
  );
  assert.equal(found[1] && text(found[1]), "hello");
  assert.equal(found[2]?.mode, "0600");
  assert.equal(found[3]?.target, "/etc/passwd");
  const rest = await Array.fromAsync(entriesOf(reading(bytes), bytes.length, found[1]?.nextAt));
  assert.deepEqual(rest, found.slice(2), "a list goes on from any header");
  assert.equal(await safe(bytes), 5);
});

test("a path that leads out, and one without end, is refused", async () => {
  for (const name of ["../x", "a/../../x", "/etc/passwd", `${"x".repeat(250)}/`.repeat(20)])
    await assert.rejects(tar({ name, content: "x" }).then(safe), isProblem("invalid_archive"), name.slice(0, 20));
  assert.equal(await safe(await tar({ name: "..a/b..", content: "x" })), 1);
});

test("what is no tar, or lies about sizes and names, is refused and never read beyond its end", async () => {
  const whole = await tar({ name: "a", content: "hello" }, { name: "b", content: "there" });
  await assert.rejects(safe(Buffer.alloc(2048, "x")), isProblem("invalid_archive"));
  await assert.rejects(safe(whole.subarray(0, 700)), isProblem("invalid_archive"));
  const large = Buffer.from(whole);
  large.write("77777777777\0", 124, "latin1");
  await assert.rejects(safe(summed(large)), isProblem("invalid_archive"));
  const negative = Buffer.from(whole);
  negative.fill(0xff, 124, 136);
  await assert.rejects(safe(summed(negative)), isProblem("invalid_archive"));
  const flipped = Buffer.from(whole);
  flipped.write("z", 0);
  await assert.rejects(safe(flipped), isProblem("invalid_archive"));
  const named = Buffer.from(whole);
  named.write("L", 156);
  named.write("00001000000\0", 124, "latin1");
  await assert.rejects(safe(summed(named)), isProblem("invalid_archive"));
  const extended = await tar({ name: "é".repeat(200), content: "x" });
  extended.write("999999 path=x\n", 512, "latin1");
  await assert.rejects(safe(extended), isProblem("invalid_archive"));
});

test("any bytes whatever end, as entries or as a refusal", async () => {
  const whole = await tar({ name: "é".repeat(200), content: "hello" }, { name: "b", content: "there" });
  for (let at = 0; at < whole.length; at += 7) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] ?? 0) ^ 0xff;
    await safe(at % 2 && at < 512 ? summed(bytes) : bytes).catch((error: unknown) =>
      assert.ok(isProblem("invalid_archive")(error), String(error)),
    );
  }
});
