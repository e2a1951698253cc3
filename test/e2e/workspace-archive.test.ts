import assert from "node:assert/strict";
import { after, test } from "node:test";
import { pack, type Header as WholeHeader } from "tar-stream";
import { startWorkspace } from "#support/workspace.ts";

type Header = Partial<WholeHeader> & { name: string };

const box = await startWorkspace();
after(() => box[Symbol.asyncDispose]());

const sh = async (command: string) => (await box.send("POST", "/processes/cmd", { command })).json.result.stdout as string;

async function tarOf(...entries: [Header, string?][]): Promise<Buffer> {
  const archive = pack();
  for (const [header, content] of entries) archive.entry(header, content ?? "");
  archive.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of archive) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

const unpack = (path: string, tar: Buffer) => box.send("PUT", `/filesystem/archive?path=${encodeURIComponent(path)}`, tar);

test("uploadDirectory, downloadDirectory: a tree comes back as it went, names and modes and links and all", async () => {
  await sh(
    "mkdir -p src/deep/er && printf '\\0\\377' > src/deep/bin && chmod 700 src/deep/bin && ln -s bin src/deep/link && touch src/$'odd \\n \\377 name' 'src/żółw' && ln src/deep/bin src/hard && touch src/deep/er/$(head -c 250 /dev/zero | tr '\\0' n) && mkfifo src/fifo",
  );
  const down = await box.send("GET", "/filesystem/archive?path=src");
  assert.equal(down.headers["content-type"], "application/x-tar");
  const up = await unpack("/home/user/copy", down.bytes);
  assert.equal(up.status, 200, up.text);
  assert.equal(up.json.path, "/home/user/copy");
  assert.equal(up.json.bytes, 2);
  assert.equal(
    await sh("rm src/fifo; diff -r src copy && stat -c %a copy/deep/bin && readlink copy/deep/link && find src -printf x | wc -c"),
    `700\nbin\n${up.json.entries}\n`,
  );
});

test("names and links that lead outside are refused, and nothing lands there", async () => {
  const outside: [string, Buffer][] = [
    ["dots", await tarOf([{ name: "../escaped" }, "x"])],
    ["inner dots", await tarOf([{ name: "a/../../escaped" }, "x"])],
    ["absolute", await tarOf([{ name: "/tmp/escaped" }, "x"])],
    ["link out", await tarOf([{ name: "l", type: "symlink", linkname: "../escaped" }])],
    ["absolute link", await tarOf([{ name: "l", type: "symlink", linkname: "/etc/passwd" }])],
    ["hard link out", await tarOf([{ name: "l", type: "link", linkname: "../../../etc/passwd" }])],
    ["symlink then file", await tarOf([{ name: "l", type: "symlink", linkname: "/tmp" }], [{ name: "l/escaped" }, "x"])],
  ];
  for (const [name, tar] of outside) {
    const answer = await unpack("into", tar);
    assert.deepEqual([answer.status, answer.json.code], [400, "invalid_archive"], `${name}: ${answer.text}`);
  }
  assert.equal(await sh("ls -d /tmp/escaped /home/escaped escaped into/l 2>/dev/null | wc -l"), "0\n");
});

test("a link that was there is not followed, and one of the archive is made after everything else", async () => {
  await sh("mkdir -p trap && ln -s /tmp trap/l");
  assert.equal((await unpack("trap", await tarOf([{ name: "l/escaped" }, "x"]))).json.code, "invalid_archive");
  const inner = await unpack("inner", await tarOf([{ name: "l", type: "symlink", linkname: "d" }], [{ name: "d/file" }, "x"]));
  assert.equal(inner.status, 200);
  assert.equal(await sh("cat inner/l/file; ls -d /tmp/escaped 2>/dev/null"), "x");
  const through = await unpack("through", await tarOf([{ name: "l", type: "symlink", linkname: "d" }], [{ name: "l/file" }, "x"]));
  assert.equal(through.json.code, "invalid_archive");
});

test("a folder that becomes a link while an archive is unpacked leads nowhere", async () => {
  const flip = `
import os
os.makedirs("/tmp/outside"); os.makedirs("race/d", exist_ok=True); os.chdir("race")
while True:
    try:
        os.rename("d", "aside"); os.symlink("/tmp/outside", "d"); os.unlink("d"); os.rename("aside", "d")
    except OSError:
        os.system("rm -rf aside")`;
  const command = `python3 -c '${flip}'`;
  const { processId } = (await box.send("POST", "/processes/cmd", { command, background: true })).json;
  const entries = Array.from({ length: 400 }, (_, index): [Header, string] => [{ name: `${index % 2 ? "d" : "e"}/${index}` }, "x"]);
  const tar = await tarOf(...entries);
  let met = 0;
  for (let time = 0; time < 2000 && met < 20; time += 1)
    if (/lead through a link/.test((await unpack("race", tar)).json.detail ?? "")) met += 1;
  await box.send("DELETE", `/processes/${processId}`);
  assert.equal(met, 20);
  assert.equal(await sh("ls /tmp/outside"), "");
});

test("devices and FIFOs are refused; setuid bits are cleared", async () => {
  for (const type of ["fifo", "character-device", "block-device"] as const) {
    assert.equal((await unpack("dev", await tarOf([{ name: "n", type }]))).json.code, "invalid_archive");
  }
  await unpack("suid", await tarOf([{ name: "tool", mode: 0o6755 }, "x"], [{ name: "dir", type: "directory", mode: 0o3777 }]));
  assert.equal(await sh("stat -c %a suid/tool suid/dir"), "755\n777\n");
});

test("what is no tar, or breaks off, or is compressed, says so and how far it came", async () => {
  const good = await tarOf([{ name: "one" }, "first"], [{ name: "two" }, "x".repeat(2000)]);
  for (const tar of [Buffer.alloc(2048, 7), Buffer.from("x"), Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(1000)])]) {
    assert.equal((await unpack("broken", tar)).json.code, "invalid_archive");
  }
  const cut = await unpack("broken", good.subarray(0, 2000));
  assert.equal(cut.json.code, "invalid_archive");
  assert.equal(cut.json.details.unpacked.entries, 2);
  assert.equal(await sh("ls -A broken"), "one\n");
  assert.deepEqual((await unpack("empty", Buffer.alloc(1024))).json, { path: "/home/user/empty", entries: 0, bytes: 0 });
});

test("bombs are refused: too deep, endless headers, sizes that no disk has", async () => {
  assert.equal((await unpack("deep", await tarOf([{ name: `${"d/".repeat(101)}f` }, "x"]))).json.code, "invalid_archive");
  const long = await tarOf([{ name: "n" }, ""]);
  long.write("00077777777\0", 124, "latin1");
  long.write("L", 156, "latin1");
  long.fill(" ", 148, 156);
  long.write(
    `${[...long.subarray(0, 512)]
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
    "latin1",
  );
  assert.equal((await unpack("long", long)).json.code, "invalid_archive");
  const disk = await unpack("big", await tarOf([{ name: "big" }, "x".repeat(80 * 1024 * 1024)]));
  assert.deepEqual([disk.status, disk.json.code], [507, "disk_full"]);
  assert.equal(await sh("ls -A big"), "");
});

test("a missing folder, a file for a folder, and what the user may not enter", async (t) => {
  assert.equal((await box.send("GET", "/filesystem/archive?path=/missing")).json.code, "file_not_found");
  assert.equal((await box.send("GET", "/filesystem/archive?path=/etc/passwd")).json.code, "not_a_directory");
  assert.equal((await unpack("/etc/passwd", Buffer.alloc(1024))).json.code, "not_a_directory");
  if (process.getuid?.() !== 0) return t.skip("without root there is one uid");
  assert.equal((await unpack("/etc", await tarOf([{ name: "new" }, "x"]))).json.code, "forbidden");
  assert.equal((await unpack("/etc", await tarOf([{ name: "passwd" }, "x"]))).json.code, "forbidden");
});

test("ten thousand small files go up in one request", async () => {
  const entries = Array.from({ length: 10_000 }, (_, index): [Header, string] => [{ name: `many/${index % 100}/${index}` }, "x"]);
  const answer = await unpack("many", await tarOf(...entries));
  assert.deepEqual([answer.json.entries, answer.json.bytes], [10_000, 10_000]);
  assert.equal(await sh("find many -type f | wc -l"), "10000\n");
});
