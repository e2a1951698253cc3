import assert from "node:assert/strict";
import { test } from "node:test";
import { openSqlite } from "#infra/local/stores/sqlite.ts";
import { writeByTurn } from "#infra/local/stores/turn.ts";
import { tempDir } from "#support/temp.ts";

async function openTurn() {
  const dir = await tempDir();
  const path = `${dir.path}/t.db`;
  const db = openSqlite(path, "CREATE TABLE IF NOT EXISTS t (key TEXT PRIMARY KEY) STRICT");
  const other = openSqlite(path, "");
  const insert = db.prepare("INSERT INTO t VALUES (?)");
  const count = other.prepare("SELECT count(*) AS n FROM t");
  return {
    turn: writeByTurn(db),
    insert: (key: string) => () => insert.run(key),
    seen: () => Number(count.get()?.["n"]),
    async [Symbol.asyncDispose]() {
      other.close();
      db.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

test("what is asked for in one turn is seen by others at once, when the first of it is answered", async () => {
  await using it = await openTurn();
  const first = it.turn.write(it.insert("a"));
  const rest = ["b", "c"].map((key) => it.turn.write(it.insert(key)));
  assert.equal(it.seen(), 0);
  await first;
  assert.equal(it.seen(), 3);
  await Promise.all(rest);
});

test("a write that cannot be made fails alone", async () => {
  await using it = await openTurn();
  const results = await Promise.allSettled(["a", "b", "a", "c"].map((key) => it.turn.write(it.insert(key))));
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "fulfilled"],
  );
  assert.equal(it.seen(), 3);
});

test("more than go together are all written, in their order", async () => {
  await using it = await openTurn();
  const order: number[] = [];
  await Promise.all(Array.from({ length: 1000 }, (_, n) => it.turn.write(it.insert(String(n))).then(() => order.push(n))));
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
  );
  assert.equal(it.seen(), 1000);
});

test("flushing leaves nothing that waits", async () => {
  await using it = await openTurn();
  const written = it.turn.write(it.insert("a"));
  it.turn.flush();
  assert.equal(it.seen(), 1);
  await written;
});
