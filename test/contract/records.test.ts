import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { createSearch } from "#infra/local/stores/search.ts";
import { storeChild } from "#support/children.ts";
import { folderPlace } from "#support/place.ts";
import { words } from "./search.suite.ts";

const BATCH = 20;

test("killed while it remembers, a store of memories holds whole batches, all that it answered, and is searched", async () => {
  for (const after of [1, 7, 30]) {
    await using place = await folderPlace((path) => () => createSearch(path));
    await using child = await storeChild("remember", place.path ?? "");
    child.go();
    await child.said(after);
    await child.kill();
    await using search = place.open();
    const { docs } = await search.size("s");
    assert.equal(docs % BATCH, 0);
    assert.ok(docs >= child.lines.length * BATCH, `${docs} documents of ${child.lines.length} batches`);
    const last = docs / BATCH - 1;
    const hits = await search.query("s", { words: words(`batch${last}`), filter: {}, limit: 50, nowMs: 0 });
    assert.equal(hits.length, BATCH);
    await search.index("s", [{ id: "next", atMs: 0, facets: {}, words: ["after"], value: {} }]);
    assert.equal((await search.query("s", { words: words("after"), filter: {}, limit: 1, nowMs: 0 }))[0]?.id, "next");
  }
});

test("on a full disk audit records and memories are refused, spans are lost and said to be, and all go on when there is room", async (t) => {
  const apart = ["--map-root-user", "--mount"];
  const mountable = await promisify(execFile)("unshare", [...apart, "mount", "-t", "tmpfs", "none", "/mnt"]).then(
    () => true,
    () => false,
  );
  if (!mountable) return t.skip("this host lets nobody mount a small disk of their own");
  await using place = await folderPlace((path) => () => createSearch(path));
  await using _made = place.open();
  const onSmallDisk = ["sh", "-c", 'mount -t tmpfs -o size=12m none "$1" && shift && exec "$@"', "sh", place.path ?? ""];
  await using child = await storeChild("fillRecords", place.path ?? "", [9 * 1024 * 1024], ["unshare", ...apart, ...onSmallDisk]);
  child.go();
  const said = JSON.parse((await child.finished())[0] ?? "") as { codes: string[]; lost: string[]; records: number; halves: number };
  assert.deepEqual(said.codes, ["disk_full", "disk_full"]);
  assert.deepEqual(said.lost, ["spans.lost true"]);
  assert.ok(!("broken" in said), "the chain holds");
  assert.ok(said.records >= 2);
  assert.equal(said.halves, 0, "no half of a batch");
});
