import { LIMITS } from "./limits.ts";
import { Problem } from "./problem.ts";

/** The key of a row, or Problem `invalid_request`: what every table store takes, and what reads back as it was written. */
export function tableKey(key: string): string {
  if (key === "") throw badKey(key, "A row's key is not empty.");
  return checked(key, LIMITS.tableKeyBytes);
}

/**
 * The key of an object, or Problem `invalid_request`. Its segments are what a file name may be, because one store is a
 * folder; it has no control characters, because another lists keys as XML.
 */
export function objectKey(key: string): string {
  for (const segment of checked(key, LIMITS.objectKeyBytes).split("/")) {
    if (segment === "" || segment === "." || segment === "..") throw badKey(key, "An object's key has no empty segment, `.` or `..`.");
    if (Buffer.byteLength(segment) > LIMITS.objectSegmentBytes) throw badKey(key, "One segment of the object's key is too long.");
  }
  if (/[\p{Cc}\uFFFE\uFFFF]|^\\/u.test(key)) throw badKey(key, "An object's key has no control characters.");
  return key;
}

/** The order of keys everywhere: by their UTF-8 bytes, which JavaScript's own comparison is not. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** The smallest key above every key that starts with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  let last = points.pop();
  while (last === LAST_CODE_POINT) last = points.pop();
  if (last === undefined) return undefined;
  // The code points of surrogates are no text, so the one after U+D7FF is U+E000.
  points.push(last === 0xd7ff ? 0xe000 : last + 1);
  return String.fromCodePoint(...points);
}

const LAST_CODE_POINT = 0x10ffff;

function checked(key: string, maxBytes: number): string {
  if (Buffer.byteLength(key) > maxBytes) throw badKey(key, `A key has at most ${maxBytes} bytes.`);
  if (!key.isWellFormed() || key.includes("\0")) throw badKey(key, "A key is Unicode text without NUL.");
  return key;
}

function badKey(key: string, detail: string): Problem {
  return new Problem("invalid_request", { detail, key: key.slice(0, 200) });
}
