import * as z from "zod";
import { operation } from "./operation.ts";

/** What code for mem0's hosted API may send and read. Fields that mean nothing here are tolerated, as its own clients send them. */
const Id = z.string().min(1).max(256).nullish();
const Entities = { user_id: Id, agent_id: Id, app_id: Id, run_id: Id };
const Anything = z.record(z.string(), z.unknown());
const Filters = Anything.nullish();
const Message = z.object({ role: z.string().default("user"), content: z.unknown(), name: z.string().max(256).nullish() });

export const Mem0Memory = z.object({
  id: z.string(),
  memory: z.string(),
  ...Entities,
  hash: z.string(),
  metadata: Anything.nullable(),
  categories: z.array(z.string()),
  created_at: z.string(),
  updated_at: z.string(),
  expiration_date: z.string().nullable(),
  score: z.number().optional(),
  event: z.string().optional(),
  data: z.object({ memory: z.string() }).optional(),
});
export type Mem0Memory = z.output<typeof Mem0Memory>;

export const Mem0Add = z.object({
  messages: z.union([z.string(), z.array(Message).min(1).max(100)]),
  ...Entities,
  metadata: Anything.nullish(),
  infer: z.boolean().nullish(),
  custom_instructions: z.string().max(4000).nullish(),
  timestamp: z.number().nullish(),
  expiration_date: z.string().nullish(),
});
export type Mem0Add = z.output<typeof Mem0Add>;

export const Mem0Search = z.object({
  query: z.string().min(1).max(10_000),
  filters: Filters,
  top_k: z.number().int().min(1).max(200).nullish(),
  threshold: z.number().min(0).max(1).nullish(),
  reference_date: z.union([z.string(), z.number()]).nullish(),
});
export type Mem0Search = z.output<typeof Mem0Search>;

const Update = z.object({
  text: z.string().nullish(),
  metadata: Anything.nullish(),
  timestamp: z.union([z.string(), z.number()]).nullish(),
  expiration_date: z.string().nullish(),
});
export type Mem0Update = z.output<typeof Update>;

const Told = z.object({ message: z.string() });
const Numbered = z.object({
  page: z.coerce.number().int().min(1).default(1),
  page_size: z.coerce.number().int().min(1).max(200).default(100),
});
const memoryParams = z.object({ memoryId: z.string() });
const entityParams = z.object({ type: z.enum(["user", "agent", "app", "run"]), name: z.string() });
const memory = "/v1/memories/:memoryId/" as const;
const Batch = z
  .array(z.object({ memory_id: z.string(), text: z.string().optional() }))
  .min(1)
  .max(1000);

export const mem0Ping = operation({
  id: "mem0Ping",
  method: "get",
  path: "/v1/ping/",
  summary: "mem0: whether the key is good, and for which project",
  status: 200,
  returns: z.object({ status: z.literal("ok"), org_id: z.string(), project_id: z.string(), user_email: z.null() }),
  errors: ["unauthenticated"],
});

export const mem0Add = operation({
  id: "mem0Add",
  method: "post",
  path: "/v3/memories/add/",
  summary: "mem0: add messages; answers the memories that came of them",
  body: Mem0Add,
  bodyLimitBytes: 8 * 1024 * 1024,
  status: 200,
  returns: z.array(Mem0Memory),
  errors: ["invalid_request", "not_supported", "model_failed", "quota_exceeded"],
});

export const mem0Search = operation({
  id: "mem0Search",
  method: "post",
  path: "/v3/memories/search/",
  summary: "mem0: search memories",
  body: Mem0Search,
  status: 200,
  returns: z.object({ results: z.array(Mem0Memory) }),
  errors: ["invalid_request", "not_supported"],
});

export const mem0List = operation({
  id: "mem0List",
  method: "post",
  path: "/v3/memories/",
  summary: "mem0: list memories, newest first, by page number",
  query: Numbered,
  body: z.object({ filters: Filters }),
  status: 200,
  returns: z.object({ count: z.int(), next: z.string().nullable(), previous: z.string().nullable(), results: z.array(Mem0Memory) }),
  errors: ["invalid_request", "not_supported"],
});

export const mem0Get = operation({
  id: "mem0Get",
  method: "get",
  path: memory,
  summary: "mem0: read a memory, as it is now",
  params: memoryParams,
  status: 200,
  returns: Mem0Memory,
  errors: ["memory_not_found"],
});

export const mem0Update = operation({
  id: "mem0Update",
  method: "put",
  path: memory,
  summary: "mem0: change a memory; what it was stays in its history",
  params: memoryParams,
  body: Update,
  status: 200,
  returns: Mem0Memory,
  errors: ["memory_not_found", "conflict", "invalid_request"],
});

export const mem0Delete = operation({
  id: "mem0Delete",
  method: "delete",
  path: memory,
  summary: "mem0: forget a memory with its history",
  params: memoryParams,
  status: 200,
  returns: Told,
  errors: ["memory_not_found"],
});

export const mem0History = operation({
  id: "mem0History",
  method: "get",
  path: `${memory}history/`,
  summary: "mem0: read what a memory was, oldest first",
  params: memoryParams,
  status: 200,
  returns: z.array(
    z.object({
      id: z.string(),
      memory_id: z.string(),
      input: z.array(Anything),
      old_memory: z.string().nullable(),
      new_memory: z.string().nullable(),
      user_id: z.string().nullable(),
      categories: z.array(z.string()),
      event: z.enum(["ADD", "UPDATE"]),
      created_at: z.string(),
      updated_at: z.string(),
    }),
  ),
  errors: ["memory_not_found"],
});

export const mem0DeleteAll = operation({
  id: "mem0DeleteAll",
  method: "delete",
  path: "/v1/memories/",
  summary: "mem0: forget all memories of a user, agent, app or run",
  query: z.object(Entities),
  status: 200,
  returns: Told,
  errors: ["invalid_request"],
});

export const mem0BatchUpdate = operation({
  id: "mem0BatchUpdate",
  method: "put",
  path: "/v1/batch/",
  summary: "mem0: change several memories",
  body: z.object({ memories: Batch }),
  status: 200,
  returns: Told,
  errors: ["memory_not_found", "invalid_request"],
});

export const mem0BatchDelete = operation({
  id: "mem0BatchDelete",
  method: "delete",
  path: "/v1/batch/",
  summary: "mem0: forget several memories",
  body: z.object({ memories: Batch }),
  status: 200,
  returns: Told,
  errors: ["invalid_request"],
});

export const mem0Entities = operation({
  id: "mem0Entities",
  method: "get",
  path: "/v1/entities/",
  summary: "mem0: list the users, agents, apps and runs that memories are of",
  query: Numbered,
  status: 200,
  returns: z.object({
    count: z.int(),
    next: z.string().nullable(),
    previous: z.string().nullable(),
    results: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        type: z.string(),
        total_memories: z.int(),
        owner: z.string(),
        created_at: z.string(),
        updated_at: z.string(),
      }),
    ),
  }),
  errors: ["invalid_request"],
});

export const mem0DeleteEntity = operation({
  id: "mem0DeleteEntity",
  method: "delete",
  path: "/v2/entities/:type/:name/",
  summary: "mem0: forget all memories of one user, agent, app or run",
  params: entityParams,
  status: 200,
  returns: Told,
  errors: ["invalid_request"],
});

export const mem0DeleteEntityV1 = operation({
  ...mem0DeleteEntity,
  id: "mem0DeleteEntityV1",
  path: "/v1/entities/:type/:name/",
  summary: "mem0: the same, as its older clients ask",
});

export const mem0Export = operation({
  id: "mem0Export",
  method: "post",
  path: "/v1/exports/",
  summary: "mem0: ask for an export; what it filters is kept by its id for a day",
  body: z.object({ filters: Filters }),
  status: 201,
  returns: z.object({ message: z.string(), id: z.string() }),
  errors: ["invalid_request", "not_supported"],
});

export const mem0GetExport = operation({
  id: "mem0GetExport",
  method: "post",
  path: "/v1/exports/get/",
  summary: "mem0: read an export by its id or its filters: the memories as they are, whatever the schema",
  body: z.object({ memory_export_id: z.string().max(2000).nullish(), filters: Filters }),
  status: 200,
  returns: z.object({ memories: z.array(Mem0Memory) }),
  errors: ["link_not_valid", "invalid_request", "not_supported"],
});
