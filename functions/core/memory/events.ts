import { newId } from "#contract/id.ts";
import type { Extraction, GivenEvent, MemoryEvent, MemoryFilter, MemoryRecord, Scope } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";
import type { KeptDoc, Platform, SearchDoc } from "#core/ports.ts";
import { type Owner, requireModels } from "./collections.ts";
import {
  EVENT,
  eventDoc,
  filterOf,
  type KeptEvent,
  type KeptRecord,
  type KeptThread,
  RECORD,
  recordDoc,
  rewritten,
  saidBy,
  sha256,
  threadDoc,
  threadId,
} from "./documents.ts";
import { projectItself } from "#core/usage/counts.ts";
import { extractorOf, type Found } from "./extract.ts";
import { expiry, iso, makeRoom, type Place, placeOf, vectorsFor, write } from "./records.ts";

const ATTEMPTS = 20;

type Written = SearchDoc & { ifVersion?: number | "absent" };

/**
 * Adds what was said, and what an extractor makes of it, in one step: all of it is there afterwards or nothing. Who says
 * something in the same conversation meanwhile comes before or after, never between.
 */
export async function addEvents(
  platform: Platform,
  owner: Owner,
  name: string,
  given: Scope & { events: readonly GivenEvent[]; extraction?: Extraction; lifeMs?: number },
  signal?: AbortSignal,
): Promise<{ events: MemoryEvent[]; records: MemoryRecord[] }> {
  const { extraction, lifeMs, ...said } = given;
  const place = withSettings(await placeOf(platform, owner, name), extraction, lifeMs);
  requireModels(platform, place.collection);
  await makeRoom(place, 2 * given.events.length);
  const events = eventsOf(place, said);
  const of = projectItself(owner.id);
  const found = await extractorOf(place.collection).extract(platform.models, place.collection, events, {
    signal,
    spent: ({ input, cached, output }) =>
      platform.counts.count(of, { model_input_tokens: input, model_cached_tokens: cached, model_output_tokens: output }),
  });
  const records = found.map((one) => recordOf(place, one));
  const vectors = await vectorsFor(
    place,
    records.map(({ text }) => text),
    signal,
  );
  for (let left = ATTEMPTS; ; left -= 1) {
    const docs = await docsOf(place, events, records, vectors);
    try {
      await write(place, docs);
      platform.counts.count(of, { memory_events: events.length });
      return { events, records };
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "conflict" || left === 0) throw error;
    }
  }
}

/** A dialect may say for one call what a collection says for all. */
function withSettings(place: Place, extraction: Extraction | undefined, lifeMs: number | undefined): Place {
  const collection = {
    ...place.collection,
    ...(extraction ? { extraction } : {}),
    ...(lifeMs === undefined ? {} : { eventLifeMs: lifeMs, recordLifeMs: lifeMs }),
  };
  return { ...place, collection };
}

/** A page of what was said, oldest first; or the last so many. */
export async function listEvents(
  platform: Platform,
  owner: Owner,
  name: string,
  filter: MemoryFilter,
  page: { after?: string | undefined; limit: number; last?: number | undefined },
): Promise<{ items: MemoryEvent[]; next?: string }> {
  const { space } = await placeOf(platform, owner, name);
  const ask = { prefix: EVENT, filter: filterOf(filter, "e."), nowMs: platform.clock.now() };
  if (page.last !== undefined) {
    const docs = await platform.search.list<KeptEvent>(space, { ...ask, limit: page.last, descending: true });
    return { items: docs.toReversed().map(({ value }) => value.event) };
  }
  const after = page.after === undefined ? {} : { after: page.after };
  const docs = await platform.search.list<KeptEvent>(space, { ...ask, ...after, limit: page.limit + 1 });
  const items = docs.slice(0, page.limit).map(({ value }) => value.event);
  const last = items.at(-1);
  return docs.length > page.limit && last ? { items, next: last.id } : { items };
}

/** Ids of one moment are put in order, so that what was given in an order is read in it. */
function eventsOf({ platform, collection }: Place, { events, ...scope }: Scope & { events: readonly GivenEvent[] }): MemoryEvent[] {
  const now = platform.clock.now();
  const ids = events.map(() => newId(now)).toSorted();
  return events.map(({ at, ...rest }, place) => ({
    id: `${EVENT}${ids[place]}`,
    ...scope,
    ...rest,
    at: at ?? iso(now),
    createdAt: iso(now),
    ...expiry(now, collection.eventLifeMs),
    sha256: sha256(rest.text),
  }));
}

function recordOf({ platform, collection }: Place, { type, text, confidence, events }: Found): MemoryRecord {
  const now = platform.clock.now();
  const { name, version } = extractorOf(collection);
  const [first] = events;
  const own = name === "as_given" && first ? first : undefined;
  const { user, agent, app, session, at = iso(now) } = first ?? {};
  return {
    id: own ? RECORD + own.id.slice(EVENT.length) : RECORD + newId(now),
    type,
    text,
    ...known({ user, agent, app, session }),
    ...(own ? known({ role: own.role, speaker: own.speaker, branch: own.branch }) : {}),
    metadata: own?.metadata ?? {},
    confidence,
    at,
    validFrom: at,
    source: {
      events: events.map(({ id }) => id),
      sha256: sha256(events.map((event) => event.text).join("\n")),
      extractor: { name: own ? name : `${name}:${platform.models.name}`, version },
    },
    createdAt: iso(now),
    ...expiry(now, collection.recordLifeMs),
  };
}

/** The documents to write: those of a conversation between what was last in it and its new end. */
async function docsOf(
  place: Place,
  events: readonly MemoryEvent[],
  records: readonly MemoryRecord[],
  vectors: readonly (number[] | undefined)[],
): Promise<Written[]> {
  const docs: Written[] = events.map((event) => ({ ...eventDoc(event), ifVersion: "absent" }));
  const byThread = Map.groupBy(
    records.map((record, at) => ({ record, vector: vectors[at] })),
    ({ record }) => (record.branch === undefined ? "" : threadId(record, record.branch)),
  );
  for (const [thread, said] of byThread) {
    if (thread === "")
      docs.push(...said.map(({ record, vector }) => ({ ...recordDoc({ record }, {}, vector), ifVersion: "absent" as const })));
    else docs.push(...(await woven(place, thread, said)));
  }
  return docs;
}

async function woven(
  { platform, space }: Place,
  thread: string,
  said: readonly { record: MemoryRecord; vector: number[] | undefined }[],
): Promise<Written[]> {
  const [end] = await platform.search.get<KeptThread>(space, [thread]);
  const [previous] = end ? await platform.search.get<KeptRecord>(space, [end.value.last]) : [];
  const plain = said.map(({ record, vector }) => recordDoc({ record }, {}, vector));
  const docs = plain.map((doc, at): Written => {
    const before = plain[at - 1] ?? previous;
    const after = plain[at + 1];
    const value = { record: (doc.value as KeptRecord).record, ...known({ before: before?.id, after: after?.id }) };
    return { ...doc, before: saidBy(before), after: saidBy(after), value, ifVersion: "absent" };
  });
  const first = docs[0];
  const joined = previous && first ? [joinedTo(previous, first)] : [];
  const last = { ...threadDoc(thread, docs.at(-1)?.id ?? "", platform.clock.now()), ifVersion: end?.version ?? ("absent" as const) };
  return [...joined, ...docs, last];
}

function joinedTo(previous: KeptDoc<KeptRecord>, next: SearchDoc): Written {
  return { ...rewritten(previous), after: saidBy(next), value: { ...previous.value, after: next.id } };
}

function known<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
