import assert from "node:assert/strict";
import test from "node:test";
import { harmless, TerminalFilter } from "#cli/filter.ts";

const ESC = "\u001B";

/** Hostile output, and what is left of it. */
const CASES: [string, string, string][] = [
  ["text and colours stay", `a\t${ESC}[1;31mred${ESC}[0m 38;5: ${ESC}[38;5;9mx\n`, `a\t${ESC}[1;31mred${ESC}[0m 38;5: ${ESC}[38;5;9mx\n`],
  ["cursor moves and clears go", `a${ESC}[2J${ESC}[1;1Hb${ESC}[?1049hc`, "abc"],
  ["titles and clipboard writes go", `a${ESC}]0;title\u0007b${ESC}]52;c;aGk=${ESC}\\c`, "abc"],
  ["questions to the terminal go", `a${ESC}[6n${ESC}[cb${ESC}P+q544e${ESC}\\c${ESC}Zd`, "abcd"],
  ["eight-bit forms go", "a\u009B2Jb\u009D0;t\u009Cc\u0085d", "abcd"],
  ["private colour queries go", `a${ESC}[>4;1mb`, "ab"],
  ["charset switches go whole", `a${ESC}(0b`, "ab"],
  ["bells, backspaces and deletes go", "a\u0007\b\u007Fb\u0000", "ab"],
  ["a lone carriage return becomes a line end", "good\rbad\r\nend\r", "good\nbad\nend"],
  ["marks that turn text around go", "a\u202Eb\u2066c", "abc"],
  ["an escape inside a sequence starts anew", `a${ESC}[2${ESC}[31mb`, `a${ESC}[31mb`],
  ["other scripts and emoji stay", "é 汉 🧪", "é 汉 🧪"],
];

for (const [title, given, left] of CASES) {
  test(`${title}, however the output is cut`, () => {
    for (let cut = 0; cut <= given.length; cut += 1) {
      if (/[\uDC00-\uDFFF]/.test(given.charAt(cut))) continue;
      const filter = new TerminalFilter(true);
      assert.equal(filter.pass(given.slice(0, cut)) + filter.pass(given.slice(cut)), left, `cut at ${cut}`);
    }
  });
}

test("what was coloured is uncoloured at the end, and nothing is said otherwise", () => {
  const filter = new TerminalFilter(true);
  assert.equal(filter.end(), "");
  filter.pass(`${ESC}[41m`);
  assert.equal(filter.end(), `${ESC}[0m`);
});

test("a name is one line without any sequence", () => {
  assert.equal(harmless(`sum${ESC}[31mmary\n${ESC}]0;x\u0007.md`), "summary .md");
});
