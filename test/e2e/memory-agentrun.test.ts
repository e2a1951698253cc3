import assert from "node:assert/strict";
import { test } from "node:test";
import { PageOf } from "#contract/agentrun.ts";
import { AgentrunMemory } from "#contract/agentrun-memory.ts";
import { controlWire, dataOf, failureOf, sendWire, type Answer } from "#support/agentrun-client.ts";
import { newTenant, openDoor } from "#support/door.ts";

test(
  "AgentRun's memory collections are made, read, changed, listed and deleted, and are the collections of their names",
  { timeout: 120_000 },
  async () => {
    await using door = await openDoor();
    const { key, json } = await newTenant(door);
    const base = "/agents/memory-collections";
    const call = (method: string, path: string, body?: unknown): Promise<Answer> => sendWire(controlWire(door, key, method, path, body));
    const llmConfig = { modelServiceName: "qwen", config: { model: "qwen-max" } };
    const made = dataOf(
      AgentrunMemory,
      await call("POST", base, { memoryCollectionName: "notes", type: "mem0", llmConfig, enableConversationHistory: true }),
    );
    assert.partialDeepStrictEqual(made, {
      memoryCollectionName: "notes",
      type: "mem0",
      llmConfig,
      enableConversationHistory: true,
      status: "READY",
    });
    assert.equal(failureOf(await call("POST", base, { memoryCollectionName: "notes" })).code, "ERR_ALREADY_EXISTS");
    await json("POST", "/api/memory/collections/notes/records", { text: "tea" }, 201);
    const changed = dataOf(AgentrunMemory, await call("PUT", `${base}/notes`, { description: "of tea" }));
    assert.partialDeepStrictEqual(changed, { description: "of tea", llmConfig, memoryCollectionId: made.memoryCollectionId });
    assert.deepEqual(dataOf(AgentrunMemory, await call("GET", `${base}/notes`)), changed);
    const page = dataOf(PageOf(AgentrunMemory), await call("GET", `${base}?pageSize=5`));
    assert.deepEqual([page.total, page.items[0]?.memoryCollectionName], [1, "notes"]);
    dataOf(AgentrunMemory, await call("DELETE", `${base}/notes`));
    assert.match(failureOf(await call("GET", `${base}/notes`)).message, /not found/);
    await json("GET", "/api/memory/collections/notes", undefined, 404);
  },
);
