import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import type { AddRecord, Collection, MemoryFilter, MemoryRecord, Revision } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";
import type { KeptDoc, Platform, SearchDoc } from "#core/ports.ts";
import { projectItself } from "#core/usage/counts.ts";
import { type Owner, ownCollection, spaceOf } from "./collections.ts";
import { filterOf, type KeptRecord, RECORD, recordDoc, rewritten, sha256 } from "./documents.ts";

const EXPIRING = "memory-expiring";
const VERSIONS_MOST = 1000;
const ATTEMPTS = 20;

/** A collection that a call is about, found and its owner's. */
export interface Place {
  platform: Platform;
  owner: Owner;
  collection: Collection;
  space: string;
}

export async function placeOf(platform: Platform, owner: Owner, name: string): Promise<Place> {
  const collection = await ownCollection(platform, owner, name);
  return { platform, owner, collection, space: spaceOf(owner, collection) };
}

/** Remembers one text as it is given. */
export async function addRecord(platform: Platform, owner: Owner, name: string, given: AddRecord): Promise<MemoryRecord> {
  const place = await placeOf(platform, owner, name);
  await makeRoom(place, 1);
  const now = platform.clock.now();
  const { lifeMs, at, validFrom, ...rest } = given;
  const moment = at ?? iso(now);
  const record: MemoryRecord = {
    ...rest,
    id: RECORD + newId(now),
    at: moment,
    validFrom: validFrom ?? moment,
    source: { events: [], sha256: sha256(given.text), extractor: { name: "as_given", version: "1" } },
    createdAt: iso(now),
    ...expiry(now, lifeMs ?? place.collection.recordLifeMs),
  };
  const [vector] = await vectorsFor(place, [record.text]);
  await write(place, [{ ...recordDoc({ record }, {}, vector), ifVersion: "absent" }]);
  return record;
}

/** Puts a changed record after the one it was. Both are written at once, so that of two revisions of one record one is too late. */
export async function reviseRecord(platform: Platform, owner: Owner, name: string, id: string, change: Revision): Promise<MemoryRecord> {
  const place = await placeOf(platform, owner, name);
  const old = await ownRecord(place, id);
  const was = old.value.record;
  if (was.supersededBy !== undefined)
    throw new Problem("conflict", {
      detail: `${id} is superseded already`,
      supersededBy: was.supersededBy,
      next: "Revise the latest version.",
    });
  await makeRoom(place, 1);
  const now = platform.clock.now();
  const { text = was.text, metadata = was.metadata, confidence = was.confidence, at = was.at, lifeMs } = change;
  const { validTo: _validTo, expiresAt: _expiresAt, ...kept } = was;
  const record: MemoryRecord = {
    ...kept,
    id: RECORD + newId(now),
    text,
    metadata,
    confidence,
    at,
    validFrom: iso(now),
    supersedes: id,
    source: { ...was.source, events: text === was.text ? was.source.events : [], sha256: sha256(text) },
    createdAt: iso(now),
    ...(lifeMs === undefined ? lifeOf(was) : expiry(now, lifeMs)),
  };
  const superseded: MemoryRecord = { ...was, validTo: iso(now), supersededBy: record.id };
  const [vector] = await vectorsFor(place, [text]);
  const { before, after, vector: oldVector } = old;
  await write(place, [
    { ...recordDoc({ ...old.value, record: superseded }, { before: before ?? [], after: after ?? [] }, oldVector), ifVersion: old.version },
    { ...recordDoc({ record }, {}, vector), ifVersion: "absent" },
  ]);
  return record;
}

export async function getRecord(platform: Platform, owner: Owner, name: string, id: string): Promise<MemoryRecord> {
  return (await ownRecord(await placeOf(platform, owner, name), id)).value.record;
}

/** All versions of a record, oldest first, from whichever of them. */
export async function getHistory(platform: Platform, owner: Owner, name: string, id: string): Promise<{ items: MemoryRecord[] }> {
  const place = await placeOf(platform, owner, name);
  return { items: (await versionsOf(place, await ownRecord(place, id))).map(({ value }) => value.record) };
}

export async function versionsOf(place: Place, from: KeptDoc<KeptRecord>): Promise<KeptDoc<KeptRecord>[]> {
  const versions = [from];
  for (let id = from.value.record.supersedes; id !== undefined && versions.length < VERSIONS_MOST;) {
    const [doc] = await place.platform.search.get<KeptRecord>(place.space, [id]);
    if (doc) versions.unshift(doc);
    id = doc?.value.record.supersedes;
  }
  for (let id = from.value.record.supersededBy; id !== undefined && versions.length < VERSIONS_MOST;) {
    const [doc] = await place.platform.search.get<KeptRecord>(place.space, [id]);
    if (doc) versions.push(doc);
    id = doc?.value.record.supersededBy;
  }
  return versions;
}

/** A page of what is remembered, newest first. */
export async function listRecords(
  platform: Platform,
  owner: Owner,
  name: string,
  filter: MemoryFilter,
  page: { after?: string | undefined; limit: number },
): Promise<{ items: MemoryRecord[]; next?: string }> {
  const { space } = await placeOf(platform, owner, name);
  const docs = await platform.search.list<KeptRecord>(space, {
    prefix: RECORD,
    filter: filterOf(filter),
    limit: page.limit + 1,
    descending: true,
    nowMs: platform.clock.now(),
    ...(page.after === undefined ? {} : { after: page.after }),
  });
  const items = docs.slice(0, page.limit).map(({ value }) => value.record);
  const last = items.at(-1);
  return docs.length > page.limit && last ? { items, next: last.id } : { items };
}

export async function ownRecord({ platform, space }: Place, id: string): Promise<KeptDoc<KeptRecord>> {
  const [doc] = id.startsWith(RECORD) ? await platform.search.get<KeptRecord>(space, [id]) : [];
  if (!doc || (doc.expiresAtMs ?? Infinity) <= platform.clock.now())
    throw new Problem("memory_not_found", { detail: `No such memory: ${id.slice(0, 64)}` });
  return doc;
}

/** Refuses what would not fit any more. */
export async function makeRoom({ platform, space }: Place, documents: number): Promise<void> {
  const { docs } = await platform.search.size(space);
  if (docs + documents <= LIMITS.memoryDocuments) return;
  throw new Problem("quota_exceeded", {
    detail: `A collection holds ${LIMITS.memoryDocuments} events and records`,
    resource: "memoryDocuments",
    next: "Forget something, or use another collection.",
  });
}

/** Writes documents; that some will expire is written first, so that the sweep looks here. */
export async function write(place: Place, docs: readonly (SearchDoc & { ifVersion?: number | "absent" })[]): Promise<void> {
  const { platform, owner, collection, space } = place;
  const key = `${owner.id}/${collection.id}`;
  const expires = docs.some(({ expiresAtMs }) => expiresAtMs !== undefined);
  if (expires && !(await platform.recent.get(EXPIRING, key))) await platform.tables.put(EXPIRING, key, space);
  await platform.search.index(space, docs);
}

/** One vector for each text where the collection wants them; none otherwise. */
export async function vectorsFor(
  { platform, owner, collection }: Place,
  texts: readonly string[],
  signal?: AbortSignal,
): Promise<(number[] | undefined)[]> {
  if (!collection.embeddings || texts.length === 0) return [];
  const embed = platform.models.embed;
  if (!embed) throw new Problem("not_supported", { detail: "No embedding model is configured any more" });
  const of = projectItself(owner.id);
  return embed(texts, { signal, spent: ({ input, cached }) => platform.counts.count(of, { embedding_tokens: input + cached }) });
}

/** Forgets what has expired, in every space that has something that will: at most `limit` documents of each. */
export async function forgetExpired(platform: Platform, limit: number): Promise<number> {
  let gone = 0;
  for (const { value: space } of await platform.tables.range<string>(EXPIRING, "", { limit })) {
    const ids = await platform.search.expired(space, platform.clock.now(), limit);
    gone += (await removeAll(platform, space, ids)).length;
  }
  return gone;
}

/** Removes documents, and their words from those that stood beside them. */
export async function removeAll(platform: Platform, space: string, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const going = new Set(ids);
  for (let left = ATTEMPTS; ; left -= 1) {
    const docs = await platform.search.get<Partial<KeptRecord>>(space, ids);
    const links = docs.flatMap(({ value }) => [value.before, value.after]).filter((id) => id !== undefined && !going.has(id)) as string[];
    const beside = await platform.search.get<KeptRecord>(space, [...new Set(links)]);
    try {
      if (beside.length > 0)
        await platform.search.index(
          space,
          beside.map((doc) => withoutNeighbours(doc, going)),
        );
      return await platform.search.forget(space, ids);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "conflict" || left === 0) throw error;
    }
  }
}

function withoutNeighbours(doc: KeptDoc<KeptRecord>, going: ReadonlySet<string>): SearchDoc {
  const { before, after, ...value } = doc.value;
  const losesBefore = before !== undefined && going.has(before);
  const losesAfter = after !== undefined && going.has(after);
  return {
    ...rewritten(doc),
    before: losesBefore ? [] : (doc.before ?? []),
    after: losesAfter ? [] : (doc.after ?? []),
    value: {
      ...value,
      ...(before === undefined || losesBefore ? {} : { before }),
      ...(after === undefined || losesAfter ? {} : { after }),
    },
  };
}

export function expiry(now: number, lifeMs: number | undefined): { expiresAt?: string } {
  return lifeMs === undefined ? {} : { expiresAt: iso(now + lifeMs) };
}

export function iso(atMs: number): string {
  return new Date(atMs).toISOString();
}

function lifeOf({ expiresAt }: MemoryRecord): { expiresAt?: string } {
  return expiresAt === undefined ? {} : { expiresAt };
}
