import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { claims, claimTable } from "#support/claims.ts";

function provenCases(): string[] {
  const sources = globSync("test/attack/**/*.test.ts").map((file) => readFileSync(file, "utf8"));
  // One that needs no server of its own is a test whose title begins with its case, as those of `proves` do.
  const attacks = /proves\(\s*"([^"]+)"|test\(\s*"([A-Z]\d{1,2}[a-z]?): /g;
  return sources.flatMap((source) => [...source.matchAll(attacks)].map((match) => match[1] ?? match[2] ?? ""));
}

test("every claim of the threat model names a case, and every case it names is attacked", () => {
  const proven = new Set(provenCases());
  const stated = claims();
  assert.ok(stated.length > 10, "the table of claims was not found");
  assert.deepEqual(
    stated.filter(({ cases }) => cases.length === 0 || cases.some((id) => !proven.has(id))),
    [],
  );
});

test("every attack supports a claim", () => {
  const stated = new Set(claims().flatMap(({ cases }) => cases));
  assert.deepEqual(
    provenCases().filter((id) => !stated.has(id)),
    [],
  );
});

test("no case is attacked twice under one name", () => {
  const proven = provenCases();
  assert.equal(new Set(proven).size, proven.length);
});

test("what a run has proven is a table of claims and cases; what was skipped says why, what did not run says so", () => {
  const [first, second] = claims().flatMap(({ claim, cases }) => cases.map((id) => ({ claim, id })));
  assert.ok(first && second);
  const table = claimTable(
    new Map([
      [first.id, { title: "is kept", outcome: "passed" }],
      [second.id, { title: "holds", outcome: "skipped", why: "this host has no such thing" }],
    ]),
  ).split("\n");
  assert.match(table[1] ?? "", new RegExp(`^${first.claim} +${first.id} +passed +is kept$`));
  assert.match(table[2] ?? "", new RegExp(`^${second.claim} +${second.id} +skipped +holds \\(this host has no such thing\\)$`));
  assert.match(table.at(-1) ?? "", /did not run$/);
});
