import * as z from "zod";
import { AGENTRUN, envelope, PageOf } from "./agentrun.ts";
import { Name } from "./id.ts";
import { operation } from "./operation.ts";

const Settings = z.record(z.string(), z.unknown()).nullish();

const settings = {
  description: z.string().max(1000).nullish(),
  embedderConfig: Settings,
  llmConfig: Settings,
  vectorStoreConfig: Settings,
  enableConversationHistory: z.boolean().nullish(),
  enableConversationState: z.boolean().nullish(),
  executionRoleArn: z.string().nullish(),
  networkConfiguration: Settings,
  workspaceId: z.string().nullish(),
};

export const AgentrunMemorySettings = z.object(settings);
export type AgentrunMemorySettings = z.output<typeof AgentrunMemorySettings>;

export const AgentrunCreateMemory = z.object({ memoryCollectionName: Name, type: z.string().max(64).default("mem0"), ...settings });
export type AgentrunCreateMemory = z.output<typeof AgentrunCreateMemory>;

/** AgentRun's record of a collection; the memories are in the collection of the same name. */
export const AgentrunMemory = z.object({
  memoryCollectionId: z.string(),
  memoryCollectionName: z.string(),
  type: z.string(),
  ...settings,
  status: z.literal("READY"),
  createdAt: z.string(),
  lastUpdatedAt: z.string(),
});
export type AgentrunMemory = z.output<typeof AgentrunMemory>;

export const AgentrunMemoryQuery = z.object({
  pageNumber: z.coerce.number().int().min(1).default(1),
  pageSize: z.coerce.number().int().min(1).max(100).default(10),
  memoryCollectionName: z.string().optional(),
  type: z.string().optional(),
  status: z.string().optional(),
});
export type AgentrunMemoryQuery = z.output<typeof AgentrunMemoryQuery>;

const params = z.object({ memoryCollectionName: z.string() });
const path = `${AGENTRUN}/agents/memory-collections/:memoryCollectionName` as const;

export const agentrunCreateMemory = operation({
  id: "agentrunCreateMemory",
  method: "post",
  path: `${AGENTRUN}/agents/memory-collections`,
  summary: "AgentRun: make a collection of memories; it is ready at once",
  body: AgentrunCreateMemory,
  status: 200,
  returns: envelope(AgentrunMemory),
  errors: ["invalid_request", "already_exists"],
});

export const agentrunListMemories = operation({
  id: "agentrunListMemories",
  method: "get",
  path: `${AGENTRUN}/agents/memory-collections`,
  summary: "AgentRun: list the collections of memories, by page number",
  query: AgentrunMemoryQuery,
  status: 200,
  returns: envelope(PageOf(AgentrunMemory)),
  errors: ["invalid_request"],
});

export const agentrunGetMemory = operation({
  id: "agentrunGetMemory",
  method: "get",
  path,
  summary: "AgentRun: read a collection's record",
  params,
  status: 200,
  returns: envelope(AgentrunMemory),
  errors: ["collection_not_found"],
});

export const agentrunUpdateMemory = operation({
  id: "agentrunUpdateMemory",
  method: "put",
  path,
  summary: "AgentRun: change a collection's record; fields left out stay as they are",
  params,
  body: AgentrunMemorySettings,
  status: 200,
  returns: envelope(AgentrunMemory),
  errors: ["collection_not_found", "invalid_request"],
});

export const agentrunDeleteMemory = operation({
  id: "agentrunDeleteMemory",
  method: "delete",
  path,
  summary: "AgentRun: forget a collection with all that is in it; answers what it was",
  params,
  status: 200,
  returns: envelope(AgentrunMemory),
  errors: ["collection_not_found"],
});
