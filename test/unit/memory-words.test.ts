import assert from "node:assert/strict";
import { test } from "node:test";
import { dateWords, spansIn } from "#core/memory/dates.ts";
import { wordsOf } from "#core/memory/words.ts";

const AT = Date.parse("2023-05-10T12:00:00Z"); // A Wednesday.
const asked = (text: string) => spansIn(text, AT).flatMap((span) => dateWords(span, "asked"));

test("what only asks is left out, and a text of nothing else keeps it", () => {
  assert.deepEqual(wordsOf("What did the painter say about it?"), ["painter"]);
  assert.deepEqual(wordsOf("To be or not to be"), ["to", "be", "or", "not", "to", "be"]);
});

test("forms of a word are one word: endings, irregular ones, marks, widths and apostrophes", () => {
  for (const [one, other] of [
    ["hiking", "hikes"],
    ["bought", "buy"],
    ["children", "child"],
    ["Café", "cafe"],
    ["ＡＢＣ１２３", "abc123"],
    ["Caroline’s", "Caroline's"],
    ["Caroline's", "Caroline"],
  ])
    assert.deepEqual(wordsOf(one ?? ""), wordsOf(other ?? ""), `${one} and ${other}`);
});

test("Chinese and Japanese are cut into words, so that a question in them finds what was said", () => {
  for (const [text, query] of [
    ["我昨天买了苹果和沙箱的记忆存储", "苹果"],
    ["我昨天买了苹果和沙箱的记忆存储", "记忆存储在哪里"],
    ["人工智能改变世界", "智能"],
    ["昨日東京でラーメンを食べました", "ラーメンはどこ"],
    ["昨日東京でラーメンを食べました", "東京"],
    ["Alibaba 的函数计算很快", "函数计算"],
  ]) {
    const there = new Set(wordsOf(text ?? ""));
    assert.ok(
      wordsOf(query ?? "").some((word) => there.has(word)),
      `${query} in ${text}: ${[...there].join(" ")}`,
    );
  }
});

test("what a text says of time is understood, relative to its moment", () => {
  for (const [text, words] of Object.entries({
    "on 7 May 2023": ["@2023-05-07"],
    "May 7th, 2023": ["@2023-05-07"],
    "2023-05-07": ["@2023-05-07"],
    "in May 2023": ["@2023-05"],
    "in June": ["@-06"],
    "since 2022": ["@2022"],
    yesterday: ["@2023-05-09"],
    "two days ago": ["@2023-05-08"],
    "last week": ["01", "02", "03", "04", "05", "06", "07"].map((day) => `@2023-05-${day}`),
    "last month": ["@2023-04"],
    "last year": ["@2022"],
    "last Friday": ["@2023-05-05"],
    "next Monday": ["@2023-05-15"],
    "last weekend": ["@2023-05-06", "@2023-05-07"],
    "2023年5月7日": ["@2023-05-07"],
    上周: ["01", "02", "03", "04", "05", "06", "07"].map((day) => `@2023-05-${day}`),
    先月: ["@2023-04"],
    昨天: ["@2023-05-09"],
  }))
    assert.deepEqual(asked(text), words, text);
});

test("what is no date is none: may, march, versions, and days that no month has", () => {
  for (const text of ["You may go", "They march on", "Version 1.2.3", "2023-02-31", "room 2010b", "99 bottles ago"])
    assert.deepEqual(asked(text), [], text);
});

test("a long text is read in bounded time", () => {
  const text = "last week in may 2023 ".repeat(3000);
  const startedAtMs = performance.now();
  wordsOf(text);
  assert.ok(spansIn(text, AT).length <= 16);
  assert.ok(performance.now() - startedAtMs < 2000);
});
