import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openLineLog } from "#infra/line-log.ts";
import { tempDir } from "#support/temp.ts";
import { until } from "#support/until.ts";

const counted = (most: number) => Array.from({ length: most }, (_value, at) => at);

test("lines come whole and in order, beside the work, and the last ones before the log is closed", async () => {
  await using temp = await tempDir();
  const path = join(temp.path, "log");
  const descriptor = openSync(path, "a");
  const numbers = async () => {
    const lines = (await readFile(path, "utf8")).split("\n").filter(Boolean);
    return lines.map((line) => (JSON.parse(line) as { count: number }).count);
  };
  {
    using log = openLineLog(descriptor);
    for (const count of counted(1000)) log.event("counted", { count });
    // Read in the same turn, so that no timer had its turn however slow the machine is.
    assert.equal(readFileSync(path, "utf8"), "", "nobody waited for the disk");
    // A look may find the last line half written.
    await until("all are written", async () => (await readFile(path, "utf8")).split("\n").length === 1001);
    for (let count = 1000; count < 1500; count += 1) log.event("counted", { count });
  }
  assert.deepEqual(await numbers(), counted(1500));
  closeSync(descriptor);
});
