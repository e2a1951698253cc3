import assert from "node:assert/strict";
import { tarOf, type Entry } from "#support/hostile-tar.ts";
import { proves, type Range } from "#support/range.ts";

const unpack = ({ send }: Pick<Range, "send">, entries: Iterable<Entry>) =>
  send("PUT", "/filesystem/archive?path=/home/user/in", tarOf(entries));

proves("F5", "an archive lands inside its folder or nowhere, without devices and without set-uid bits", async (range) => {
  const { inside } = range;
  const good = await unpack(range, [
    { name: "dir/", type: "5", mode: 0o7777 },
    { name: "dir/tool", body: "#!/bin/sh", mode: 0o6755 },
    { name: "dir/link", type: "2", link: "tool" },
  ]);
  assert.equal(good.status, 200, await good.text());
  assert.match((await inside("stat -c %a in/dir/tool in/dir; readlink in/dir/link")).stdout, /^755\n0?777\ntool\n$/);
  await inside("ln -s /tmp in/there");
  const bad: Entry[][] = [
    [{ name: "../outcast", body: "x" }],
    [{ name: "a/../../outcast", body: "x" }],
    [{ name: "/tmp/outcast", body: "x" }],
    [
      { name: "out", type: "2", link: "/tmp" },
      { name: "out/outcast", body: "x" },
    ],
    [
      { name: "up", type: "2", link: "../.." },
      { name: "up/tmp/outcast", body: "x" },
    ],
    [{ name: "there/outcast", body: "x" }],
    [{ name: "hard", type: "1", link: "/etc/passwd" }],
    [{ name: "hard", type: "1", link: "../../../etc/passwd" }],
    [
      { name: "hard", type: "1", link: "there" },
      { name: "hard/outcast", body: "x" },
    ],
    [{ name: "disk", type: "4" }],
    [{ name: "memory", type: "3" }],
    [{ name: "pipe", type: "6" }],
    [
      { name: "x".repeat(99), type: "L", body: "../".repeat(30) + "tmp/outcast" },
      { name: "short", body: "x" },
    ],
    [
      { name: "pax", type: "x", body: paxPath("../../outcast") },
      { name: "short", body: "x" },
    ],
    [
      {
        name: "pax",
        type: "x",
        body: paxPath("/etc/passwd")
          .replace("path", "linkpath")
          .replace(/^\d+/, (length) => String(Number(length) + 4)),
      },
      { name: "soft", type: "2" },
    ],
  ];
  for (const entries of bad) {
    const answer = await unpack(range, entries);
    assert.equal(answer.status, 400, `${JSON.stringify(entries)}: ${await answer.text()}`);
  }
  assert.equal((await inside("find / -name 'outcast*' 2>/dev/null; find ~/in -type b -o -type c -o -type p -o -perm /6000")).stdout, "");
});

proves("F6", "an archive that is a bomb is refused by count, depth, size and shape, and the sandbox works on", async (range) => {
  const { inside, send } = range;
  const ok = await unpack(
    range,
    Array.from({ length: 500 }, (_, index) => ({ name: `many/${index}`, body: "x" })),
  );
  assert.equal(ok.status, 200, "five hundred files are no bomb");
  const refused = async (what: string, entries: Iterable<Entry>, status = 400) => {
    const answer = await unpack(range, entries);
    assert.equal(answer.status, status, `${what}: ${await answer.text()}`);
  };
  await refused("an entry that claims ten terabytes", [{ name: "big", body: "x", claims: 8 ** 11 - 1 }]);
  await refused("a thousand folders deep", [
    { name: "pax", type: "x", body: paxPath("d/".repeat(1000) + "f") },
    { name: "f", body: "x" },
  ]);
  await refused("ten thousand folders deep", [
    { name: "pax", type: "x", body: paxPath("d/".repeat(10_000) + "f") },
    { name: "f", body: "x" },
  ]);
  await refused("a header of a hundred megabytes", [
    { name: "pax", type: "x", claims: 100 * 1024 * 1024 },
    { name: "f", body: "x" },
  ]);
  await refused(
    "more entries than there may be",
    Array.from({ length: 200_001 }, () => ({ name: "s", type: "2", link: "t" })),
  );
  const gzip = await send(
    "PUT",
    "/filesystem/archive?path=/home/user/in",
    new Uint8Array([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, ...Array.from({ length: 2000 }, () => 7)]),
  );
  assert.equal(gzip.status, 400, "nothing compressed is unpacked");
  assert.equal((await inside("echo fine")).stdout, "fine\n");
});

function paxPath(path: string): string {
  let length = path.length + 7;
  while (`${length} path=${path}\n`.length !== length) length += 1;
  return `${length} path=${path}\n`;
}
