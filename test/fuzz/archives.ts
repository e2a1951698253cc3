import * as fc from "fast-check";
import { segments } from "./hostile.ts";

const BLOCK = 512;

/** One header of an archive with its content, as it is written and not as it should be. */
interface Record {
  name: Buffer;
  type: string;
  link: Buffer;
  prefix: Buffer;
  magic: string;
  mode: Buffer;
  size: Buffer;
  modified: Buffer;
  content: Buffer;
  /** What is added to the right checksum. */
  checksumOff: number;
  padded: boolean;
}

const text = (value: string) => Buffer.from(value);
const octal = (value: number, digits: number) => text(`${value.toString(8).padStart(digits, "0")}\0`);

/** Fields of numbers: octal, with blanks, in base 256, negative, too large, or nonsense. */
function numbers(right: number, length: number): fc.Arbitrary<Buffer> {
  const base256 = fc
    .tuple(fc.constantFrom(0x80, 0xff, 0x81), fc.uint8Array({ minLength: length - 1, maxLength: length - 1 }))
    .map(([mark, rest]) => Buffer.from([mark, ...rest]));
  const small = Buffer.alloc(length);
  small[0] = 0x80;
  small.writeUInt32BE(right, length - 4);
  return fc.oneof(
    { weight: 20, arbitrary: fc.constant(octal(right, length - 1)) },
    { weight: 1, arbitrary: fc.constant(small) },
    { weight: 1, arbitrary: base256 },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom("", " ", "-1", "7".repeat(length), "9", "1e3", " 12 ", "0x10", "+5", "١")
        .map((value) => Buffer.concat([text(value), Buffer.alloc(length)], length)),
    },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 0o77777 }).map((value) => octal(value, length - 1)) },
  );
}

const places = [
  "own",
  "own/file",
  "own/out",
  "own/out/canary",
  "inner",
  "inner/file",
  "a",
  "a/b",
  "a/b/c",
  "a/b/l",
  "l",
  "l/x",
  "..",
  ".",
  "",
  "a/",
  "own/out/new",
  "l/..",
  "../beside/new",
];
const paths: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...places) },
  {
    weight: 2,
    arbitrary: fc.array(fc.oneof(segments, fc.constantFrom("a", "l", "own", "out")), { maxLength: 5 }).map((parts) => parts.join("/")),
  },
  { weight: 1, arbitrary: fc.constantFrom("/tmp/canary", "/etc/passwd", "d/".repeat(120), "n".repeat(300), "C:\\x", "a\\..\\..\\x") },
);
const links: fc.Arbitrary<string> = fc.oneof(
  paths,
  fc.constantFrom("..", "../..", "../beside", "a/..", "l/..", "a/b/l/../..", "a/b/l/..", "a/b/l", "own/out", "/", ".", "loop", "l"),
);

const kinds = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom("0", "5", "2", "1", "\0") },
  { weight: 1, arbitrary: fc.constantFrom("3", "4", "6", "7", "S", "M", "V", "D", "N", "A", "g", "x", "L", "K") },
);
const contents = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes)),
);

function record(part: { type?: string; content?: fc.Arbitrary<Buffer> } = {}): fc.Arbitrary<Record> {
  const sized = fc.tuple(part.content ?? contents, part.type === undefined ? kinds : fc.constant(part.type));
  return sized.chain(([content, type]) => {
    const full = "12345".includes(type) && part.content === undefined ? Buffer.alloc(0) : content;
    return fc.record({
      name: paths.map(text),
      type: fc.constant(type),
      link: "12".includes(type) ? links.map(text) : fc.constant(text("")),
      prefix: fc.oneof({ weight: 9, arbitrary: fc.constant("") }, { weight: 1, arbitrary: paths }).map(text),
      magic: fc.oneof(
        { weight: 9, arbitrary: fc.constant("ustar\x0000") },
        { weight: 1, arbitrary: fc.constantFrom("ustar  \0", "", "xstar\x0000") },
      ),
      mode: fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(0o644, 0o6755, 0o7777, 0, 0o1777).map((mode) => octal(mode, 7)) },
        { weight: 1, arbitrary: numbers(0o644, 8) },
      ),
      size: numbers(full.length, 12),
      modified: fc.oneof({ weight: 9, arbitrary: fc.constant(octal(0, 11)) }, { weight: 1, arbitrary: numbers(1e9, 12) }),
      content: fc.constant(full),
      checksumOff: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, -1, 256) }),
      padded: fc.oneof({ weight: 30, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    });
  });
}

/** One record of a pax header, with a length that is right or not. */
const paxRecords: fc.Arbitrary<string> = fc
  .tuple(
    fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom("path", "linkpath", "size") },
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          "GNU.sparse.map",
          "GNU.sparse.name",
          "uid",
          "mtime",
          "hdrcharset",
          "SCHILY.xattr.security.capability",
          "__proto__",
          "",
        ),
      },
    ),
    fc.oneof(
      { weight: 4, arbitrary: links },
      {
        weight: 2,
        arbitrary: fc.constantFrom(
          "0",
          "1",
          "512",
          "-1",
          "1e3",
          "9007199254740993",
          "99999999999999999999",
          "0x10",
          " 1",
          "a\0b",
          "\0",
          "own/file\0",
          "\u0661",
        ),
      },
    ),
    fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, -1, -100, 1e6) }),
  )
  .map(([name, value, off]) => {
    const body = ` ${name}=${value}\n`;
    const size = Buffer.byteLength(body);
    const length = size + String(size + String(size).length).length + off;
    return `${length}${body}`;
  });

const extensions: fc.Arbitrary<Record> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom("x", "g"), fc.array(paxRecords, { minLength: 1, maxLength: 3 }))
      .chain(([type, all]) => record({ type, content: fc.constant(text(all.join(""))) })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom("L", "K"), links)
      .chain(([type, name]) => record({ type, content: fc.constantFrom(text(`${name}\0`), text(name)) })),
  },
);

function encode(one: Record): Buffer {
  const header = Buffer.alloc(BLOCK);
  one.name.copy(header, 0, 0, 100);
  one.mode.copy(header, 100, 0, 8);
  text("0001750\0").copy(header, 108);
  text("0001750\0").copy(header, 116);
  one.size.copy(header, 124, 0, 12);
  one.modified.copy(header, 136, 0, 12);
  header.write("        ", 148);
  header.write(one.type, 156, 1, "latin1");
  one.link.copy(header, 157, 0, 100);
  header.write(one.magic, 257, "latin1");
  one.prefix.copy(header, 345, 0, 155);
  const sum = header.reduce((total, byte) => total + byte, one.checksumOff);
  header.write(`${Math.max(0, sum).toString(8).padStart(6, "0")}\0 `, 148);
  const padding = one.padded ? -one.content.length & (BLOCK - 1) : 0;
  return Buffer.concat([header, one.content, Buffer.alloc(padding)]);
}

/** Archives in which all is in order but where their links lead, alone or through each other. */
const linked: fc.Arbitrary<Record[]> = fc.array(
  fc
    .tuple(
      fc.constantFrom("l", "x", "a/l", "a/b/l", "a/b/x", "inner"),
      fc.array(fc.constantFrom("..", "a", "b", "l", "x", "."), { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/")),
    )
    .map(([name, link]) => ({
      name: text(name),
      type: "2",
      link: text(link),
      prefix: text(""),
      magic: "ustar\x0000",
      mode: octal(0o644, 7),
      size: octal(0, 11),
      modified: octal(0, 11),
      content: text(""),
      checksumOff: 0,
      padded: true,
    })),
  { minLength: 1, maxLength: 5 },
);

/** An archive: its bytes, and what it is shown as. */
export interface Archive {
  bytes: Buffer;
  [fc.toStringMethod]: () => string;
}

function shown({ name, type, link, prefix, mode, size, modified, content, checksumOff, padded, magic }: Record): string {
  const fields = { type, name, link, prefix, mode, size, modified, content };
  const said = Object.entries(fields).map(([field, value]) => `${field} ${JSON.stringify(value.toString("latin1"))}`);
  return `{ ${said.join(", ")}, magic ${JSON.stringify(magic)}, sum ${checksumOff}, ${padded ? "padded" : "not padded"} }`;
}

/** Archives as attackers write them, made of whole records: some are right, most are nearly so. */
export const archives: fc.Arbitrary<Archive> = fc
  .tuple(
    fc.oneof(
      {
        weight: 2,
        arbitrary: fc.array(fc.oneof({ weight: 5, arbitrary: record() }, { weight: 2, arbitrary: extensions }), { maxLength: 7 }),
      },
      { weight: 1, arbitrary: linked },
    ),
    fc.oneof({ weight: 12, arbitrary: fc.constantFrom(2, 1) }, { weight: 1, arbitrary: fc.constant(0) }),
    fc.oneof({ weight: 20, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.nat() }),
  )
  .map(([all, zeroes, cutAt]) => {
    const whole = Buffer.concat([...all.map(encode), Buffer.alloc(zeroes * BLOCK)]);
    const bytes = cutAt === undefined ? whole : whole.subarray(0, cutAt % (whole.length + 1));
    const end = `${zeroes} blocks of zeroes${bytes.length < whole.length ? `, cut at ${bytes.length}` : ""}`;
    return { bytes, [fc.toStringMethod]: () => `[\n${all.map((one) => `  ${shown(one)},\n`).join("")}  ${end} ]` };
  });
