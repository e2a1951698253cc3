import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { test } from "node:test";
import { createTables } from "#infra/local/stores/tables.ts";
import { memoryTables } from "#support/memory-tables.ts";
import { folderPlace, memoryPlace } from "#support/place.ts";
import { tablesSuite } from "./tables.suite.ts";

tablesSuite("tables in a SQLite file", () => folderPlace((path) => () => createTables(path)));

tablesSuite("tables in memory", async () => {
  const tables = memoryTables();
  return memoryPlace(() => tables);
});

test("the log beside the SQLite file stays small, however much is written and never read", async () => {
  await using place = await folderPlace((path) => () => createTables(path));
  await using tables = place.open();
  for (let n = 0; n < 3000; n++) {
    await tables.put("t", `k${n}`, "x".repeat(300));
    await tables.add("t", "sum", 1, { ceiling: 3000 });
  }
  const { size } = await stat(`${place.path}-wal`);
  assert.ok(size < 10_000_000, `it has ${size} bytes`);
});
