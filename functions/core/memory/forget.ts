import { newId } from "#contract/id.ts";
import type { Forget, MemoryFilter, MemoryRecord, Tombstone } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";
import type { Platform } from "#core/ports.ts";
import type { Owner } from "./collections.ts";
import { EVENT, filterOf, type KeptRecord, RECORD } from "./documents.ts";
import { iso, type Place, placeOf, removeAll, versionsOf } from "./records.ts";

const TOMBSTONES = "memory-tombstones";
const FORGETTING = "memory-forgetting";
const PURPOSE = "memory-forget";
const PAGE = 200;

/** What is to be forgotten, sealed until it is: so that a crash leaves it to be done, and nobody to read it. */
interface ForgettingRow {
  projectId: string;
  collection: string;
  tombstoneId: string;
  sealed: string;
}

/**
 * Forgets events and records: an event with the records that are its text or were drawn from it, a record with all its
 * versions and the event that is its text. The tombstone stands before anything goes.
 */
export async function forgetMemory(platform: Platform, owner: Owner, name: string, asked: Forget): Promise<Tombstone> {
  const place = await placeOf(platform, owner, name);
  const now = platform.clock.now();
  const id = newId(now);
  const text = JSON.stringify(asked);
  const tombstone: Tombstone = {
    id,
    collection: name,
    by: asked.ids ? ["ids"] : Object.keys(asked.filter ?? {}).toSorted(),
    digest: platform.vault.mac(PURPOSE, `${owner.id}\n${name}\n${text}`),
    events: 0,
    records: 0,
    state: "forgetting",
    at: iso(now),
  };
  const row: ForgettingRow = { projectId: owner.id, collection: name, tombstoneId: id, sealed: platform.vault.seal(text, PURPOSE) };
  await platform.tables.put(FORGETTING, `${owner.id}/${id}`, row);
  await platform.tables.put(TOMBSTONES, `${owner.id}/${id}`, tombstone);
  return carryOut(place, tombstone, asked);
}

export async function listTombstones(
  platform: Platform,
  owner: Owner,
  query: { after?: string | undefined; limit: number },
): Promise<{ items: Tombstone[]; next?: string }> {
  const after = query.after === undefined ? {} : { after: `${owner.id}/${query.after}` };
  const rows = await platform.tables.range<Tombstone>(TOMBSTONES, `${owner.id}/`, { limit: query.limit + 1, descending: true, ...after });
  const items = rows.slice(0, query.limit).map(({ value }) => value);
  const last = items.at(-1);
  return rows.length > query.limit && last ? { items, next: last.id } : { items };
}

/** Finishes what was being forgotten when the process ended: at most `limit` of it. */
export async function finishForgetting(platform: Platform, limit: number): Promise<number> {
  const rows = await platform.tables.range<ForgettingRow>(FORGETTING, "", { limit });
  for (const { key, value } of rows) {
    const tombstone = (await platform.tables.get<Tombstone>(TOMBSTONES, key))?.value;
    const asked = JSON.parse(platform.vault.open(value.sealed, PURPOSE)) as Forget;
    try {
      if (tombstone) await carryOut(await placeOf(platform, { id: value.projectId }, value.collection), tombstone, asked);
      else await platform.tables.remove(FORGETTING, key);
    } catch (error) {
      // With its collection everything that it was about has gone.
      if (!(error instanceof Problem) || error.code !== "collection_not_found") throw error;
      await platform.tables.remove(FORGETTING, key);
    }
  }
  return rows.length;
}

async function carryOut(place: Place, tombstone: Tombstone, asked: Forget): Promise<Tombstone> {
  const { platform, owner, space } = place;
  const gone = new Set<string>();
  for await (const ids of batchesOf(place, asked)) for (const id of await removeAll(platform, space, ids)) gone.add(id);
  const events = [...gone].filter((id) => id.startsWith(EVENT)).length;
  const done: Tombstone = {
    ...tombstone,
    events: tombstone.events + events,
    records: tombstone.records + gone.size - events,
    state: "forgotten",
  };
  const key = `${owner.id}/${tombstone.id}`;
  await platform.tables.put(TOMBSTONES, key, done);
  await platform.tables.remove(FORGETTING, key);
  platform.log.event("memory.forgotten", { projectId: owner.id, tombstoneId: done.id, events: done.events, records: done.records });
  return done;
}

/** The ids to remove, some at a time. What one batch removed the next does not find, so that each begins at the start. */
async function* batchesOf(place: Place, { ids, filter = {} }: Forget): AsyncGenerator<string[]> {
  if (ids) {
    for (let at = 0; at < ids.length; at += PAGE) yield await belonging(place, ids.slice(at, at + PAGE));
    return;
  }
  for (const [prefix, lead] of [
    [EVENT, "e."],
    [RECORD, ""],
  ] as const) {
    // Only records have a type: a filter that names one means no event.
    if (prefix === EVENT && filter.type !== undefined) continue;
    const all: MemoryFilter = { ...filter, history: true };
    for (;;) {
      const docs = await place.platform.search.list(place.space, { prefix, filter: filterOf(all, lead), limit: PAGE });
      if (docs.length === 0) break;
      yield await belonging(
        place,
        docs.map(({ id }) => id),
      );
    }
  }
}

/** Everything that is the same memory as one of these, or was drawn from it. */
async function belonging(place: Place, ids: readonly string[]): Promise<string[]> {
  const all = new Set(ids);
  const events = ids.filter((id) => id.startsWith(EVENT));
  for (const id of events) all.add(RECORD + id.slice(EVENT.length));
  if (events.length > 0)
    for (const doc of await place.platform.search.list<KeptRecord>(place.space, {
      prefix: RECORD,
      filter: { facets: { from: events } },
      limit: 5000,
    }))
      all.add(doc.id);
  const records = await place.platform.search.get<KeptRecord>(
    place.space,
    [...all].filter((id) => id.startsWith(RECORD)),
  );
  for (const record of records)
    for (const { id, value } of await versionsOf(place, record)) {
      all.add(id);
      if (isOwnText(value.record)) all.add(EVENT + id.slice(RECORD.length));
    }
  return [...all];
}

function isOwnText({ source, supersedes }: MemoryRecord): boolean {
  return source.extractor.name === "as_given" && source.events.length === 1 && supersedes === undefined;
}
