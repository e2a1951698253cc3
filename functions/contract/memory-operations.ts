import * as z from "zod";
import { Count, page } from "./id.ts";
import { LIMITS } from "./limits.ts";
import {
  AddRecord,
  Collection,
  CreateCollection,
  Forget,
  GivenEvent,
  Imported,
  MemoryEvent,
  MemoryHit,
  MemoryRecord,
  RecordType,
  Revision,
  Scope,
  SearchMemory,
  Tombstone,
  Whose,
} from "./memory.ts";
import { operation } from "./operation.ts";

const base = "/api/memory/collections/:collection" as const;
const params = z.object({ collection: z.string() });
const recordParams = z.object({ collection: z.string(), recordId: z.string() });
const paging = { after: z.string().optional(), limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault) };

export const createCollection = operation({
  id: "createCollection",
  method: "post",
  path: "/api/memory/collections",
  summary: "Make a collection of memories",
  body: CreateCollection,
  status: 201,
  returns: Collection,
  errors: ["already_exists", "not_supported", "quota_exceeded", "invalid_request"],
});

export const listCollections = operation({
  id: "listCollections",
  method: "get",
  path: "/api/memory/collections",
  summary: "List the project's collections of memories",
  query: z.strictObject(paging),
  status: 200,
  returns: page(Collection),
  errors: ["invalid_request"],
});

export const getCollection = operation({
  id: "getCollection",
  method: "get",
  path: base,
  summary: "Read a collection, with how much is in it",
  params,
  status: 200,
  returns: Collection.extend({ documents: z.int(), bytes: z.int() }),
  errors: ["collection_not_found"],
});

export const deleteCollection = operation({
  id: "deleteCollection",
  method: "delete",
  path: base,
  summary: "Forget a collection with all that is in it",
  params,
  status: 204,
  errors: ["collection_not_found"],
});

export const addEvents = operation({
  id: "addEvents",
  method: "post",
  path: `${base}/events`,
  summary: "Add what was said in a session, in its order; answers the events and the records that came of them",
  params,
  body: z.strictObject({ ...Scope.shape, session: Whose, events: z.array(GivenEvent).min(1).max(LIMITS.memoryEventsAtOnce) }),
  bodyLimitBytes: 8 * 1024 * 1024,
  status: 201,
  returns: z.object({ events: z.array(MemoryEvent), records: z.array(MemoryRecord) }),
  errors: ["collection_not_found", "model_failed", "not_supported", "quota_exceeded", "invalid_request", "body_too_large"],
});

export const listEvents = operation({
  id: "listEvents",
  method: "get",
  path: `${base}/events`,
  summary: "List the events of a session or of a user, oldest first, or the `last` so many",
  params,
  query: z.strictObject({
    user: Whose.optional(),
    agent: Whose.optional(),
    session: Whose.optional(),
    branch: z.string().optional(),
    last: Count(LIMITS.pageMax).optional(),
    ...paging,
  }),
  status: 200,
  returns: page(MemoryEvent),
  errors: ["collection_not_found", "invalid_request"],
});

export const addRecord = operation({
  id: "addRecord",
  method: "post",
  path: `${base}/records`,
  summary: "Remember one text as it is given",
  params,
  body: AddRecord,
  status: 201,
  returns: MemoryRecord,
  errors: ["collection_not_found", "quota_exceeded", "invalid_request"],
});

export const listRecords = operation({
  id: "listRecords",
  method: "get",
  path: `${base}/records`,
  summary: "List what is remembered, newest first",
  params,
  query: z.strictObject({
    user: Whose.optional(),
    agent: Whose.optional(),
    session: Whose.optional(),
    type: RecordType.optional(),
    history: z.stringbool().optional(),
    ...paging,
  }),
  status: 200,
  returns: page(MemoryRecord),
  errors: ["collection_not_found", "invalid_request"],
});

export const getRecord = operation({
  id: "getRecord",
  method: "get",
  path: `${base}/records/:recordId`,
  summary: "Read a record",
  params: recordParams,
  status: 200,
  returns: MemoryRecord,
  errors: ["collection_not_found", "memory_not_found"],
});

export const reviseRecord = operation({
  id: "reviseRecord",
  method: "post",
  path: `${base}/records/:recordId/revisions`,
  summary: "Supersede a record by a changed one; the old one stays readable",
  params: recordParams,
  body: Revision,
  status: 201,
  returns: MemoryRecord,
  errors: ["collection_not_found", "memory_not_found", "conflict", "invalid_request"],
});

export const getRecordHistory = operation({
  id: "getRecordHistory",
  method: "get",
  path: `${base}/records/:recordId/history`,
  summary: "Read all versions of a record, oldest first",
  params: recordParams,
  status: 200,
  returns: z.object({ items: z.array(MemoryRecord) }),
  errors: ["collection_not_found", "memory_not_found"],
});

export const searchMemory = operation({
  id: "searchMemory",
  method: "post",
  path: `${base}/search`,
  summary: "Search what is remembered: by words, dates and neighbours, and by meaning where an embedding model is configured",
  params,
  body: SearchMemory,
  status: 200,
  returns: z.object({ hits: z.array(MemoryHit) }),
  errors: ["collection_not_found", "model_failed", "invalid_request"],
});

export const forgetMemory = operation({
  id: "forgetMemory",
  method: "post",
  path: `${base}/forget`,
  summary: "Forget by ids or by filter: events and records, from the index and from the disk; leaves a tombstone",
  params,
  body: Forget,
  status: 200,
  returns: Tombstone,
  errors: ["collection_not_found", "invalid_request"],
});

export const listTombstones = operation({
  id: "listTombstones",
  method: "get",
  path: "/api/memory/tombstones",
  summary: "List what was forgotten and when, newest first; what it was is not said",
  query: z.strictObject(paging),
  status: 200,
  returns: page(Tombstone),
  errors: ["invalid_request"],
});

export const exportMemory = operation({
  id: "exportMemory",
  method: "get",
  path: `${base}/export`,
  summary: "Export a collection, or what is one user's, as JSON lines",
  params,
  query: Scope,
  status: 200,
  streams: { response: "application/x-ndjson" },
  errors: ["collection_not_found"],
});

export const importMemory = operation({
  id: "importMemory",
  method: "post",
  path: `${base}/import`,
  summary: "Import JSON lines as they were exported; a line that is there already is replaced by itself",
  params,
  status: 200,
  streams: { request: "application/x-ndjson" },
  returns: Imported,
  errors: ["collection_not_found", "quota_exceeded", "invalid_request", "invalid_json", "body_too_large"],
});
