import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LIMITS } from "#contract/limits.ts";
import type { Row, Tables } from "#core/ports.ts";
import type { Place } from "#support/place.ts";
import { isProblem } from "#support/problem.ts";
import { sharedTablesSuite } from "./tables-shared.suite.ts";

export type TablesPlace = Place<() => Tables & AsyncDisposable>;

/** What every Tables keeps, whatever it stands on. */
export function tablesSuite(name: string, make: () => Promise<TablesPlace>): void {
  const promise: Promised = (title, proof) => {
    test(title, async () => {
      await using place = await make();
      await using tables = place.open();
      await proof(tables, place);
    });
  };

  describe(`${name}: rows`, () => rowPromises(promise));
  describe(`${name}: conditions`, () => conditionPromises(promise));
  describe(`${name}: sums`, () => sumPromises(promise));
  describe(`${name}: ranges`, () => rangePromises(promise));
  sharedTablesSuite(name, make);
}

type Promised = (title: string, proof: (tables: Tables, place: TablesPlace) => Promise<void>) => void;

function rowPromises(promise: Promised): void {
  promise("a row reads back as it was written", async (tables) => {
    for (const value of [{ a: [1, "two", null, { "": false }] }, [], null, 0, "", false, "\u0000\ud800 \u{1F980}"]) {
      await tables.put("t", "k", value);
      assert.deepEqual((await tables.get("t", "k"))?.value, value);
    }
  });

  promise("versions start at 1 and rise by one with each write", async (tables) => {
    assert.equal((await tables.put("t", "k", "a")).version, 1);
    assert.deepEqual(await tables.put("t", "k", "b"), { key: "k", version: 2, value: "b" });
    assert.deepEqual(await tables.get("t", "k"), { key: "k", version: 2, value: "b" });
  });

  promise("a row that is not there is undefined", async (tables) => {
    assert.equal(await tables.get("t", "k"), undefined);
  });

  promise("changing what was read changes no row", async (tables) => {
    await tables.put("t", "k", { list: [1] });
    const row = await tables.get<{ list: number[] }>("t", "k");
    row?.value.list.push(2);
    assert.deepEqual((await tables.get("t", "k"))?.value, { list: [1] });
  });

  promise("tables are apart", async (tables) => {
    await tables.put("one", "k", 1);
    assert.equal(await tables.get("two", "k"), undefined);
    assert.deepEqual(await tables.range("two", "", { limit: 9 }), []);
  });

  promise("keys are exact: neither case nor composition of characters is folded", async (tables) => {
    const keys = ["\u00e9", "e\u0301", "k", "K", "\u212a", "a/b", "a%b", "a_b", "日本", "\u{1F980}", " ", "k ", "'; --"];
    for (const key of keys) await tables.put("t", key, key);
    for (const key of keys) assert.equal((await tables.get("t", key))?.value, key);
    assert.equal((await tables.range("t", "", { limit: 99 })).length, keys.length);
  });

  promise("a key that a store could not give back is refused", async (tables) => {
    for (const key of ["", "a\0b", "\ud800", "é".repeat(513)]) {
      await assert.rejects(tables.put("t", key, 1), isProblem("invalid_request"));
      await assert.rejects(tables.get("t", key), isProblem("invalid_request"));
      await assert.rejects(tables.add("t", key, 1), isProblem("invalid_request"));
      await assert.rejects(tables.remove("t", key), isProblem("invalid_request"));
    }
    const longest = "é".repeat(512);
    await tables.put("t", longest, 1);
    assert.equal((await tables.get("t", longest))?.value, 1);
  });

  promise("a value of two mebibytes is kept, and one byte more is refused and changes nothing", async (tables) => {
    const largest = "x".repeat(LIMITS.tableValueBytes - 2);
    await tables.put("t", "k", largest);
    await assert.rejects(tables.put("t", "k", `${largest}x`), isProblem("body_too_large"));
    const row = await tables.get<string>("t", "k");
    assert.equal(row?.version, 1);
    assert.equal(row.value, largest);
  });

  promise("what is no JSON is refused", async (tables) => {
    await assert.rejects(tables.put("t", "k", undefined), isProblem("invalid_request"));
    assert.equal(await tables.get("t", "k"), undefined);
  });

  promise("removing twice is one removal, and the key starts again at 1", async (tables) => {
    await tables.put("t", "k", "a");
    await tables.put("t", "k", "b");
    await tables.remove("t", "k");
    await tables.remove("t", "k");
    assert.equal(await tables.get("t", "k"), undefined);
    assert.equal((await tables.put("t", "k", "c")).version, 1);
  });

  promise("what one handle wrote another reads at once", async (tables, place) => {
    await using other = place.open();
    await tables.put("t", "k", "a");
    assert.equal((await other.get("t", "k"))?.value, "a");
    await other.put("t", "k", "b");
    assert.deepEqual(await tables.get("t", "k"), { key: "k", version: 2, value: "b" });
  });
}

function conditionPromises(promise: Promised): void {
  promise("a row that must be absent is written once", async (tables) => {
    assert.equal((await tables.put("t", "k", "a", { ifVersion: "absent" })).version, 1);
    await assert.rejects(tables.put("t", "k", "b", { ifVersion: "absent" }), isProblem("conflict"));
    assert.deepEqual(await tables.get("t", "k"), { key: "k", version: 1, value: "a" });
  });

  promise("a row changes only under the version that it has", async (tables) => {
    await assert.rejects(tables.put("t", "k", "a", { ifVersion: 1 }), isProblem("conflict"));
    assert.equal(await tables.get("t", "k"), undefined);
    await tables.put("t", "k", "a");
    assert.equal((await tables.put("t", "k", "b", { ifVersion: 1 })).version, 2);
    for (const ifVersion of [0, 1, 3]) await assert.rejects(tables.put("t", "k", "c", { ifVersion }), isProblem("conflict"));
    assert.deepEqual(await tables.get("t", "k"), { key: "k", version: 2, value: "b" });
  });

  promise("a row goes only under the version that it has", async (tables) => {
    await assert.rejects(tables.remove("t", "k", { ifVersion: 1 }), isProblem("conflict"));
    await tables.put("t", "k", "a");
    await tables.put("t", "k", "b");
    await assert.rejects(tables.remove("t", "k", { ifVersion: 1 }), isProblem("conflict"));
    assert.equal((await tables.get("t", "k"))?.value, "b");
    await tables.remove("t", "k", { ifVersion: 2 });
    assert.equal(await tables.get("t", "k"), undefined);
  });

  promise("of many writers that read the same version one wins", async (tables, place) => {
    await using other = place.open();
    await tables.put("t", "k", "start");
    const writers = Array.from({ length: 40 }, (_, n) => (n % 2 ? tables : other).put("t", "k", n, { ifVersion: 1 }));
    const outcomes = await Promise.allSettled(writers);
    const won = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    assert.equal(won.length, 1);
    assert.deepEqual(await tables.get("t", "k"), won[0]);
  });
}

function sumPromises(promise: Promised): void {
  promise("a sum starts at zero and is a row like any other", async (tables) => {
    assert.equal(await tables.add("t", "s", 5), 5);
    assert.equal(await tables.add("t", "s", -7), -2);
    assert.equal(await tables.add("t", "s", 0), -2);
    assert.deepEqual(await tables.get("t", "s"), { key: "s", version: 3, value: -2 });
    await tables.put("t", "s", 10);
    assert.equal(await tables.add("t", "s", 1), 11);
    await tables.remove("t", "s");
    assert.equal(await tables.add("t", "s", 1), 1);
  });

  promise("a sum above its ceiling changes nothing, and one at it is allowed", async (tables) => {
    await assert.rejects(tables.add("t", "s", 4, { ceiling: 3 }), isProblem("quota_exceeded"));
    assert.equal(await tables.get("t", "s"), undefined);
    assert.equal(await tables.add("t", "s", 3, { ceiling: 3 }), 3);
    await assert.rejects(tables.add("t", "s", 1, { ceiling: 3 }), isProblem("quota_exceeded"));
    assert.deepEqual(await tables.get("t", "s"), { key: "s", version: 1, value: 3 });
  });

  promise("taking away is never refused, even above a ceiling that was lowered", async (tables) => {
    await tables.add("t", "s", 10);
    assert.equal(await tables.add("t", "s", -1, { ceiling: 3 }), 9);
    await assert.rejects(tables.add("t", "s", 1, { ceiling: 3 }), isProblem("quota_exceeded"));
  });

  promise("money in its smallest unit is exact up to the largest safe integer", async (tables) => {
    const most = Number.MAX_SAFE_INTEGER;
    assert.equal(await tables.add("t", "s", most - 1), most - 1);
    assert.equal(await tables.add("t", "s", 1), most);
    await assert.rejects(tables.add("t", "s", 1), isProblem("quota_exceeded"));
    assert.equal((await tables.get("t", "s"))?.value, most);
  });

  promise("only integers are added, and only to numbers", async (tables) => {
    for (const by of [0.5, Number.NaN, Infinity, 2 ** 53]) await assert.rejects(tables.add("t", "s", by), isProblem("invalid_request"));
    for (const value of ["7", { n: 1 }, null, 1.5]) {
      await tables.put("t", "s", value);
      await assert.rejects(tables.add("t", "s", 1), isProblem("invalid_request"));
      assert.deepEqual((await tables.get("t", "s"))?.value, value);
    }
  });

  promise("a thousand adds at once reach the ceiling and never pass it", async (tables, place) => {
    await using other = place.open();
    const adds = Array.from({ length: 1000 }, (_, n) => (n % 2 ? tables : other).add("t", "s", 1, { ceiling: 600 }));
    const sums = (await Promise.allSettled(adds)).flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    assert.equal(Math.max(...sums), 600);
    assert.equal(new Set(sums).size, 600);
    assert.equal(sums.length, 600);
  });
}

function rangePromises(promise: Promised): void {
  // In the order of their bytes, which JavaScript's own order of text is not: a surrogate sorts below U+FF5E there.
  const ordered = [
    "A",
    "a",
    "a!",
    "a/",
    "a/b",
    "a0",
    "aa",
    "b",
    "z",
    "é",
    "\ud7ff",
    "\ue000",
    "～",
    "\u{1F980}",
    "\u{10FFFF}",
    "\u{10FFFF}a",
  ];

  promise("rows come in the order of their bytes, forwards and backwards", async (tables) => {
    for (const key of ordered.toReversed()) await tables.put("t", key, 0);
    assert.deepEqual(keysOf(await tables.range("t", "", { limit: 99 })), ordered);
    assert.deepEqual(keysOf(await tables.range("t", "", { limit: 99, descending: true })), ordered.toReversed());
  });

  promise("a prefix is matched as it stands", async (tables) => {
    const keys = [...ordered, "a%", "a_b", "a%b"];
    for (const key of keys) await tables.put("t", key, 0);
    for (const prefix of ["a", "a/", "a%", "a_", "\ud7ff", "\u{10FFFF}", "\u{10FFFF}a", "none", "\u{1F980}"]) {
      const expected = keys.filter((key) => key.startsWith(prefix)).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      assert.deepEqual(keysOf(await tables.range("t", prefix, { limit: 99 })), expected, prefix);
      assert.deepEqual(keysOf(await tables.range("t", prefix, { limit: 99, descending: true })), expected.toReversed(), prefix);
    }
  });

  promise("pages of any size, both ways, give each row once", async (tables) => {
    const keys = Array.from({ length: 23 }, (_, n) => `p/${String(n).padStart(2, "0")}`);
    for (const key of ["o", "p", ...keys, "q"]) await tables.put("t", key, 0);
    for (const descending of [false, true]) {
      for (const limit of [1, 5, 23, 24]) {
        const seen = await pages(tables, "p/", limit, descending);
        assert.deepEqual(seen, descending ? keys.toReversed() : keys);
      }
    }
  });

  promise("`after` need not be a row, nor lie under the prefix", async (tables) => {
    for (const key of ["a", "b/1", "b/3", "c"]) await tables.put("t", key, 0);
    const range = async (after: string, descending: boolean) => keysOf(await tables.range("t", "b/", { after, limit: 9, descending }));
    assert.deepEqual(await range("b/2", false), ["b/3"]);
    assert.deepEqual(await range("b/2", true), ["b/1"]);
    assert.deepEqual(await range("a", false), ["b/1", "b/3"]);
    assert.deepEqual(await range("a", true), []);
    assert.deepEqual(await range("z", false), []);
    assert.deepEqual(await range("z", true), ["b/3", "b/1"]);
    assert.deepEqual(await range("", false), ["b/1", "b/3"]);
  });

  promise("a page without a limit of at least one is refused", async (tables) => {
    for (const limit of [0, -1, 1.5, Number.NaN]) await assert.rejects(tables.range("t", "", { limit }), isProblem("invalid_request"));
  });
}

async function pages(tables: Tables, prefix: string, limit: number, descending: boolean): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    const after = seen.at(-1);
    const rows = await tables.range("t", prefix, { ...(after === undefined ? {} : { after }), limit, descending });
    seen.push(...keysOf(rows));
    if (rows.length < limit) return seen;
  }
}

function keysOf(rows: Row[]): string[] {
  return rows.map(({ key }) => key);
}
