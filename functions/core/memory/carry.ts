import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";
import { MemoryEvent, type MemoryFilter, MemoryRecord, type Scope } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";
import type { KeptDoc, Platform, SearchDoc } from "#core/ports.ts";
import type { Owner } from "./collections.ts";
import {
  EVENT,
  eventDoc,
  filterOf,
  type KeptEvent,
  type KeptRecord,
  type KeptThread,
  RECORD,
  recordDoc,
  saidBy,
  THREAD,
  threadDoc,
} from "./documents.ts";
import { makeRoom, type Place, placeOf, vectorsFor, write } from "./records.ts";

const PAGE = 200;
const TOGETHER = 100;

const ulid = (lead: string) => z.string().regex(new RegExp(`^${lead}[A-Za-z0-9]{1,60}$`));
const text = z
  .string()
  .min(1)
  .refine((one) => Buffer.byteLength(one) <= LIMITS.memoryTextBytes, `has at most ${LIMITS.memoryTextBytes} bytes`);
const EventLine = z.strictObject({ kind: z.literal("event"), event: MemoryEvent.extend({ id: ulid(EVENT), text }).strict() });
const RecordLine = z.strictObject({
  kind: z.literal("record"),
  record: MemoryRecord.extend({ id: ulid(RECORD), text }).strict(),
  before: ulid(RECORD).optional(),
  after: ulid(RECORD).optional(),
});
const ThreadLine = z.strictObject({ kind: z.literal("thread"), id: ulid(THREAD), last: ulid(RECORD), atMs: z.int() });
/** One line of an export: an event, a record with who stood beside it, or where a conversation ends. */
const Line = z.discriminatedUnion("kind", [EventLine, RecordLine, ThreadLine]);
type Line = z.output<typeof Line>;

/** Everything of a collection, or of one scope in it, as lines in the order of time; what was superseded too. */
export async function* exportMemory(platform: Platform, owner: Owner, name: string, scope: Scope): AsyncGenerator<string> {
  const { space } = await placeOf(platform, owner, name);
  const filter: MemoryFilter = { ...scope, history: true };
  const whole = Object.values(scope).every((one) => one === undefined);
  const kinds = [
    { prefix: EVENT, filter: filterOf(filter, "e.") },
    { prefix: RECORD, filter: filterOf(filter) },
    // Whose a thread is only its digest knows.
    ...(whole ? [{ prefix: THREAD, filter: {} }] : []),
  ];
  for (const kind of kinds)
    for (let after: string | undefined; ;) {
      const docs = await platform.search.list<unknown>(space, {
        ...kind,
        limit: PAGE,
        nowMs: platform.clock.now(),
        ...(after === undefined ? {} : { after }),
      });
      for (const doc of docs) yield `${JSON.stringify(Line.parse(lineOf(doc)))}\n`;
      if (docs.length < PAGE) break;
      after = docs.at(-1)?.id;
    }
}

function lineOf({ id, atMs, value }: KeptDoc): Line {
  if (id.startsWith(EVENT)) return { kind: "event", ...(value as KeptEvent) };
  if (id.startsWith(RECORD)) return { kind: "record", ...(value as KeptRecord) };
  return { kind: "thread", id, last: (value as KeptThread).last, atMs };
}

/** Takes lines in, some at a time. One that is not as exported is refused by its number; the lines before it are in, and coming again changes nothing. */
export async function importMemory(
  platform: Platform,
  owner: Owner,
  name: string,
  body: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<{ events: number; records: number; lines: number }> {
  const place = await placeOf(platform, owner, name);
  const counts = { events: 0, records: 0, lines: 0 };
  let batch: Line[] = [];
  const take = async () => {
    await makeRoom(place, batch.length);
    await write(place, await docsOf(place, batch, signal));
    batch = [];
  };
  for await (const line of linesOf(body)) {
    counts.lines += 1;
    if (line.trim() === "") continue;
    const parsed = parseLine(line, counts.lines);
    batch.push(parsed);
    if (parsed.kind === "event") counts.events += 1;
    if (parsed.kind === "record") counts.records += 1;
    if (batch.length >= TOGETHER) await take();
  }
  if (batch.length > 0) await take();
  return counts;
}

function parseLine(line: string, number: number): Line {
  const parsed = Line.safeParse(jsonOf(line, number));
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, 10).map((issue) => ({ field: issue.path.join("."), problem: issue.message }));
  throw new Problem("invalid_request", {
    detail: `Line ${number}: ${issues.map(({ field, problem }) => `${field}: ${problem}`).join("; ")}`,
    line: number,
    issues,
  });
}

function jsonOf(line: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new Problem("invalid_json", { detail: `Line ${number} is not JSON`, line: number });
  }
}

/** Lines of a stream, each bounded, and one that never ends refused before it fills the memory. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of [...lines, rest])
      if (line.length > LIMITS.memoryLineBytes)
        throw new Problem("body_too_large", {
          detail: "A line is too long",
          limitBytes: LIMITS.memoryLineBytes,
          next: "Send one event or record in each line.",
        });
    yield* lines;
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}

/** The documents of some lines. A record's neighbours may be among them, or there already; those that come later know it. */
async function docsOf(place: Place, lines: readonly Line[], signal?: AbortSignal): Promise<SearchDoc[]> {
  const records = lines.filter((line) => line.kind === "record");
  const plain = new Map<string, SearchDoc>(records.map(({ record }) => [record.id, recordDoc({ record })]));
  const links = records.flatMap(({ before, after }) => [before, after]).filter((id) => id !== undefined && !plain.has(id)) as string[];
  const there = new Map((await place.platform.search.get<KeptRecord>(place.space, [...new Set(links)])).map((doc) => [doc.id, doc]));
  const vectors = await vectorsFor(
    place,
    records.map(({ record }) => record.text),
    signal,
  );
  const said = (id: string | undefined) => (id === undefined ? [] : saidBy(plain.get(id) ?? there.get(id)));
  const docs = records.map(({ kind: _kind, ...kept }, at): SearchDoc =>
    recordDoc(kept as KeptRecord, { before: said(kept.before), after: said(kept.after) }, vectors[at]),
  );
  const joined = [...there.values()].map((doc): SearchDoc => {
    const { version: _version, ...rest } = doc;
    const { before, after } = doc.value;
    return {
      ...rest,
      before: before !== undefined && plain.has(before) ? saidBy(plain.get(before)) : (doc.before ?? []),
      after: after !== undefined && plain.has(after) ? saidBy(plain.get(after)) : (doc.after ?? []),
    };
  });
  const others = lines.flatMap((line) => {
    if (line.kind === "event") return [eventDoc(line.event)];
    return line.kind === "thread" ? [threadDoc(line.id, line.last, line.atMs)] : [];
  });
  return [...joined, ...docs, ...others];
}
