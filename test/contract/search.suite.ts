import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Search, SearchDoc } from "#core/ports.ts";
import type { Place } from "#support/place.ts";
import { isProblem } from "#support/problem.ts";

export type SearchPlace = Place<() => Search & AsyncDisposable>;

const NOW = 1_700_000_000_000;
const ALL = { filter: {}, limit: 10, nowMs: NOW };

export function doc(id: string, text: string, more: Partial<SearchDoc> = {}): SearchDoc {
  return { id, atMs: NOW, facets: {}, words: text.split(" ").filter((word) => word !== ""), value: { text }, ...more };
}

export const words = (text: string) => text.split(" ").map((word) => ({ word, weight: 1 }));

async function found(search: Search, text: string, more: object = {}): Promise<string[]> {
  return (await search.query("s", { words: words(text), ...ALL, ...more })).map(({ id }) => id);
}

/** What every Search keeps, whatever it stands on. */
export function searchSuite(name: string, make: () => Promise<SearchPlace>): void {
  const promise = (title: string, proof: (search: Search, place: SearchPlace) => Promise<void>): void => {
    test(title, { timeout: 30_000 }, async () => {
      await using place = await make();
      await using search = place.open();
      await proof(search, place);
    });
  };
  describe(`${name}: kept`, () => keptPromises(promise));

  describe(`${name}: found`, () => {
    promise("what has more and rarer words comes first, and what has none does not come", async (search) => {
      await search.index("s", [doc("a", "red apple"), doc("b", "red pear"), doc("c", "red apple pie crust"), doc("d", "blue sky")]);
      assert.deepEqual(await found(search, "red pear"), ["b", "a", "c"]);
      assert.deepEqual(await found(search, "nothing"), []);
    });
    promise("what was said beside it finds it too, behind what says it", async (search) => {
      await search.index("s", [
        doc("a", "yes", { before: ["holiday"] }),
        doc("b", "holiday"),
        doc("c", "no", { after: ["holiday"] }),
        doc("d", "else"),
      ]);
      const hits = await search.query("s", { words: words("holiday"), ...ALL });
      assert.equal(hits[0]?.id, "b");
      assert.deepEqual(new Set(hits.map(({ id }) => id)), new Set(["a", "b", "c"]));
      assert.deepEqual(hits.map(({ id, why }) => [id, why[0]?.field]).toSorted(), [
        ["a", "before"],
        ["b", "text"],
        ["c", "after"],
      ]);
    });
    promise("each hit says by which words, and what they add is its score", async (search) => {
      await search.index("s", [doc("a", "red apple apple", { before: ["red"] }), doc("b", "green")]);
      const [hit] = await search.query("s", { words: words("red apple sky"), ...ALL });
      assert.deepEqual(new Set(hit?.why.map(({ word }) => word)), new Set(["red", "apple"]));
      assert.ok(Math.abs((hit?.score ?? 0) - (hit?.why ?? []).reduce((sum, { score }) => sum + score, 0)) < 1e-3);
    });
    promise("filters: facets, any value of one, all of several, and times from inclusive to exclusive", async (search) => {
      await search.index("s", [
        doc("a", "tea", { facets: { user: "ann", kind: "fact" }, atMs: NOW - 2000 }),
        doc("b", "tea", { facets: { user: "bob", kind: "fact" }, atMs: NOW - 1000 }),
        doc("c", "tea", { facets: { user: "ann", kind: "note" } }),
      ]);
      const by = async (filter: object) => (await found(search, "tea", { filter })).toSorted();
      assert.deepEqual(await by({ facets: { user: ["ann"] } }), ["a", "c"]);
      assert.deepEqual(await by({ facets: { user: ["ann", "bob"], kind: ["fact"] } }), ["a", "b"]);
      assert.deepEqual(await by({ facets: { user: ["eve"] } }), []);
      assert.deepEqual(await by({ fromMs: NOW - 1000, toMs: NOW }), ["b"]);
      assert.deepEqual(await by({ facets: { user: ["ann"] }, fromMs: NOW - 1000 }), ["c"]);
      assert.deepEqual(await by({ without: { kind: ["note"] } }), ["a", "b"]);
      assert.deepEqual(await by({ facets: { user: ["ann"] }, without: { kind: ["fact", "other"] } }), ["c"]);
    });
    promise("a word that is like a facet's or an operator is a word", async (search) => {
      await search.index("s", [
        doc("a", 'NEAR( user=ann OR "x* -y', { facets: { user: "ann" } }),
        doc("b", "tea", { facets: { user: "ann" } }),
      ]);
      assert.deepEqual(await found(search, "OR"), ["a"]);
      assert.deepEqual(await found(search, "user=ann"), ["a"]);
      assert.deepEqual(await found(search, "\u0001user\u0001ann"), []);
    });
    promise("what has expired is not found, nor listed at that time", async (search) => {
      await search.index("s", [doc("a", "tea", { expiresAtMs: NOW }), doc("b", "tea", { expiresAtMs: NOW + 1 }), doc("c", "tea")]);
      assert.deepEqual((await found(search, "tea")).toSorted(), ["b", "c"]);
      assert.deepEqual(
        (await search.list("s", { filter: {}, limit: 9, nowMs: NOW })).map(({ id }) => id),
        ["b", "c"],
      );
      assert.deepEqual(await search.expired("s", NOW + 1, 9), ["a", "b"]);
    });
    promise("the nearest vector comes first; what has another length is not compared", async (search) => {
      await search.index("s", [
        doc("a", "x", { vector: [1, 0] }),
        doc("b", "y", { vector: [0.6, 0.8] }),
        doc("c", "z", { vector: [1, 0, 0] }),
        doc("d", "w"),
      ]);
      const hits = await search.nearest("s", { vector: [0, 1], ...ALL });
      assert.deepEqual(
        hits.map(({ id }) => id),
        ["b", "a"],
      );
    });
    promise("spaces are apart", async (search) => {
      await search.index("other", [doc("a", "tea")]);
      assert.deepEqual(await found(search, "tea"), []);
      assert.deepEqual(await search.get("s", ["a"]), []);
      assert.deepEqual(await search.list("s", { filter: {}, limit: 9 }), []);
    });
  });
}

async function listed(search: Search, more: object): Promise<string[]> {
  return (await search.list("s", { filter: {}, limit: 9, ...more })).map(({ id }) => id);
}

function keptPromises(promise: (title: string, proof: (search: Search, place: SearchPlace) => Promise<void>) => void): void {
  promise("a document reads back as it was written, with its version", async (search) => {
    const one = doc("a", "red apple", {
      before: ["x"],
      after: [],
      facets: { user: "ann" },
      expiresAtMs: NOW,
      vector: [1, 0],
      value: { deep: [1, null, "é"] },
    });
    await search.index("s", [one]);
    assert.deepEqual(await search.get("s", ["b", "a"]), [{ ...one, version: 1 }]);
    await search.index("s", [{ ...one, words: ["pear"] }]);
    assert.equal((await search.get("s", ["a"]))[0]?.version, 2);
    assert.deepEqual(await search.query("s", { words: words("apple"), ...ALL }), []);
  });
  promise("a batch with a condition that does not hold writes nothing", async (search) => {
    await search.index("s", [{ ...doc("a", "one"), ifVersion: "absent" }]);
    await assert.rejects(search.index("s", [doc("b", "two"), { ...doc("a", "three"), ifVersion: "absent" }]), isProblem("conflict"));
    await assert.rejects(search.index("s", [{ ...doc("a", "three"), ifVersion: 2 }]), isProblem("conflict"));
    await search.index("s", [{ ...doc("a", "four"), ifVersion: 1 }]);
    assert.deepEqual(await listed(search, {}), ["a"]);
  });
  promise("of two that name the same version one wins", async (search) => {
    await search.index("s", [doc("a", "one")]);
    const writes = ["two", "three"].map((text) => search.index("s", [{ ...doc("a", text), ifVersion: 1 }]));
    const ends = await Promise.allSettled(writes);
    assert.deepEqual(ends.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  });
  promise("pages follow each other in the order of ids, both ways and filtered", async (search) => {
    await search.index(
      "s",
      ["c", "a", "e", "b", "d"].map((id) => doc(id, "x", { facets: { odd: String("ace".includes(id)) } })),
    );
    assert.deepEqual(await listed(search, { limit: 2 }), ["a", "b"]);
    assert.deepEqual(await listed(search, { limit: 2, after: "b" }), ["c", "d"]);
    assert.deepEqual(await listed(search, { limit: 2, descending: true, after: "d" }), ["c", "b"]);
    assert.deepEqual(await listed(search, { filter: { facets: { odd: ["true"] } }, after: "a" }), ["c", "e"]);
    assert.deepEqual(await listed(search, { filter: { facets: { odd: ["true"] } }, descending: true, limit: 1 }), ["e"]);
    await search.index("s", [doc("b-1", "x"), doc("b-2", "x")]);
    assert.deepEqual(await listed(search, { prefix: "b-" }), ["b-1", "b-2"]);
    assert.deepEqual(await listed(search, { prefix: "b-", descending: true }), ["b-2", "b-1"]);
    assert.deepEqual(await listed(search, { prefix: "b-", after: "b-1" }), ["b-2"]);
  });
  promise("what was forgotten is gone, and forgetting twice is one forgetting", async (search) => {
    await search.index("s", [doc("a", "tea"), doc("b", "tea"), doc("c", "tea")]);
    assert.deepEqual(await search.forget("s", ["a", "zzz"]), ["a"]);
    assert.deepEqual(await search.forget("s", ["a"]), []);
    assert.deepEqual(await search.get("s", ["a"]), []);
    assert.equal((await search.query("s", { words: words("tea"), ...ALL })).length, 2);
    assert.equal((await search.size("s")).docs, 2);
    await search.index("s", [doc("d", "coffee")]);
    assert.deepEqual((await search.query("s", { words: words("coffee tea"), ...ALL })).map(({ id }) => id)[0], "d");
  });
  promise("the values of a facet are counted, and forgotten with what had them", async (search) => {
    await search.index(
      "s",
      ["bob", "ann", "ann"].map((user, n) => doc(String(n), "x", { facets: { user, other: user } })),
    );
    const values = (page: object) => search.values("s", "user", { limit: 9, ...page });
    assert.deepEqual(await values({}), [
      { value: "ann", docs: 2 },
      { value: "bob", docs: 1 },
    ]);
    assert.deepEqual(await values({ after: "ann" }), [{ value: "bob", docs: 1 }]);
    await search.forget("s", ["0"]);
    assert.deepEqual(await values({}), [{ value: "ann", docs: 2 }]);
  });
  promise("a dropped space is empty, and dropping twice is one dropping", async (search) => {
    await search.index("s", [doc("a", "tea")]);
    await search.drop("s");
    await search.drop("s");
    assert.deepEqual(await listed(search, {}), []);
    assert.deepEqual(await search.size("s"), { docs: 0, bytes: 0 });
  });
}
