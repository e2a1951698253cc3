import assert from "node:assert/strict";
import { compareKeys } from "#contract/key.ts";
import type { Objects } from "#core/ports.ts";
import { put, textOf } from "#support/object-text.ts";
import { isProblem } from "#support/problem.ts";
import type { Promised } from "./objects.suite.ts";

/** What every Objects keeps about keys and their order. */
export function namePromises(promise: Promised): void {
  const keys = [
    "a",
    "a!",
    "a/b",
    "a/b/c",
    "a0",
    "a~/b",
    "B",
    "with space/+=%&?#",
    "日本/é",
    "日本/e\u0301",
    "～",
    "\u{1F980}/x",
    "..a",
    "...",
    "=a/+b",
    ".hidden/~",
  ];
  const ordered = keys.toSorted(compareKeys);

  promise("any name is its own object, and lists are in the order of their bytes", async (objects) => {
    for (const key of keys) await put(objects, key, key);
    for (const key of keys) assert.equal(await textOf(objects, key), key);
    const listed = await objects.list("", { limit: 99 });
    assert.deepEqual(
      listed.map(({ key }) => key),
      ordered,
    );
    assert.deepEqual(listed[0], await objects.head(ordered[0] ?? ""));
  });

  promise("a prefix is matched as it stands, in pages of any size", async (objects) => {
    for (const key of keys) await put(objects, key, "");
    for (const prefix of ["", "a", "a/", "a/b", "a/b/", "日", "日本/", "none", "a!x", "="]) {
      const expected = ordered.filter((key) => key.startsWith(prefix));
      for (const limit of [1, 3, 99]) assert.deepEqual(await pages(objects, prefix, limit), expected, `${prefix} by ${limit}`);
    }
  });

  promise("`after` need not be an object, nor lie under the prefix", async (objects) => {
    for (const key of ["a", "b/1", "b/3", "c"]) await put(objects, key, "");
    const after = async (key: string) => (await objects.list("b/", { after: key, limit: 9 })).map((info) => info.key);
    assert.deepEqual(await after("b/2"), ["b/3"]);
    assert.deepEqual(await after("a"), ["b/1", "b/3"]);
    assert.deepEqual(await after("b"), ["b/1", "b/3"]);
    assert.deepEqual(await after("z"), []);
  });

  promise("a key that could leave its place or that a store could not give back is refused", async (objects) => {
    const refused = [
      "",
      "/",
      "/a",
      "a/",
      "a//b",
      ".",
      "..",
      "../a",
      "a/../b",
      "a/./b",
      "a/..",
      "a\0b",
      "a\nb",
      "\u0085",
      "\ud800",
      "\\a",
      "x".repeat(251),
      "é/".repeat(400) + "x",
    ];
    for (const key of refused) {
      const label = JSON.stringify(key.slice(0, 20));
      await assert.rejects(put(objects, key, "a"), isProblem("invalid_request"), label);
      await assert.rejects(objects.get(key), isProblem("invalid_request"), label);
      await assert.rejects(objects.head(key), isProblem("invalid_request"), label);
      await assert.rejects(objects.remove(key), isProblem("invalid_request"), label);
      await assert.rejects(objects.move("a", key), isProblem("invalid_request"), label);
      await assert.rejects(objects.move(key, "a"), isProblem("invalid_request"), label);
    }
    assert.deepEqual(await objects.list("", { limit: 9 }), []);
    const longest = `${"x".repeat(250)}/${"é".repeat(125)}/${"y".repeat(250)}/${"z".repeat(250)}/end`;
    await put(objects, longest, "a");
    assert.equal(await textOf(objects, longest), "a");
  });

  promise("a page without a limit of at least one is refused", async (objects) => {
    for (const limit of [0, -1, 1.5]) await assert.rejects(objects.list("", { limit }), isProblem("invalid_request"));
  });
}

async function pages(objects: Objects, prefix: string, limit: number): Promise<string[]> {
  const seen: string[] = [];
  for (;;) {
    const after = seen.at(-1);
    const infos = await objects.list(prefix, { ...(after === undefined ? {} : { after }), limit });
    seen.push(...infos.map(({ key }) => key));
    if (infos.length < limit) return seen;
  }
}
