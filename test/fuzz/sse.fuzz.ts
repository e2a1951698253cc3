import assert from "node:assert/strict";
import * as fc from "fast-check";
import { readEvents, type ServerEvent } from "#contract/sse.ts";
import { Problem } from "#contract/problem.ts";
import { pieces, texts, wholeTexts } from "./hostile.ts";
import { hold, property } from "./property.ts";

async function* bodyOf(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function eventsIn(chunks: Iterable<Uint8Array>): Promise<ServerEvent[]> {
  const events: ServerEvent[] = [];
  for await (const event of readEvents(bodyOf(chunks))) events.push(event);
  return events;
}

/** The same by the letter of the standard, on the whole text at once. */
function expectedOf(bytes: Uint8Array): ServerEvent[] {
  const lines = new TextDecoder().decode(bytes).split(/\r\n|\r|\n/);
  lines.pop();
  const events: ServerEvent[] = [];
  let event = "";
  let data: string[] = [];
  for (const line of lines) {
    const [, field = "", value = ""] = /^([^:]*)(?:: ?([\s\S]*))?$/.exec(line) ?? [];
    if (line === "") {
      if (data.length > 0) events.push({ event: event || "message", data: data.join("\n") });
      event = "";
      data = [];
    } else if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }
  return events;
}

const line = fc.oneof(
  fc
    .tuple(
      fc.constantFrom("data", "event", "id", "retry", "", "data ", "Data", "\uFEFFdata"),
      fc.constantFrom(":", ": ", ":  ", ""),
      texts(12),
    )
    .map((parts) => parts.join("")),
  texts(12),
  fc.constant(""),
);
const stream = fc
  .array(fc.tuple(line, fc.constantFrom("\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n")), { maxLength: 12 })
  .map((lines) => Buffer.from(lines.flat().join("")));
const bytes = fc.oneof(
  { weight: 4, arbitrary: stream },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((all) => Buffer.from(all)) },
);

/** Streams without an end, of which nothing may be kept for ever: how they begin, and what comes again and again. */
const ENDLESS = {
  "a line": ["", "x"],
  "a line of data": ["data: ", "x"],
  "lines of data": ["", "data: xxxxxxxx\n"],
  "empty lines of data": ["", "data\n"],
  "empty lines of data that end in CR": ["", "data:\r"],
} as const;

async function* endlessly([start, again]: readonly [string, string]): AsyncGenerator<Uint8Array> {
  yield Buffer.from(start);
  const chunk = Buffer.from(again.repeat(Math.ceil((1 << 20) / again.length)));
  // Far above what an event may have: who reads this to its end kept too much.
  for (let sent = 0; sent < 256; sent += 1) yield chunk;
}

await hold(import.meta.url, [
  property("events are the same wherever the stream is cut, and those of the standard", pieces(bytes), async (chunks) => {
    assert.deepEqual(await eventsIn(chunks), expectedOf(Buffer.concat(chunks)));
  }),
  property(
    "every text comes through an event unharmed",
    fc.tuple(fc.array(wholeTexts(), { minLength: 1, maxLength: 4 }), fc.nat()),
    async ([values, cut]) => {
      const sent = Buffer.from(values.map((value) => `data: ${JSON.stringify({ value })}\n\n`).join(""));
      const at = cut % (sent.length + 1);
      const got = await eventsIn([sent.subarray(0, at), sent.subarray(at)]);
      assert.deepEqual(
        got.map(({ data }) => (JSON.parse(data) as { value: string }).value),
        values,
      );
    },
  ),
  property(
    "a stream that never ends an event is refused before it fills the memory",
    fc.constantFrom(...Object.values(ENDLESS)),
    async (kind) => {
      const reading = readEvents(endlessly(kind));
      await assert.rejects(reading.next(), (error) => error instanceof Problem && error.code === "body_too_large");
    },
    { cost: 200, caseMs: 60_000 },
  ),
]);
