import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { boundTogether, widenTables } from "#infra/local/sealed/together.ts";
import { tempDir } from "#support/temp.ts";

test("the kernel's tables are made wider and never narrower; one that is not there is not missed", async () => {
  await using temp = await tempDir();
  const system = temp.path;
  await mkdir(join(system, "fs"));
  await mkdir(join(system, "kernel"));
  await writeFile(join(system, "fs/file-max"), "9223372036854775807\n");
  await writeFile(join(system, "kernel/pid_max"), "32768\n");
  assert.equal(widenTables(system), undefined);
  assert.equal(await readFile(join(system, "fs/file-max"), "utf8"), "9223372036854775807\n");
  assert.equal(await readFile(join(system, "kernel/pid_max"), "utf8"), "4194304");
});

for (const unified of [false, true]) {
  test(`all sandboxes together leave the host its share, in ${unified ? "the unified hierarchy" : "hierarchies of the first version"}`, async () => {
    await using temp = await tempDir();
    const folder = temp.path;
    assert.equal(
      boundTogether(() => ({ folder, unified })),
      undefined,
    );
    const read = async (name: string) => Number(await readFile(join(folder, name), "utf8"));
    const each = unified ? await read("cpu.weight") : (await read("cpu.shares")) / availableParallelism();
    assert.ok(each > 0 && each < (unified ? 100 : 1024), "less than what stands beside it");
    assert.ok((await read(unified ? "memory.max" : "memory.limit_in_bytes")) > 0);
    assert.ok((await read("pids.max")) > 1024);
  });
}

test("a bound that cannot be had is said with its reason", () => {
  assert.match(boundTogether(() => ({ folder: "/nowhere/at/all", unified: true })) ?? "", /ENOENT.*cpu\.weight/);
  assert.equal(
    boundTogether(() => undefined),
    undefined,
  );
});
