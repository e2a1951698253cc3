import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Task, TaskDetail } from "#contract/task.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const begin = async (spec: object = {}, headers = {}) => Task.parse(await (await tenant.send("POST", "/api/tasks", spec, headers)).json());
const read = async (id: string) => TaskDetail.parse(await tenant.json("GET", `/api/tasks/${id}`));

test("a task says who asked, what hangs on it and what became of it", async () => {
  const { id } = await begin({ name: "report", agent: { name: "analyst", version: "2" } }, { "cleanroom-on-behalf-of": "ada@example.com" });
  await using box = await makeBox(tenant, { taskId: id });
  await box.inside("PUT", "/files/content?path=out.txt", "hello");
  const kept = await tenant.json<{ id: string }>("POST", `/api/sandboxes/${box.id}/artifacts`, { path: "out.txt" }, 201);
  assert.partialDeepStrictEqual(await read(id), {
    state: "open",
    own: false,
    agent: { name: "analyst", version: "2" },
    requestedBy: { accessKeyId: tenant.key.accessKeyId, onBehalfOf: "ada@example.com" },
    sandboxes: [{ id: box.id, state: "ready" }],
    artifacts: [{ id: kept.id, name: "out.txt", sizeBytes: 5 }],
  });
  const outcome = { status: "succeeded", summary: "<b>done</b>" };
  assert.partialDeepStrictEqual(await tenant.json("POST", `/api/tasks/${id}/finish`, { outcome }), { state: "finished", outcome });
  assert.equal((await box.read()).state, "ready", "its sandboxes live on");
  await refused(tenant.send("POST", "/api/sandboxes", { taskId: id }), "task_ended");
});

test("cancelling a task ends its sandboxes", async () => {
  const { id } = await begin();
  const box = await makeBox(tenant, { taskId: id });
  assert.equal((await tenant.json("POST", `/api/tasks/${id}/cancel`, { reason: "enough" }))["state"], "cancelled");
  assert.partialDeepStrictEqual(await box.read(), { state: "ended", endReason: "stopped" });
  assert.equal((await tenant.json("POST", `/api/tasks/${id}/cancel`, {}))["state"], "cancelled");
});

test("a sandbox's own task is on the list until it is asked for the others", async () => {
  const own = await newTenant(door);
  await using box = await makeBox(own);
  const made = Task.parse(await own.json("POST", "/api/tasks", {}, 201));
  const ids = async (query: string) => (await own.json<{ items: Task[] }>("GET", `/api/tasks${query}`)).items.map((task) => task.id);
  assert.deepEqual(await ids(""), [made.id, box.id]);
  assert.deepEqual(await ids("?own=false"), [made.id]);
  assert.deepEqual(await ids("?state=finished"), []);
});

test("what a task cannot be is refused by name", async () => {
  await refused(tenant.send("POST", "/api/tasks", { budget: { usd: 1 } }), "invalid_request");
  await refused(tenant.send("POST", "/api/tasks", { policy: { network: "none" } }), "invalid_request");
  await refused(tenant.send("POST", "/api/tasks", { id: "../x" }), "invalid_request");
  await refused(tenant.send("POST", "/api/tasks", { surprise: 1 }), "invalid_request");
  await refused(tenant.send("GET", "/api/tasks/nosuch"), "task_not_found");
});
