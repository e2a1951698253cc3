import assert from "node:assert/strict";
import { test } from "node:test";
import { newTenant, openDoor } from "#support/door.ts";

// It reads this when it is loaded.
process.env["MEM0_TELEMETRY"] = "false";
const { MemoryClient } = await import("mem0ai");

test(
  "mem0's own client adds, finds, changes, lists, exports and forgets, with nothing but its host changed",
  { timeout: 120_000 },
  async () => {
    await using door = await openDoor();
    const { key } = await newTenant(door);
    const client = new MemoryClient({ apiKey: key.apiKey, host: door.origin });
    await client.ping();
    const added = await client.add(
      [
        { role: "user", content: "I moved to Bergen in May" },
        { role: "assistant", content: "How is the rain there?" },
      ],
      { userId: "ann", runId: "r1", metadata: { turn: 1, tag: "move" } },
    );
    assert.deepEqual(
      added.map(({ memory, event }) => [memory, event]),
      [
        ["I moved to Bergen in May", "ADD"],
        ["How is the rain there?", "ADD"],
      ],
    );
    await client.add("Likes tea" as never, { agentId: "bot", infer: false });
    const { results } = await client.search("Where did I move?", { filters: { user_id: "ann" }, topK: 5 });
    assert.equal(results[0]?.memory, "I moved to Bergen in May");
    assert.deepEqual(results[0]?.metadata, { turn: 1, tag: "move" });
    assert.ok((results[0]?.score ?? 0) > 0);
    const byTag = await client.search("bergen", { filters: { AND: [{ user_id: "ann" }, { metadata: { tag: "move" } }] } });
    assert.equal(byTag.results.length, 2, "the one that says it and the one beside it");
    const id = added[0]?.id ?? "";
    await client.update(id, { text: "I moved to Oslo in June" });
    assert.equal((await client.get(id)).memory, "I moved to Oslo in June");
    assert.deepEqual(
      (await client.history(id)).map(({ event, newMemory }) => [event, newMemory]),
      [
        ["ADD", "I moved to Bergen in May"],
        ["UPDATE", "I moved to Oslo in June"],
      ],
    );
    const page = await client.getAll({ filters: { user_id: "ann" }, page: 1, pageSize: 1 });
    assert.deepEqual([page.count, page.results.length, page.next], [2, 1, "?page=2"]);
    assert.equal((await client.search("oslo", { filters: { user_id: "ann" } })).results[0]?.id, id);
    await client.batchUpdate([{ memoryId: added[1]?.id ?? "", text: "It rains a lot" }]);
    const users = await client.users();
    assert.deepEqual(
      users.results.map(({ type, name }) => [type, name]),
      [
        ["user", "ann"],
        ["agent", "bot"],
        ["run", "r1"],
      ],
    );
    const made = (await client.createMemoryExport({ schema: {}, filters: { user_id: "ann" } })) as unknown as { id: string };
    const got = (await client.getMemoryExport({ memoryExportId: made.id })) as unknown as { memories: { memory: string }[] };
    assert.deepEqual(got.memories.map(({ memory }) => memory).toSorted(), ["I moved to Oslo in June", "It rains a lot"]);
    await client.delete(id);
    await assert.rejects(client.get(id), { name: "MemoryNotFoundError" });
    await client.batchDelete([added[1]?.id ?? ""]);
    await client.add([{ role: "user", content: "one more" }], { userId: "ann" });
    await client.deleteAll({ userId: "ann" });
    assert.equal((await client.getAll({ filters: { user_id: "ann" } })).count, 0);
    await client.deleteUsers({ agentId: "bot" });
    await client.deleteUser({ entity_type: "run", entity_id: "r1" as never });
    assert.equal((await client.users()).count, 0);
    await assert.rejects(client.add([{ role: "user", content: "x" }], { userId: "ann", infer: true }), /No model is configured/);
    await assert.rejects(client.search("x", { filters: { NOT: [{ user_id: "ann" }] } }), /not supported/);
  },
);
