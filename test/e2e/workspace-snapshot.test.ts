import assert from "node:assert/strict";
import { test } from "node:test";
import { INNER_HEADER, SNAPSHOT_MEDIA_TYPE } from "#contract/inner.ts";
import { startWorkspace, type TestWorkspace } from "#support/workspace.ts";
import { tarOf } from "#support/hostile-tar.ts";

const fresh = () => startWorkspace({ homeMiB: 300 });

const CORE = { [INNER_HEADER]: "1" };
const read = (box: TestWorkspace) => box.send("GET", "/snapshot", undefined, CORE);
const write = (box: TestWorkspace, tar: Uint8Array) =>
  box.send("PUT", "/snapshot", Buffer.from(tar), { ...CORE, "content-type": SNAPSHOT_MEDIA_TYPE });

/** Code inside works with the user's own rights, whatever runs commands. */
async function inside(box: TestWorkspace, command: string): Promise<string> {
  const answer = await box.send("POST", "/processes/cmd", { command });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.json.result.exitCode, 0, answer.text);
  return answer.json.result.stdout as string;
}

/** Kind, mode, date to the nanosecond, size, links and target of everything of the user's at home, and what is in it. */
const DESCRIBE = `cd ~ && find . -user user -printf '%y %m %T+ %s %n %l %P\\n' | sort -k7 && find . -type f -user user -exec sha256sum {} + | sort -k2`;

const MAKE = `cd ~ && rm .bashrc && mkdir -p a/b/c deep/$(seq -s/ 60) 'odd name' locked && head -c 3000000 /dev/urandom > a/big
  echo hi > a/b/text && chmod 4755 a/b/text && chmod u-s a/b/text && ln a/b/text a/twin && ln -s a/b link && ln -s /nowhere dangling
  touch -d '2001-02-03 04:05:06.123456789' a/b/text a && touch "$(printf 'b\\377d')" "$(printf 'long%.0s' $(seq 60))" empty
  truncate -s 64M sparse && echo end >> sparse && echo x > locked/in && chmod 400 locked/in && chmod 555 locked && touch -d @-7 empty`;

test("what was taken from one sandbox is what another then has: kinds, modes, dates, links, holes, and what was deleted", async () => {
  await using one = await fresh();
  await using two = await fresh();
  for (const box of [one, two]) await inside(box, "echo as it came > ~/.bashrc");
  await inside(one, MAKE);
  await inside(two, "echo theirs > ~/theirs && mkdir ~/a && touch /tmp/theirs");
  const tar = await read(one);
  assert.equal(tar.status, 200);
  assert.ok(Number(tar.headers["snapshot-files"]) > 75, String(tar.headers["snapshot-files"]));
  assert.equal((await write(two, tar.bytes)).status, 204);
  assert.equal(await inside(two, DESCRIBE), await inside(one, DESCRIBE));
  assert.match(await inside(two, "stat -c %b ~/sparse; ls -d /tmp/theirs ~/theirs ~/.bashrc || echo deleted"), /^\d{1,4}\ndeleted\n$/);
  assert.deepEqual((await read(two)).bytes, tar.bytes, "equal files are equal bytes");
});

test("what lies elsewhere and is the user's is taken too, and nothing else", async () => {
  await using box = await fresh();
  await inside(box, "mkdir /tmp/work && echo 1 > /tmp/work/file && mkfifo /tmp/pipe && touch /tmp/unreadable && chmod 0 /tmp/unreadable");
  const { bytes, headers } = await read(box);
  const text = bytes.toString("latin1");
  assert.ok(text.includes("tmp/work/file"));
  for (const absent of ["tmp/pipe", "tmp/unreadable", "etc/passwd", "proc/", "opt/cleanroom"]) assert.ok(!text.includes(absent), absent);
  assert.equal(headers["snapshot-skipped"], "2");
});

test("only the core is answered", async () => {
  await using box = await fresh();
  for (const method of ["GET", "PUT"]) {
    const answer = await box.send(method, "/snapshot", method === "PUT" ? Buffer.alloc(1024) : undefined, { [INNER_HEADER]: "yes" });
    assert.equal(answer.json.code, "route_not_found");
  }
});

test("no archive gets out of its place: no way up, no link, no device, no more rights than the user has", async () => {
  await using box = await fresh();
  const refused = {
    "a way up": [{ name: "../x", body: "1" }],
    "an absolute name": [{ name: "/tmp/x", body: "1" }],
    "the kernel's faces": [{ name: "proc/self/oom_score_adj", body: "0" }],
    "the workspace": [{ name: "opt/cleanroom/x", body: "1" }],
    "a link to the kernel's faces": [
      { name: "home/user/s", type: "2", link: "/proc/self" },
      { name: "home/user/s/oom_score_adj", body: "0" },
    ],
    "a second name of what is not there": [{ name: "home/user/h", type: "1", link: "../etc/passwd" }],
    "a character device": [{ name: "home/user/c", type: "3" }],
    "a block device": [{ name: "home/user/b", type: "4" }],
    "a pipe": [{ name: "home/user/p", type: "6" }],
    "a file of the system": [{ name: "etc/passwd", body: "root::0:0::/:/bin/sh" }],
    "a new file in a folder of the system": [{ name: "etc/own", body: "1" }],
  };
  for (const [what, entries] of Object.entries(refused)) {
    const answer = await write(box, tarOf(entries));
    assert.ok(["invalid_archive", "forbidden"].includes(answer.json.code), `${what}: ${answer.status}`);
  }
  assert.equal((await write(box, tarOf([{ name: "home/user/s", mode: 0o6777, body: "1" }]))).status, 204);
  assert.equal((await inside(box, "stat -c '%a %u' ~/s")).trim(), "777 1000");
});

test("an archive that is none, is cut or does not fit is refused in words", async () => {
  await using box = await fresh();
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from("garbage".repeat(500)),
    tarOf([{ name: "home/user/x", body: "x".repeat(5000) }]).subarray(0, 2048),
  ])
    assert.equal((await write(box, bytes)).json.code, "invalid_archive");
  await inside(box, "head -c 200M /dev/urandom > ~/big");
  const { bytes } = await read(box);
  await using small = await startWorkspace({ homeMiB: 64 });
  assert.equal((await write(small, bytes)).json.code, "disk_full");
});

test("a file that changes while it is read is a file of the size that it had, and the rest is as it should be", async () => {
  await using one = await fresh();
  await using two = await fresh();
  await inside(one, "echo last > ~/zzz; for n in $(seq 40); do head -c 1M /dev/urandom > ~/f$n; done");
  const writing = inside(one, "for n in $(seq 300); do : > ~/f$((n % 40 + 1)); head -c 500K /dev/zero >> ~/f$((n % 40 + 1)); done");
  const taken = [];
  for (let time = 0; time < 4; time += 1) taken.push(await read(one));
  await writing;
  for (const { bytes } of taken) {
    assert.equal((await write(two, bytes)).status, 204);
    assert.equal(await inside(two, "ls ~ | wc -l; cat ~/zzz"), "41\nlast\n");
  }
});
