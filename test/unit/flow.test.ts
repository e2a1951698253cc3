import assert from "node:assert/strict";
import { once } from "node:events";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { openFlow, paced } from "#gateway/flow.ts";

const EVENTS = "text/event-stream; charset=utf-8";

test("half a second's worth flows at once, and then what a second brings; who streams twice has the same share", () => {
  let nowMs = 0;
  const flow = openFlow(1000, () => nowMs);
  assert.equal(flow.take(300), 0);
  assert.equal(flow.take(200), 0);
  assert.equal(flow.take(100), 100);
  // What is owed is owed by all streams together.
  assert.equal(flow.take(100), 200);
  nowMs += 300;
  assert.equal(flow.take(50), 0);
  assert.equal(flow.isRested(), false);
  nowMs += 10_000;
  assert.equal(flow.isRested(), true);
  assert.equal(flow.take(501), 10, "a wait is never so short that it is only a waking");
});

test("a clock that goes back brings nothing and takes nothing", () => {
  let nowMs = 1000;
  const flow = openFlow(1000, () => nowMs);
  flow.take(500);
  nowMs = 0;
  assert.equal(flow.take(100), 100);
});

for (const [name, bodyOf] of [
  ["a stream of the server's", (pieces: Buffer[]) => Readable.from(pieces)],
  ["a web stream", (pieces: Buffer[]) => Readable.toWeb(Readable.from(pieces))],
] as const) {
  test(`${name} comes whole and in order, no faster than it may`, async () => {
    const pieces = Array.from({ length: 40 }, (_value, at) => Buffer.alloc(1000, at));
    const body = bodyOf(pieces);
    const flow = openFlow(100_000, () => performance.now());
    flow.take(50_000);
    const startedAtMs = performance.now();
    const held = paced(body as Readable, EVENTS, flow);
    assert.deepEqual(await buffer(held), Buffer.concat(pieces));
    assert.ok(performance.now() - startedAtMs > 300, "40 kB at 100 kB a second");
  });
}

test("what breaks breaks through, and who leaves ends the source", async () => {
  const flow = openFlow(1_000_000, () => performance.now());
  const broken = new Readable({ read() {} });
  const held = paced(broken, EVENTS, flow);
  broken.push("begun");
  broken.destroy(new Error("the sandbox is gone"));
  await assert.rejects(buffer(held), /the sandbox is gone/);
  const endless = new Readable({ read: () => void endless.push(Buffer.alloc(1000)) });
  const left = paced(endless, EVENTS, flow);
  await once(left, "readable");
  left.destroy();
  await once(endless, "close");
  assert.ok(endless.destroyed);
});

test("files, and what is at hand whole, pass as they are", () => {
  const flow = openFlow(1, () => 0);
  const file = Readable.from([Buffer.from("x")]);
  assert.equal(paced(file, "application/octet-stream", flow), file);
  assert.equal(paced(file, null, flow), file);
  const whole = Buffer.from("{}");
  assert.equal(paced(whole, "application/json", flow), whole);
  assert.equal(paced(null, EVENTS, flow), null);
});
