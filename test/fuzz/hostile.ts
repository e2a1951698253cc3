import * as fc from "fast-check";

/** Text of every kind: ASCII, all of Unicode, control characters, halves of characters, and what parsers trip over. */
export function texts(maxLength = 40): fc.Arbitrary<string> {
  return fc.oneof(
    fc.string({ maxLength }),
    fc.string({ unit: "binary", maxLength }),
    fc.array(fc.oneof(fc.constantFrom(...TROUBLE), fc.string({ maxLength: 3 })), { maxLength: 8 }).map((parts) => parts.join("")),
    fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 8 }).map((units) => String.fromCharCode(...units)),
  );
}

/** The same, of whole characters only: what has come through a UTF-8 decoder. */
export function wholeTexts(maxLength = 40): fc.Arbitrary<string> {
  return texts(maxLength).map((text) => text.toWellFormed());
}

const TROUBLE = [
  "\0", "\n", "\r", "\r\n", "\u2028", "\u2029", "\u0085", "\uFEFF", "\u200b", "\ud800", "\udfff", "\u007f", "\t", " ", "é", "𝒳", "ﬀ", "İ",
  "..", ".", "/", "//", "\\", "%", "%2e", "%2F", "%00", "%c0%ae", ":", ";", "=", "&", "?", "#", "+", "*", "~", "'", '"', "<", "|", "$(x)",
  "__proto__", "constructor", "toString", "-", "--", "_", "0x1", "1e9", "-0", "NaN", "null",
]; // oxfmt-ignore

/** Segments of paths as attackers write them. */
export const segments: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ".",
      "..",
      "%2e",
      "%2e%2e",
      ".%2E",
      "%252e%252e",
      "..;",
      "...",
      "",
      "a",
      "b",
      "a b",
      "~",
      "=a",
      "+a",
      "proc",
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      "..%2f..",
      "%2f",
      "..\\",
      "%5c..%5c",
      "\\..\\",
      "..%00",
      "%c0%ae%c0%ae",
      "．．",
      ".\t.",
      ".\n.",
      "a#b",
      "a?b",
      "%",
      "%zz",
    ),
  },
  { weight: 1, arbitrary: texts(8) },
);

/** Bytes cut anywhere, empty pieces among them. */
export function pieces(bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer[]> {
  return fc.tuple(bytes, fc.array(fc.nat(), { maxLength: 12 })).map(([whole, cuts]) => {
    const at = [0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length].toSorted((a, b) => a - b);
    return at.slice(1).map((end, index) => whole.subarray(at[index], end));
  });
}

/** One text as it was, and one that differs from it somewhere: a character changed, put in, left out or moved. */
export function altered(text: string, alphabet = ALPHABET): fc.Arbitrary<string> {
  const place = fc.nat(Math.max(0, text.length - 1));
  const one = fc.oneof(fc.constantFrom(...alphabet), fc.string({ minLength: 1, maxLength: 3 }));
  return fc
    .oneof(
      fc.tuple(place, one).map(([at, char]) => text.slice(0, at) + char + text.slice(at + 1)),
      fc.tuple(fc.nat(text.length), one).map(([at, char]) => text.slice(0, at) + char + text.slice(at)),
      place.map((at) => text.slice(0, at) + text.slice(at + 1)),
      fc.tuple(place, place).map(([from, to]) => text.slice(Math.min(from, to), Math.max(from, to))),
      one.map((char) => text + char),
      one.map((char) => char + text),
    )
    .filter((other) => other !== text);
}

const ALPHABET = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ %~,;:");

/** A text of the wire without its blanks and control characters, as it may stand in a request's target. */
export function onWire(text: string): string {
  return printable(Buffer.from(text).toString("latin1")).replaceAll(" ", "");
}

/** A text without its control characters, as it may stand in a header. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (char) => (char > "\x7f" ? char : ""));
}
