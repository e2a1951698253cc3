import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMITS } from "#contract/limits.ts";
import { RfbError, rfbFilter } from "#core/rfb.ts";
import { binaryFrame, FrameError, frameReader } from "#gateway/frames.ts";
import { frame } from "#support/frames.ts";

const HELLO = Buffer.concat([Buffer.from("RFB 003.008\n"), Buffer.from([1, 1])]);
const KEY = Buffer.from([4, 1, 0, 0, 0, 0, 0, 0x61]);
const KEY_UP = Buffer.from([4, 0, 0, 0, 0, 0, 0, 0x61]);
const CLICK = Buffer.from([5, 1, 0, 7, 0, 9]);
const MOVE = Buffer.from([5, 0, 0, 7, 0, 9]);
const RELEASE = MOVE;
const ENCODINGS = Buffer.from([2, 0, 0, 1, 0, 0, 0, 0]);
const ASK = Buffer.from([3, 0, 0, 0, 0, 0, 5, 0, 3, 32]);
const CUT = Buffer.concat([Buffer.from([6, 0, 0, 0, 0, 0, 0, 3]), Buffer.from("abc")]);
const QEMU_KEY = Buffer.from([255, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 30]);
const FENCE = Buffer.from([248, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9]);
const ALL = [HELLO, KEY, ENCODINGS, KEY_UP, CLICK, MOVE, ASK, CUT, QEMU_KEY, FENCE];
const LOOKS = [HELLO, ENCODINGS, ASK, FENCE];

async function through(permit: (begins: boolean) => Promise<boolean>, pieces: Buffer[]): Promise<Buffer> {
  const filter = rfbFilter(permit);
  const out: Buffer[] = [];
  for (const piece of pieces) out.push(...(await filter(piece)));
  return Buffer.concat(out);
}

test("who may only look says nothing else, however the bytes are cut", async () => {
  const said = Buffer.concat(ALL);
  for (let size = 1; size <= said.length; size += 1) {
    const pieces = Array.from({ length: Math.ceil(said.length / size) }, (_value, at) => said.subarray(at * size, (at + 1) * size));
    assert.deepEqual(await through(async () => false, pieces), Buffer.concat(LOOKS), `pieces of ${size}`);
    assert.deepEqual(await through(async () => true, pieces), said, `pieces of ${size}`);
  }
});

test("an old client, who is not asked how it authenticates, is read as well", async () => {
  const old = Buffer.concat([Buffer.from("RFB 003.003\n"), Buffer.from([1]), KEY, ASK]);
  assert.deepEqual(await through(async () => false, [old]), Buffer.concat([old.subarray(0, 13), ASK]));
});

test("who loses control lets go of what they held down", async () => {
  let may = true;
  const filter = rfbFilter(async () => may);
  await filter(Buffer.concat([HELLO, KEY, CLICK]));
  may = false;
  assert.deepEqual(Buffer.concat(await filter(MOVE)), Buffer.concat([KEY_UP, RELEASE]));
  assert.deepEqual(await filter(Buffer.concat([KEY, MOVE])), [], "once");
});

test("a movement, a release and a text take no control; a key and a button do", async () => {
  const begun: boolean[] = [];
  await through(async (begins) => begun.push(begins) > 0, [Buffer.concat([HELLO, MOVE, KEY_UP, CUT, CLICK, KEY, QEMU_KEY])]);
  assert.deepEqual(begun, [false, false, false, true, true, true]);
});

test("what is no RFB, or too much of it, ends the view", async () => {
  const long = Buffer.from([6, 0, 0, 0, 0, 0, 0, 0]);
  long.writeInt32BE(LIMITS.clipboardBytes + 1, 4);
  const extended = Buffer.from(long);
  extended.writeInt32BE(-LIMITS.clipboardBytes - 1, 4);
  const nonsense = [
    Buffer.from([1]),
    Buffer.from([7, 0]),
    Buffer.from([250, 0, 1, 1]),
    Buffer.from([251, 0]),
    Buffer.from([255, 1, 0, 0]),
    long,
    extended,
  ];
  for (const message of nonsense)
    await assert.rejects(
      through(async () => true, [HELLO, message]),
      RfbError,
      message.toString("hex"),
    );
  await assert.rejects(
    through(async () => true, [Buffer.from("GET / HTTP/1.1\r\n")]),
    RfbError,
  );
});

test("frames are read as a stream of bytes, however they are cut, with what is control as it was", () => {
  const sent = [
    frame(2, "abc"),
    frame(9, "ping"),
    frame(2, Buffer.alloc(70_000, 7), { fin: false }),
    frame(0, Buffer.alloc(300, 8)),
    frame(8, ""),
  ];
  const wanted = Buffer.concat([Buffer.from("abc"), Buffer.alloc(70_000, 7), Buffer.alloc(300, 8)]);
  for (const size of [1, 2, 3, 7, 1000, 100_000]) {
    const read = frameReader();
    const bytes = Buffer.concat(sent);
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_value, at) =>
      read(bytes.subarray(at * size, (at + 1) * size)),
    ).flat();
    assert.deepEqual(Buffer.concat(pieces.flatMap((piece) => ("data" in piece ? [piece.data] : []))), wanted);
    assert.deepEqual(
      pieces.flatMap((piece) => ("control" in piece ? [piece.control] : [])),
      [frame(9, "ping"), frame(8, "")],
    );
  }
  for (const size of [0, 1, 125, 126, 65_535, 65_536]) {
    const [first] = frameReader()(binaryFrame([Buffer.alloc(size, 5)]));
    assert.equal(first && "data" in first ? first.data.length : 0, size);
  }
});

test("frames that no client may send end the connection", () => {
  const wrong = [
    frame(2, "a", { masked: false }),
    frame(1, "text"),
    frame(3, "a"),
    frame(9, Buffer.alloc(126)),
    frame(9, "a", { fin: false }),
    Buffer.from([0xc2, 0x81, 0, 0, 0, 0, 0]),
  ];
  for (const bytes of wrong) assert.throws(() => frameReader()(bytes), FrameError, bytes.toString("hex"));
});
