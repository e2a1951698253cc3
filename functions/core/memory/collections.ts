import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import type { Collection, CreateCollection } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Platform, Row } from "#core/ports.ts";
import { unlessConflict } from "#core/sandbox-rows.ts";

const COLLECTIONS = "memory-collections";
const COUNTS = "memory-counts";
const DROPS = "memory-drops";

/** Who a call is for. */
export type Owner = Pick<Project, "id">;

interface CollectionRow {
  collection: Collection;
  deleting: boolean;
}

/** Where a collection's documents lie: a new collection of an old name has another place. */
export function spaceOf(owner: Owner, collection: Pick<Collection, "id">): string {
  return `${owner.id}.${collection.id}`;
}

export async function createCollection(platform: Platform, owner: Owner, spec: CreateCollection): Promise<Collection> {
  requireModels(platform, spec);
  await platform.tables.add(COUNTS, owner.id, 1, { ceiling: LIMITS.memoryCollections });
  const now = platform.clock.now();
  const collection: Collection = { ...spec, id: newId(now).toLowerCase(), createdAt: new Date(now).toISOString() };
  const made = await unlessConflict(
    platform.tables.put<CollectionRow>(COLLECTIONS, keyOf(owner, spec.name), { collection, deleting: false }, { ifVersion: "absent" }),
  );
  if (made) return collection;
  await platform.tables.add(COUNTS, owner.id, -1);
  throw new Problem("already_exists", { detail: `A collection named ${spec.name} already exists` });
}

/** What a collection asks of a model is refused where there is none: nothing is done in another way without a word. */
export function requireModels({ models }: Platform, { extraction, embeddings }: Pick<Collection, "extraction" | "embeddings">): void {
  if (extraction.by === "model" && !models.ask)
    throw new Problem("not_supported", {
      detail: "No model is configured that could extract memories",
      next: "Have the operator set CLEANROOM_MODEL_URL, or extract `as_given`.",
    });
  if (embeddings && !models.embed)
    throw new Problem("not_supported", {
      detail: "No embedding model is configured",
      next: "Have the operator set CLEANROOM_EMBEDDING_URL, or leave `embeddings` out.",
    });
}

export async function listCollections(
  platform: Platform,
  owner: Owner,
  query: { after?: string | undefined; limit: number },
): Promise<{ items: Collection[]; next?: string }> {
  const after = query.after === undefined ? {} : { after: keyOf(owner, query.after) };
  const rows = await platform.tables.range<CollectionRow>(COLLECTIONS, `${owner.id}/`, { limit: query.limit + 1, ...after });
  const items = rows.slice(0, query.limit).flatMap(({ value }) => (value.deleting ? [] : [value.collection]));
  const last = rows.at(query.limit - 1)?.value.collection.name;
  return rows.length > query.limit && last !== undefined ? { items, next: last } : { items };
}

export async function getCollection(
  platform: Platform,
  owner: Owner,
  name: string,
): Promise<Collection & { documents: number; bytes: number }> {
  const collection = await ownCollection(platform, owner, name);
  const { docs, bytes } = await platform.search.size(spaceOf(owner, collection));
  return { ...collection, documents: docs, bytes };
}

/** The collection that an owner calls by this name; another's does not exist. */
export async function ownCollection(platform: Platform, owner: Owner, name: string): Promise<Collection> {
  const row = validName(name) ? await platform.recent.get<CollectionRow>(COLLECTIONS, keyOf(owner, name)) : undefined;
  if (!row || row.value.deleting) throw collectionNotFound(name);
  return row.value.collection;
}

/** The same, made if there is none, for dialects that know no collections. */
export async function collectionFor(platform: Platform, owner: Owner, spec: CreateCollection): Promise<Collection> {
  try {
    return await ownCollection(platform, owner, spec.name);
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "collection_not_found") throw error;
  }
  const made = await createCollection(platform, owner, spec).catch((error: unknown) => {
    if (error instanceof Problem && error.code === "already_exists") return undefined;
    throw error;
  });
  return made ?? (await ownCollection(platform, owner, spec.name));
}

/** Forgets a collection. It is marked first, so that a crash leaves work for the sweep; of two who delete it, one finds it gone. */
export async function deleteCollection(platform: Platform, owner: Owner, name: string): Promise<void> {
  const row = validName(name) ? await platform.tables.get<CollectionRow>(COLLECTIONS, keyOf(owner, name)) : undefined;
  if (!row || row.value.deleting) throw collectionNotFound(name);
  await platform.tables.put(DROPS, row.key, owner.id);
  const marked = await unlessConflict(
    platform.tables.put(COLLECTIONS, row.key, { ...row.value, deleting: true }, { ifVersion: row.version }),
  );
  if (!marked) throw collectionNotFound(name);
  await drop(platform, marked);
}

/** Finishes deletions that were cut short: at most `limit` of them. */
export async function dropCollections(platform: Platform, limit: number): Promise<number> {
  const drops = await platform.tables.range<string>(DROPS, "", { limit });
  for (const { key } of drops) {
    const row = await platform.tables.get<CollectionRow>(COLLECTIONS, key);
    if (row?.value.deleting) await drop(platform, row);
    else await platform.tables.remove(DROPS, key);
  }
  return drops.length;
}

async function drop(platform: Platform, { key, version, value }: Row<CollectionRow>): Promise<void> {
  const id = key.slice(0, key.indexOf("/"));
  await platform.search.drop(spaceOf({ id }, value.collection));
  // Of two who drop it, who removes the row gives its place back.
  const removed = await unlessConflict(platform.tables.remove(COLLECTIONS, key, { ifVersion: version }).then(() => true));
  if (removed) await platform.tables.add(COUNTS, id, -1);
  await platform.tables.remove(DROPS, key);
  platform.log.event("memory.collection_forgotten", { projectId: id, collectionId: value.collection.id });
}

function keyOf(owner: Owner, name: string): string {
  return `${owner.id}/${name}`;
}

function validName(name: string): boolean {
  return /^[A-Za-z][A-Za-z0-9_-]{0,62}$/.test(name);
}

function collectionNotFound(name: string): Problem {
  return new Problem("collection_not_found", { detail: `No such collection: ${name.slice(0, 100)}`, collection: name.slice(0, 100) });
}
