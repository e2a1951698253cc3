import type { AgentrunCreateMemory, AgentrunMemory, AgentrunMemoryQuery, AgentrunMemorySettings } from "#contract/agentrun-memory.ts";
import { LIMITS } from "#contract/limits.ts";
import { type Collection, CreateCollection } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { createCollection, deleteCollection, listCollections, ownCollection } from "#core/memory/collections.ts";
import { moment } from "./envelope.ts";
import type { Agentrun } from "./templates.ts";

/** What AgentRun says of a collection and Cleanroom does not act on: kept beside it, under the collection's own id. */
const RECORDS = "agentrun-memory";

interface MemoryExtras {
  type: string;
  settings: AgentrunMemorySettings;
  updatedAtMs: number;
}

export async function makeMemory({ platform }: Agentrun, project: Project, body: AgentrunCreateMemory): Promise<AgentrunMemory> {
  const { memoryCollectionName: name, type, ...settings } = body;
  const spec = CreateCollection.parse({ name, description: settings.description ?? "" });
  const collection = await createCollection(platform, project, spec).catch((error: unknown) => {
    if (error instanceof Problem && error.code === "already_exists")
      throw new Problem("already_exists", { detail: `Memory collection ${name} already exists` });
    throw error;
  });
  const extras: MemoryExtras = { type, settings, updatedAtMs: platform.clock.now() };
  await platform.tables.put(RECORDS, keyOf(project, collection), extras);
  return answerOf(collection, extras);
}

export async function readMemory(agentrun: Agentrun, project: Project, name: string): Promise<AgentrunMemory> {
  const { collection, extras } = await own(agentrun, project, name);
  return answerOf(collection, extras);
}

export async function changeMemory(
  agentrun: Agentrun,
  project: Project,
  name: string,
  body: AgentrunMemorySettings,
): Promise<AgentrunMemory> {
  const { collection, extras } = await own(agentrun, project, name);
  const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined && value !== null));
  const changed = { ...extras, settings: { ...extras.settings, ...given }, updatedAtMs: agentrun.platform.clock.now() };
  await agentrun.platform.tables.put(RECORDS, keyOf(project, collection), changed);
  return answerOf(collection, changed);
}

export async function removeMemory(agentrun: Agentrun, project: Project, name: string): Promise<AgentrunMemory> {
  const { collection, extras } = await own(agentrun, project, name);
  await missing(name, deleteCollection(agentrun.platform, project, name));
  await agentrun.platform.tables.remove(RECORDS, keyOf(project, collection));
  return answerOf(collection, extras);
}

export async function pageMemories(agentrun: Agentrun, project: Project, query: AgentrunMemoryQuery) {
  const { pageNumber, pageSize } = query;
  const all: AgentrunMemory[] = [];
  let after: string | undefined;
  do {
    const page = await listCollections(agentrun.platform, project, { after, limit: LIMITS.pageMax });
    for (const collection of page.items) all.push(answerOf(collection, await extrasOf(agentrun, project, collection)));
    after = page.next;
  } while (after !== undefined);
  const wanted = all.filter(
    ({ memoryCollectionName, type, status }) =>
      (query.memoryCollectionName === undefined || memoryCollectionName.includes(query.memoryCollectionName)) &&
      (query.type === undefined || type === query.type) &&
      (query.status === undefined || status === query.status),
  );
  const from = (pageNumber - 1) * pageSize;
  return { items: wanted.slice(from, from + pageSize), pageNumber, pageSize, total: wanted.length };
}

async function own(agentrun: Agentrun, project: Project, name: string): Promise<{ collection: Collection; extras: MemoryExtras }> {
  const collection = await missing(name, ownCollection(agentrun.platform, project, name));
  return { collection, extras: await extrasOf(agentrun, project, collection) };
}

/** A collection that was made by our own API has no settings of AgentRun's. */
async function extrasOf({ platform }: Agentrun, project: Project, collection: Collection): Promise<MemoryExtras> {
  const row = await platform.tables.get<MemoryExtras>(RECORDS, keyOf(project, collection));
  return row?.value ?? { type: "mem0", settings: { description: collection.description }, updatedAtMs: Date.parse(collection.createdAt) };
}

async function missing<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "collection_not_found") throw error;
    throw new Problem("collection_not_found", { detail: `Memory collection ${name} not found` });
  }
}

function answerOf(collection: Collection, { type, settings, updatedAtMs }: MemoryExtras): AgentrunMemory {
  return {
    ...settings,
    memoryCollectionId: collection.id,
    memoryCollectionName: collection.name,
    type,
    status: "READY",
    createdAt: moment(collection.createdAt),
    lastUpdatedAt: moment(updatedAtMs),
  };
}

function keyOf(project: Project, { id }: Collection): string {
  return `${project.id}/${id}`;
}
