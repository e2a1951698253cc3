import assert from "node:assert/strict";
import test from "node:test";
import { readEvents, type ServerEvent } from "#contract/sse.ts";
import { keptText } from "#client/text.ts";
import { isProblem } from "#support/problem.ts";

async function eventsIn(chunks: Uint8Array[]): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  async function* body() {
    yield* chunks;
  }
  for await (const event of readEvents(body())) events.push(event);
  return events;
}

const STREAM = Buffer.from(
  '\uFEFF: hello\nevent: stdout\ndata: {"text":"héllo 🧪"}\n\ndata: a\r\ndata:b\r\n\r\ndata: x\rid: 7\r\revent: none\n\ndata\n\ndata: unfinished',
);
const EXPECTED = [
  { event: "stdout", data: '{"text":"héllo 🧪"}' },
  { event: "message", data: "a\nb" },
  { event: "message", data: "x" },
  { event: "message", data: "" },
];

test("a stream reads the same however its bytes are cut in two", async () => {
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    assert.deepEqual(await eventsIn([STREAM.subarray(0, cut), STREAM.subarray(cut)]), EXPECTED, `cut at ${cut}`);
  }
});

test("a stream reads the same byte by byte", async () => {
  assert.deepEqual(await eventsIn([...STREAM].map((byte) => Uint8Array.of(byte))), EXPECTED);
});

test("leaving the loop ends the producer", async () => {
  let ended = false;
  async function* body() {
    try {
      for (;;) yield Buffer.from("data: 1\n\n");
    } finally {
      ended = true;
    }
  }
  for await (const event of readEvents(body())) {
    assert.equal(event.data, "1");
    break;
  }
  assert.equal(ended, true);
});

test("an event without an end is refused before it fills the memory", async () => {
  await assert.rejects(readEvents(endless()).next(), isProblem("body_too_large"));
  await assert.rejects(readEvents(endlessLines()).next(), isProblem("body_too_large"));
});

async function* endlessLines() {
  const chunk = Buffer.from("data\n".repeat(10_000));
  for (;;) yield chunk;
}

async function* endless() {
  const chunk = Buffer.alloc(1024 * 1024, "x");
  yield Buffer.from("data: ");
  for (;;) yield chunk;
}

test("kept text is cut at its bound, between characters, and the rest is counted", () => {
  const kept = keptText(5);
  kept.add("ab");
  kept.add("ééé");
  kept.add("later");
  assert.equal(kept.parts.join(""), "abé");
  assert.equal(kept.dropped(), 4 + 5);
});
