import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { storeChild } from "#support/children.ts";
import type { TablesPlace } from "./tables.suite.ts";

/** What Tables keep that several processes have open at once. */
export function sharedTablesSuite(name: string, make: () => Promise<TablesPlace>): void {
  describe(`${name}: several processes`, () => sharedPromises(make));
}

function sharedPromises(make: () => Promise<TablesPlace>): void {
  test("four processes that add at once reach the ceiling and never pass it", async (t) => {
    await using place = await make();
    const path = place.path;
    if (path === undefined) return t.skip("this store lives in one process");
    await using children = await several(4, () => storeChild("add", path, [250, 600]));
    for (const child of children.all) child.go();
    const got = await Promise.all(children.all.map(async (child) => Number((await child.finished())[0])));
    assert.equal(
      got.reduce((sum, one) => sum + one),
      600,
    );
    await using tables = place.open();
    assert.equal((await tables.get("t", "sum"))?.value, 600);
  });

  test("four processes that raise one row by its version lose no step", async (t) => {
    await using place = await make();
    const path = place.path;
    if (path === undefined) return t.skip("this store lives in one process");
    await using children = await several(4, () => storeChild("raise", path, [100]));
    for (const child of children.all) child.go();
    for (const child of children.all) assert.deepEqual(await child.finished(), ["done"]);
    await using tables = place.open();
    assert.deepEqual(await tables.get("t", "shared"), { key: "shared", version: 400, value: 400 });
  });

  test("a writer killed in the middle loses nothing that it was told is written, and tears no row", async (t) => {
    await using place = await make();
    const path = place.path;
    if (path === undefined) return t.skip("this store lives in one process");
    await using child = await storeChild("write", path);
    child.go();
    await child.said(300);
    await child.kill();
    const last = Number(child.lines.at(-1));
    await using tables = place.open();
    const rows = await tables.range<{ n: number; text: string }>("t", "row-", { limit: 99 });
    assert.equal(rows.length, 50);
    for (const { value } of rows) assert.equal(value.text, String(value.n % 10).repeat(20_000));
    const newest = Math.max(...rows.map(({ value }) => value.n));
    assert.ok(newest === last || newest === last + 1, `${newest} was written, ${last} was said`);
    assert.ok((await tables.put("t", "row-0", "the next writer")).version > 1);
  });
}

async function several<T extends AsyncDisposable>(count: number, start: () => Promise<T>) {
  const stack = new AsyncDisposableStack();
  const all = await Promise.all(Array.from({ length: count }, async () => stack.use(await start())));
  return { all, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
