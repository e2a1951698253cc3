import assert from "node:assert/strict";
import { answers, attempts, outside, proves } from "#support/range.ts";
import { usageOf, worksWell } from "#support/wellbeing.ts";

const hostFree = async () => Number((await outside("df --output=avail -k /tmp | tail -1")).stdout);

proves("F7", "a full disk is the sandbox's own: 507 for its files, room for its neighbours, none of the host's taken", async (range) => {
  const { send, inside } = range;
  const other = await range.neighbour({ template: "code-interpreter" });
  await range.tenant.json("POST", "/api/templates", { name: "tiny", diskMiB: 512 }, 201);
  const tiny = await range.neighbour({ template: "tiny" });
  const before = await hostFree();
  const sparse = answers(
    await tiny.inside(
      attempts(`
import errno
def size(bytes, reserve):
    with open("/home/user/big", "wb") as file:
        if reserve: os.posix_fallocate(file.fileno(), 0, bytes)
        else: file.truncate(bytes)
attempt("truncate-petabyte", lambda: size(1 << 50, False))
attempt("reserve-terabyte", lambda: size(1 << 40, True))
os.remove("/home/user/big")
def inodes():
    os.makedirs("/tmp/n")
    for n in range(1000000): open(f"/tmp/n/{n}", "w").close()
attempt("inodes", inodes)
import shutil; shutil.rmtree("/tmp/n")
def bytes():
    with open("/home/user/fill", "wb", 0) as file:
        while True: file.write(b"x" * (1 << 20))
attempt("bytes", bytes)
def tail():
    with open("/home/user/tail", "wb", 0) as file:
        while file.write(b"x" * 512): pass
attempt("tail", tail)`),
    ),
  );
  assert.deepEqual(sparse, {
    "truncate-petabyte": "EFBIG",
    "reserve-terabyte": "ENOSPC",
    inodes: "ENOSPC",
    bytes: "ENOSPC",
    tail: "ENOSPC",
  });
  // Every name of the disk's is taken: files are refused with the same word, and the neighbour has names of its own.
  const names = answers(
    await tiny.inside(
      attempts(`
os.rename("/home/user/tail", "/home/user/kept"); os.remove("/home/user/fill"); os.makedirs("/home/user/n")
print("names", os.statvfs("/home/user").f_files)
def inodes():
    for n in range(1000000): open(f"/home/user/n/{n}", "w").close()
attempt("inodes", inodes)`),
    ),
  );
  assert.equal(names["inodes"], "ENOSPC");
  assert.ok(Number(names["names"]) >= 16_384 && Number(names["names"]) <= 65_536, `${names["names"]} names on a disk of 512 MiB`);
  assert.equal((await tiny.send("PUT", "/files/content?path=unnamed", "x")).status, 507);
  assert.equal((await other.send("PUT", "/files/content?path=named", "x")).status, 200);
  await tiny.inside("rm -r n kept; head -c 600M /dev/zero > fill; touch tail; exit 0");
  const large = "y".repeat(20 * 1024 * 1024);
  for (const answer of [
    await tiny.send("PUT", "/files/content?path=more", large),
    await tiny.send("POST", "/files", { path: "more", content: large }),
  ]) {
    assert.equal(answer.status, 507);
    assert.equal(((await answer.json()) as { code: string }).code, "disk_full");
  }
  const usage = await usageOf(range, tiny);
  assert.ok(usage.diskBytes > 400 * 1024 * 1024 && usage.diskBytes <= 512 * 1024 * 1024, `${usage.diskBytes} bytes are counted`);
  await worksWell(other);
  assert.ok(before - (await hostFree()) < 1024 * 1024, "the host lost no more than the disk's size");
  assert.equal((await tiny.inside("rm fill tail; echo again > file && cat file")).stdout, "again\n", "it works again once there is room");
  assert.equal((await tiny.send("PUT", "/files/content?path=more", large)).status, 200);
  assert.equal((await send("PUT", "/files/content?path=more", large)).status, 200);
  assert.equal((await inside("stat -c %s more")).stdout, `${large.length}\n`);
});
