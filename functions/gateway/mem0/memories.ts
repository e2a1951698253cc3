import type { Mem0Add, Mem0Memory, Mem0Search, Mem0Update } from "#contract/mem0.ts";
import { CreateCollection, type MemoryFilter, type MemoryRecord } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { collectionFor, spaceOf } from "#core/memory/collections.ts";
import { addEvents } from "#core/memory/events.ts";
import { searchMemory } from "#core/memory/find.ts";
import { forgetMemory } from "#core/memory/forget.ts";
import { getHistory, listRecords, reviseRecord } from "#core/memory/records.ts";
import type { Platform } from "#core/ports.ts";
import { ENTITIES, eventsOf, filterOf, memoryOf, metadataIn, momentOf, scopeOf } from "./words.ts";

/** mem0 knows no collections: a project's memories are in one of this name. */
export const COLLECTION = "mem0";
const SPEC = CreateCollection.parse({ name: COLLECTION, description: "What mem0's clients keep" });
const COUNTED_MOST = 10_000;
const PAGE = 200;

interface Mem0 {
  platform: Platform;
  project: Project;
}

/**
 * Adds messages. `infer` asks for a model, and is refused where none is configured; left out, a model is used where there
 * is one, and each message is kept as it is where there is none.
 */
export async function addMemories({ platform, project }: Mem0, body: Mem0Add, signal?: AbortSignal): Promise<Mem0Memory[]> {
  const scope = scopeOf(body);
  if (Object.keys(scope).length === 0)
    throw new Problem("invalid_request", { detail: "One of user_id, agent_id, app_id and run_id is required" });
  await collectionFor(platform, project, SPEC);
  const by = (body.infer ?? platform.models.ask !== undefined) ? ("model" as const) : ("as_given" as const);
  const extraction = { ...SPEC.extraction, by, ...(body.custom_instructions ? { instructions: body.custom_instructions } : {}) };
  const lifeMs = body.expiration_date ? Date.parse(momentOf(body.expiration_date)) - platform.clock.now() : undefined;
  if (lifeMs !== undefined && lifeMs <= 0) throw new Problem("invalid_request", { detail: "body.expiration_date: is over" });
  const given = { ...scope, events: eventsOf(body), extraction, ...(lifeMs === undefined ? {} : { lifeMs }) };
  const { records } = await addEvents(platform, project, COLLECTION, given, signal);
  return records.map((record) => ({ ...memoryOf(record), event: "ADD", data: { memory: record.text } }));
}

export async function searchMemories(mem0: Mem0, body: Mem0Search, signal?: AbortSignal): Promise<{ results: Mem0Memory[] }> {
  const { platform, project } = mem0;
  await collectionFor(platform, project, SPEC);
  const { query, top_k: limit, threshold, reference_date: now } = body;
  const asked = {
    query,
    filter: filterOf(body.filters),
    limit: limit ?? 10,
    minScore: threshold ?? 0,
    ...(now ? { now: momentOf(now) } : {}),
  };
  const { hits } = await searchMemory(platform, project, COLLECTION, asked, signal);
  return { results: await Promise.all(hits.map(async ({ record, score }) => ({ ...(await told(mem0, record)), score }))) };
}

/** A page by number, and how many there are in all, up to ten thousand. */
export async function pageMemories(
  mem0: Mem0,
  filters: Record<string, unknown> | null | undefined,
  { page, page_size: size }: { page: number; page_size: number },
) {
  const all = await everyRecord(mem0, filterOf(filters));
  const from = (page - 1) * size;
  const results = await Promise.all(all.slice(from, from + size).map((record) => told(mem0, record)));
  return { count: all.length, ...around(page, from + size < all.length), results };
}

export async function readMemory(mem0: Mem0, id: string): Promise<Mem0Memory> {
  const versions = await versionsOf(mem0, id);
  return memoryOf(versions.at(-1) as MemoryRecord, versions[0]);
}

export async function updateMemory(
  mem0: Mem0,
  id: string,
  { text, metadata, timestamp, expiration_date: until }: Mem0Update,
): Promise<Mem0Memory> {
  const { platform, project } = mem0;
  const latest = (await versionsOf(mem0, id)).at(-1) as MemoryRecord;
  const change = {
    ...(text ? { text } : {}),
    ...(metadata ? { metadata: metadataIn(metadata) } : {}),
    ...(timestamp ? { at: momentOf(timestamp) } : {}),
    ...(until ? { lifeMs: Math.max(1000, Date.parse(momentOf(until)) - platform.clock.now()) } : {}),
  };
  await reviseRecord(platform, project, COLLECTION, latest.id, change);
  return readMemory(mem0, id);
}

export async function historyOf(mem0: Mem0, id: string) {
  const versions = await versionsOf(mem0, id);
  return versions.map((record, at) => ({
    id: record.id,
    memory_id: versions[0]?.id ?? record.id,
    input: [],
    old_memory: versions[at - 1]?.text ?? null,
    new_memory: record.text,
    user_id: record.user ?? null,
    categories: [],
    event: at === 0 ? ("ADD" as const) : ("UPDATE" as const),
    created_at: record.createdAt,
    updated_at: record.createdAt,
  }));
}

export async function forgetIds(mem0: Mem0, ids: string[]): Promise<{ message: string }> {
  const { platform, project } = mem0;
  await collectionFor(platform, project, SPEC);
  for (const id of ids) await versionsOf(mem0, id);
  await forgetMemory(platform, project, COLLECTION, { ids });
  return { message: ids.length === 1 ? "Memory deleted successfully!" : `Successfully deleted ${ids.length} memories` };
}

export async function forgetEntities({ platform, project }: Mem0, entities: Parameters<typeof scopeOf>[0]): Promise<{ message: string }> {
  const filter = scopeOf(entities);
  if (Object.keys(filter).length === 0)
    throw new Problem("invalid_request", { detail: "One of user_id, agent_id, app_id and run_id is required" });
  await collectionFor(platform, project, SPEC);
  await forgetMemory(platform, project, COLLECTION, { filter });
  return { message: "Memories deleted successfully!" };
}

export async function pageEntities({ platform, project }: Mem0, { page, page_size: size }: { page: number; page_size: number }) {
  const collection = await collectionFor(platform, project, SPEC);
  const space = spaceOf(project, collection);
  const all: { id: string; name: string; type: string; total_memories: number; owner: string; created_at: string; updated_at: string }[] =
    [];
  for (const [theirs, ours] of Object.entries(ENTITIES)) {
    const type = theirs.replace("_id", "");
    const values = await platform.search.values(space, ours, { limit: COUNTED_MOST });
    for (const { value, docs } of values)
      all.push({
        id: value,
        name: value,
        type,
        total_memories: docs,
        owner: project.id,
        created_at: collection.createdAt,
        updated_at: collection.createdAt,
      });
  }
  const from = (page - 1) * size;
  return { count: all.length, ...around(page, from + size < all.length), results: all.slice(from, from + size) };
}

export async function everyMemory(mem0: Mem0, filters: Record<string, unknown> | null | undefined): Promise<{ memories: Mem0Memory[] }> {
  return { memories: await Promise.all((await everyRecord(mem0, filterOf(filters))).map((record) => told(mem0, record))) };
}

async function everyRecord({ platform, project }: Mem0, filter: MemoryFilter): Promise<MemoryRecord[]> {
  await collectionFor(platform, project, SPEC);
  const all: MemoryRecord[] = [];
  let after: string | undefined;
  do {
    const { items, next } = await listRecords(platform, project, COLLECTION, filter, { after, limit: PAGE });
    all.push(...items);
    after = next;
  } while (after !== undefined && all.length < COUNTED_MOST);
  return all;
}

async function versionsOf({ platform, project }: Mem0, id: string): Promise<MemoryRecord[]> {
  await collectionFor(platform, project, SPEC);
  return (await getHistory(platform, project, COLLECTION, id)).items;
}

async function told(mem0: Mem0, record: MemoryRecord): Promise<Mem0Memory> {
  return memoryOf(record, record.supersedes === undefined ? record : (await versionsOf(mem0, record.id))[0]);
}

function around(page: number, more: boolean): { next: string | null; previous: string | null } {
  return { next: more ? `?page=${page + 1}` : null, previous: page > 1 ? `?page=${page - 1}` : null };
}
