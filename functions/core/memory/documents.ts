import { createHash } from "node:crypto";
import type { MemoryEvent, MemoryFilter, MemoryRecord, Scope } from "#contract/memory.ts";
import type { KeptDoc, SearchDoc, SearchFilter } from "#core/ports.ts";
import { dateWords, dayOf, spansIn } from "./dates.ts";
import { wordsOf } from "./words.ts";

/** The first letters of an id say what it is of: an event and the record that is its text share all the rest. */
export const EVENT = "evt_";
export const RECORD = "mem_";
export const THREAD = "thr_";

/** A record as it is kept, with the records that stand beside it in the conversation. */
export interface KeptRecord {
  record: MemoryRecord;
  before?: string;
  after?: string;
}

export interface KeptEvent {
  event: MemoryEvent;
}

/** The end of a conversation: where the next record is put after. */
export interface KeptThread {
  last: string;
}

/** What a record says, as words: who says it, what, and when, also when it says so itself. */
export function recordDoc(
  kept: KeptRecord,
  beside: { before?: readonly string[]; after?: readonly string[] } = {},
  vector?: readonly number[],
): SearchDoc {
  const { record } = kept;
  const atMs = Date.parse(record.at);
  const dates = [dayOf(atMs), ...spansIn(record.text, atMs)].flatMap((span) => dateWords(span, "kept"));
  const words = [...wordsOf(record.speaker ?? ""), ...wordsOf(record.text)];
  return {
    id: record.id,
    atMs,
    ...expiryOf(record),
    facets: recordFacets(record),
    // What is of no word at all, as a smile, is still found by its day.
    words: [...words, ...new Set(dates)],
    before: beside.before ?? [],
    after: beside.after ?? [],
    ...(vector ? { vector } : {}),
    value: kept,
  };
}

export function eventDoc(event: MemoryEvent): SearchDoc {
  return {
    id: event.id,
    atMs: Date.parse(event.at),
    ...expiryOf(event),
    facets: facetsOf(event, "e."),
    words: [],
    value: { event } satisfies KeptEvent,
  };
}

export function threadDoc(id: string, last: string, atMs: number): SearchDoc {
  return { id, atMs, facets: {}, words: [], value: { last } satisfies KeptThread };
}

/** Where a conversation ends is found by whose it is. */
export function threadId(scope: Scope, branch: string): string {
  const whose = JSON.stringify([scope.user, scope.agent, scope.app, scope.session, branch]);
  return THREAD + createHash("sha256").update(whose).digest("hex").slice(0, 32);
}

/** What a document says to those beside it: its words without its dates. */
export function saidBy(doc: Pick<SearchDoc, "words"> | undefined): string[] {
  return (doc?.words ?? []).filter((word) => !word.startsWith("@"));
}

/** A kept document as one to write. */
export function rewritten(doc: KeptDoc<KeptRecord>): SearchDoc & { ifVersion: number } {
  const { version, ...rest } = doc;
  return { ...rest, ifVersion: version };
}

function recordFacets(record: MemoryRecord): Record<string, string> {
  const derived = record.source.extractor.name === "as_given" ? undefined : record.source.events[0];
  return {
    ...facetsOf(record, ""),
    type: record.type,
    ...(record.supersededBy === undefined ? {} : { old: "1" }),
    ...(derived === undefined ? {} : { from: derived }),
  };
}

/** Events and records are asked for apart, so that a user's records are counted as such. */
function facetsOf(thing: MemoryEvent | MemoryRecord, lead: string): Record<string, string> {
  const { user, agent, app, session, role, branch, metadata } = thing;
  const facets = {
    user,
    agent,
    app,
    session,
    role,
    branch,
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`m.${name}`, value])),
  };
  return Object.fromEntries(Object.entries(facets).flatMap(([name, value]) => (value === undefined ? [] : [[lead + name, value]])));
}

/** A filter as the port knows it. `lead` says whether it is of events. */
export function filterOf(filter: MemoryFilter, lead: "" | "e." = ""): SearchFilter {
  const { user, agent, app, session, role, branch, type, metadata = {}, from, to, history } = filter;
  const named = { user, agent, app, session, role, branch, ...(lead === "" ? { type } : {}) };
  const facets = [...Object.entries(named), ...Object.entries(metadata).map(([name, value]) => [`m.${name}`, value] as const)];
  return {
    facets: Object.fromEntries(facets.flatMap(([name, value]) => (value === undefined ? [] : [[lead + name, [value]]]))),
    ...(history || lead !== "" ? {} : { without: { old: ["1"] } }),
    ...(from === undefined ? {} : { fromMs: Date.parse(from) }),
    ...(to === undefined ? {} : { toMs: Date.parse(to) }),
  };
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function expiryOf({ expiresAt }: { expiresAt?: string | undefined }): { expiresAtMs?: number } {
  return expiresAt === undefined ? {} : { expiresAtMs: Date.parse(expiresAt) };
}
