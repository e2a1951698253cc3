import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { SearchDoc } from "#core/ports.ts";
import { createSearch } from "#infra/local/stores/search.ts";
import { memorySearch } from "#support/memory-search.ts";
import { folderPlace, memoryPlace } from "#support/place.ts";
import { doc, searchSuite, words } from "./search.suite.ts";

searchSuite("search in SQLite files", () => folderPlace((path) => () => createSearch(path)));

searchSuite("search in memory", async () => {
  const search = memorySearch();
  return memoryPlace(() => search);
});

const NOW = 1_700_000_000_000;

test("thousands of documents are found like few, and filters that let few through find those", { timeout: 60_000 }, async () => {
  await using place = await folderPlace((path) => () => createSearch(path));
  await using search = place.open();
  const docs = Array.from({ length: 6000 }, (_, n): SearchDoc =>
    doc(`d${String(n).padStart(5, "0")}`, `common w${n % 500} x${n}`, { facets: { user: `u${n % 3000}` } }),
  );
  for (let at = 0; at < docs.length; at += 1000) await search.index("s", docs.slice(at, at + 1000));
  const ask = { limit: 20, nowMs: NOW };
  const hits = await search.query("s", { words: words("common w7 x4007"), filter: {}, ...ask });
  assert.equal(hits[0]?.id, "d04007");
  assert.deepEqual(new Set(hits.slice(1, 12).map(({ id }) => Number(id.slice(1)) % 500)), new Set([7]));
  const own = await search.query("s", { words: words("common"), filter: { facets: { user: ["u5"] } }, ...ask });
  assert.deepEqual(own.map(({ id }) => id).toSorted(), ["d00005", "d03005"]);
  const pages: string[] = [];
  for (let after: string | undefined; ;) {
    const page = await search.list("s", { filter: {}, limit: 700, ...(after === undefined ? {} : { after }) });
    pages.push(...page.map(({ id }) => id));
    if (page.length < 700) break;
    after = page.at(-1)?.id;
  }
  assert.deepEqual(
    pages,
    docs.map(({ id }) => id),
  );
});

test("no byte of what was forgotten is left in the store's files: not its text, its words or its facets", { timeout: 60_000 }, async () => {
  await using place = await folderPlace((path) => () => createSearch(path));
  await using search = place.open();
  const filler = Array.from({ length: 300 }, (_, n) => doc(`f${n}`, `filler number${n} secretless`));
  await search.index("s", filler);
  await search.index("s", [
    doc("x", `${"zanzibar ".repeat(3000)}quokka`, { facets: { user: "xerxes" }, value: { text: "zanzibar quokka" } }),
  ]);
  const kept = () =>
    globSync(join(place.path ?? "", "*"))
      .map((file) => readFileSync(file, "latin1"))
      .join("");
  for (const trace of ["zanzibar", "quokka", "xerxes"]) assert.ok(kept().includes(trace), `${trace} was there before`);
  await search.forget("s", ["x"]);
  for (const trace of ["zanzibar", "quokka", "xerxes"]) assert.ok(!kept().includes(trace), `${trace} is still there`);
  assert.equal((await search.query("s", { words: words("filler"), filter: {}, limit: 1, nowMs: NOW })).length, 1);
});

test("while the thread searches, the process goes on", { timeout: 60_000 }, async () => {
  await using place = await folderPlace((path) => () => createSearch(path));
  await using search = place.open();
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 1).unref();
  for (let at = 0; at < 5; at += 1)
    await search.index(
      "s",
      Array.from({ length: 400 }, (_, n) =>
        doc(`${at}-${n}`, `word${n} ${Array.from({ length: 40 }, (_unused, w) => `v${(n * w) % 900}`).join(" ")}`),
      ),
    );
  clearInterval(timer);
  assert.ok(turns > 20, `${turns} turns`);
});
