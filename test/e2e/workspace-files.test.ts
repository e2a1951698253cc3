import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { startWorkspace } from "#support/workspace.ts";

const box = await startWorkspace({ homeMiB: 32 });
after(() => box[Symbol.asyncDispose]());

const q = encodeURIComponent;
const write = (path: string, content: string, more: object = {}) => box.send("POST", "/files", { path, content, ...more });
const read = (path: string) => box.send("GET", `/files?path=${q(path)}`);
const sh = async (command: string) => (await box.send("POST", "/processes/cmd", { command })).json.result.stdout as string;

test("writeFile, readFile: text comes back as text, bytes as base64, parents are made", async () => {
  assert.deepEqual((await write("/home/user/a/b/żółw.txt", "Żółw\n")).json, { path: "/home/user/a/b/żółw.txt", size: 8 });
  const { json } = await read("a/b/żółw.txt");
  assert.deepEqual(
    [json.content, json.encoding, json.size, json.mode, json.permissions, json.type],
    ["Żółw\n", "utf-8", 8, "0644", "-rw-r--r--", "file"],
  );
  const bytes = randomBytes(300_001);
  await write("/home/user/.hidden", bytes.toString("base64"), { encoding: "base64", mode: "600" });
  const hidden = (await read("/home/user/.hidden")).json;
  assert.equal(hidden.encoding, "base64");
  assert.deepEqual(Buffer.from(hidden.content, "base64"), bytes);
  const long = `${"€".repeat(200_000)}\n"quoted"\u0001`;
  await write("long", long);
  assert.equal((await read("long")).json.content, long);
  assert.equal((await read("/proc/self/../version")).status, 400);
  assert.match((await read("/proc/version")).json.content, /Linux/);
});

test("what is written belongs to the user, whole or not at all, with no temporary left", async (t) => {
  await write("mine", "1");
  assert.equal(await sh("ls -A /home/user | grep -c part || true"), "0\n");
  if (process.getuid?.() !== 0) return t.skip("without root there is one uid");
  assert.equal(await sh("stat -c '%u:%g %a' mine a"), "1000:1000 644\n1000:1000 755\n");
});

test("writeBytes, readBytes: any bytes, any length, and one range of them", async () => {
  const bytes = randomBytes(3_000_000);
  assert.deepEqual((await box.send("PUT", "/files/content?path=blob&mode=755", bytes)).json, {
    path: "/home/user/blob",
    size: bytes.length,
  });
  const whole = await box.send("GET", "/files/content?path=blob");
  assert.deepEqual(whole.bytes, bytes);
  assert.equal(whole.headers["content-length"], "3000000");
  const ranges = [
    ["bytes=0-9", 0, 10],
    ["bytes=2999990-", 2_999_990, 3_000_000],
    ["bytes=-5", 2_999_995, 3_000_000],
    ["bytes=10-99999999", 10, 3_000_000],
  ] as const;
  for (const [range, start, end] of ranges) {
    const part = await box.send("GET", "/files/content?path=blob", undefined, { range });
    assert.equal(part.status, 206);
    assert.equal(part.headers["content-range"], `bytes ${start}-${end - 1}/3000000`);
    assert.deepEqual(part.bytes, bytes.subarray(start, end));
  }
  const beyond = await box.send("GET", "/files/content?path=blob", undefined, { range: "bytes=3000000-" });
  assert.deepEqual([beyond.status, beyond.json.code], [416, "range_not_satisfiable"]);
  assert.equal((await box.send("PUT", "/files/content?path=empty", Buffer.alloc(0))).json.size, 0);
  assert.equal((await box.send("GET", "/files/content?path=empty")).bytes.length, 0);
  await box.send("POST", "/filesystem/remove", { path: "blob" });
});

test("downloadFile: the bytes, with a name that any file may have", async () => {
  await write("odd 'näme' (1).txt", "x");
  const answer = await box.send("GET", `/filesystem/download?path=${q("odd 'näme' (1).txt")}`);
  assert.equal(answer.text, "x");
  assert.equal(answer.headers["content-disposition"], "attachment; filename*=UTF-8''odd%20%27n%C3%A4me%27%20%281%29.txt");
});

test("paths that no sandbox has are refused: NUL, `..`, empty, too long", async () => {
  for (const path of ["/etc/../etc/passwd", "../../etc/shadow", "..", "a\0b", "x".repeat(300), "/x".repeat(2100)]) {
    for (const answer of [
      await read(path),
      await write(path, "1"),
      await box.send("GET", `/files/content?path=${q(path)}`),
      await box.send("GET", `/filesystem?path=${q(path)}`),
    ]) {
      assert.equal(answer.status, 400, path.slice(0, 20));
      assert.ok(["invalid_path", "invalid_request"].includes(answer.json.code));
    }
  }
  assert.equal((await read("")).status, 400);
  assert.equal((await box.send("GET", "/files?path=..%252f..%252fetc%252fshadow")).json.code, "file_not_found");
});

test("a missing file, a directory for a file, a file for a directory", async () => {
  assert.deepEqual([(await read("/nope")).status, (await read("/nope")).json.code], [404, "file_not_found"]);
  assert.equal((await read("/tmp")).json.code, "not_a_file");
  assert.equal((await write("/tmp", "x")).json.code, "not_a_file");
  assert.equal((await read("/etc/passwd/x")).json.code, "not_a_directory");
  assert.equal((await box.send("GET", "/filesystem?path=/etc/passwd")).json.code, "not_a_directory");
  assert.equal((await write("/home/user/new/file", "x", { createDir: false })).json.code, "file_not_found");
  assert.equal((await write("bad", "***", { encoding: "base64" })).json.code, "invalid_request");
  assert.equal((await write("bad", "x", { mode: "4755" })).json.code, "invalid_request");
});

test("FIFOs, devices and sockets are no files, and asking takes no time", async () => {
  await sh("mkfifo fifo; python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\"");
  const startedAtMs = performance.now();
  for (const path of ["fifo", "sock", "/dev/zero", "/dev/tty"]) {
    for (const answer of [
      await read(path),
      await box.send("GET", `/filesystem/download?path=${q(path)}`),
      await box.send("PUT", `/files/content?path=${q(path)}`, "x"),
    ]) {
      assert.equal(answer.json?.code, "not_a_file", `${path}: ${answer.text.slice(0, 200)}`);
    }
  }
  assert.ok(performance.now() - startedAtMs < 1000);
});

test("nothing that only root may have can be read or written, by whatever name", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("without root there is one uid");
  await sh("ln -s /etc/shadow shadow; ln -s /proc/1/environ env; ln -s /proc/self/maps maps; ln -s /etc etc; ln -s /proc proc");
  for (const path of [
    "/etc/shadow",
    "shadow",
    "etc/shadow",
    "/proc/1/environ",
    "env",
    "/proc/self/environ",
    "/proc/self/mem",
    "proc/self/maps",
    "maps",
    "/proc/thread-self/maps",
  ]) {
    const answer = await read(path);
    assert.deepEqual([answer.status, answer.json.code], [403, "forbidden"], path);
  }
  for (const path of ["/etc/passwd", "etc/new", "/usr/bin/bash", "/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj"]) {
    assert.equal((await write(path, "x")).json.code, "forbidden", path);
  }
  assert.equal((await box.send("POST", "/filesystem/remove", { path: "/etc/passwd" })).json.code, "forbidden");
  assert.equal((await box.send("POST", "/filesystem/remove", { path: "/etc/ssl" })).json.code, "forbidden");
  assert.equal((await box.send("POST", "/filesystem/remove", { path: "/" })).json.code, "forbidden");
  assert.equal((await box.send("POST", "/filesystem/move", { source: "/etc/passwd", destination: "/tmp/passwd" })).json.code, "forbidden");
  assert.equal((await box.send("POST", "/filesystem/mkdir", { path: "/etc/new" })).json.code, "forbidden");
});

test("writing through a link writes what it names, and the link stays", async () => {
  await write("real", "old");
  await sh("ln -sf real link");
  await write("link", "new");
  assert.equal(await sh("readlink link; cat real"), "real\nnew");
});

test("a full disk is 507, leaves no part of the file, and the rest goes on", async () => {
  const answer = await box.send("PUT", "/files/content?path=huge", Buffer.alloc(40 * 1024 * 1024));
  assert.deepEqual([answer.status, answer.json.code], [507, "disk_full"]);
  assert.equal((await read("huge")).json.code, "file_not_found");
  assert.equal(await sh("ls -A | grep -c part || true"), "0\n");
  assert.equal((await write("small", "fits")).status, 200);
});

test("an upload that breaks off leaves nothing", async () => {
  const abort = new AbortController();
  async function* half() {
    yield Buffer.alloc(100_000);
    abort.abort();
    yield Buffer.alloc(100_000);
  }
  await assert.rejects(box.open("PUT", "/files/content?path=half", half(), {}, abort.signal));
  let parts = "";
  for (let look = 0; look < 100 && parts !== "0\n"; look += 1) parts = await sh("ls -A | grep -c -e part -e half || true");
  assert.equal(parts, "0\n");
});

test("listDirectory, statPath: entries with type, mode and owner, as deep as asked", async () => {
  await sh("mkdir -p tree/one/two && touch tree/file tree/one/two/deep && ln -s file tree/link && chmod 750 tree/one");
  const { json } = await box.send("GET", "/filesystem?path=tree");
  assert.deepEqual(
    json.entries.map((entry: { name: string; type: string }) => [entry.name, entry.type]),
    [
      ["file", "file"],
      ["link", "symlink"],
      ["one", "directory"],
    ],
  );
  assert.equal(json.truncated, false);
  const deep = await box.send("GET", "/filesystem?path=tree&depth=3");
  assert.ok(deep.json.entries.some((entry: { path: string }) => entry.path === "/home/user/tree/one/two/deep"));
  const { entry } = (await box.send("GET", "/filesystem/stat?path=tree/one")).json;
  assert.deepEqual([entry.mode, entry.permissions, entry.path], ["0750", "drwxr-x---", "/home/user/tree/one"]);
  assert.equal((await box.send("GET", "/filesystem/stat?path=tree/none")).json.code, "file_not_found");
  assert.equal((await box.send("GET", "/filesystem/stat?path=/")).json.entry.name, "/");
});

test("makeDirectory: making it twice is one making", async () => {
  for (let time = 0; time < 2; time += 1)
    assert.equal((await box.send("POST", "/filesystem/mkdir", { path: "made/here", mode: "0700" })).json.entry.mode, "0700");
  assert.equal((await box.send("POST", "/filesystem/mkdir", { path: "none/here", parents: false })).json.code, "file_not_found");
  await write("plain", "x");
  assert.equal((await box.send("POST", "/filesystem/mkdir", { path: "plain" })).json.code, "not_a_directory");
});

test("movePath: within and across file systems; an existing destination is not overwritten", async () => {
  await write("from/file", "moved");
  assert.equal((await box.send("POST", "/filesystem/move", { source: "from", destination: "to" })).json.entry.path, "/home/user/to");
  assert.equal((await box.send("POST", "/filesystem/move", { source: "to", destination: "/dev/shm/to-moved" })).status, 200);
  assert.equal((await read("/dev/shm/to-moved/file")).json.content, "moved");
  await write("there", "x");
  assert.equal(
    (await box.send("POST", "/filesystem/move", { source: "/dev/shm/to-moved", destination: "there" })).json.code,
    "already_exists",
  );
  assert.equal(
    (await box.send("POST", "/filesystem/move", { source: "/dev/shm/to-moved", destination: "/dev/shm/to-moved/in" })).json.code,
    "invalid_path",
  );
  assert.equal((await box.send("POST", "/filesystem/move", { source: "gone", destination: "x" })).json.code, "file_not_found");
  await box.send("POST", "/filesystem/remove", { path: "/dev/shm/to-moved" });
});

test("removePath: whole trees, however deep; removing twice is one removal; a link goes, not what it names", async () => {
  await sh(
    "python3 - <<'E'\nimport os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\nE\nmkdir keep; touch keep/x; ln -s keep gone",
  );
  assert.equal((await box.send("POST", "/filesystem/remove", { path: "d" })).json.entry.type, "directory");
  assert.deepEqual((await box.send("POST", "/filesystem/remove", { path: "d" })).json, {});
  await box.send("POST", "/filesystem/remove", { path: "gone" });
  assert.equal(await sh("ls keep; ls -d d gone 2>/dev/null"), "x\n");
});

function form(parts: [string, string | Buffer, string?][]): { body: Buffer; type: string } {
  const edge = `edge${randomBytes(8).toString("hex")}`;
  const pieces = parts.flatMap(([name, value, file]) => [
    Buffer.from(
      `--${edge}\r\nContent-Disposition: form-data; name="${name}"${file === undefined ? "" : `; filename="${file}"\r\nContent-Type: application/octet-stream`}\r\n\r\n`,
    ),
    Buffer.from(value),
    Buffer.from("\r\n"),
  ]);
  return { body: Buffer.concat([...pieces, Buffer.from(`--${edge}--\r\n`)]), type: `multipart/form-data; boundary=${edge}` };
}

test("uploadFile: by form, the path before or after the file, into a folder under its own name", async () => {
  const bytes = randomBytes(1_000_000);
  const send = ({ body, type }: { body: Buffer; type: string }) => box.send("POST", "/filesystem/upload", body, { "content-type": type });
  const early = await send(
    form([
      ["path", "up/one.bin"],
      ["file", bytes, "x.bin"],
    ]),
  );
  assert.deepEqual(early.json, { path: "/home/user/up/one.bin", size: bytes.length });
  const late = await send(
    form([
      ["file", bytes, "x.bin"],
      ["path", "up/"],
    ]),
  );
  assert.deepEqual(late.json, { path: "/home/user/up/x.bin", size: bytes.length });
  assert.deepEqual((await box.send("GET", "/files/content?path=up/x.bin")).bytes, bytes);
  assert.equal((await send(form([["path", "up/none"]]))).json.code, "invalid_request");
  assert.equal((await send(form([["file", bytes, "x"]]))).json.code, "invalid_request");
  assert.equal(
    (
      await send(
        form([
          ["path", "../x"],
          ["file", bytes, "x"],
        ]),
      )
    ).json.code,
    "invalid_path",
  );
  assert.equal((await box.send("POST", "/filesystem/upload", "x")).json.code, "invalid_request");
  assert.equal(
    (await box.send("POST", "/filesystem/upload", "--x\r\n", { "content-type": "multipart/form-data; boundary=x" })).status,
    400,
  );
  assert.equal(await sh("ls -A /tmp | grep -c cleanroom-upload || true"), "0\n");
});
