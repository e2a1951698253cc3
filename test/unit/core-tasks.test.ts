import assert from "node:assert/strict";
import { test } from "node:test";
import { CreateTask, TaskQuery } from "#contract/task.ts";
import { formatTraceparent, parseTraceparent } from "#contract/traceparent.ts";
import { createSandbox, endSandbox, getSandbox } from "#core/sandboxes.ts";
import { cancelTask, createTask, finishTask, getTask, listTasks } from "#core/tasks.ts";
import { CORE_LIMITS as LIMITS, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const task = (fields: object = {}) => CreateTask.parse(fields);
const query = (fields: object = {}) => TaskQuery.parse(fields);

test("a sandbox that names no task has its own, which ends with it", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  assert.partialDeepStrictEqual(await getTask(platform, ONE, "mine-1"), {
    state: "open",
    own: true,
    sandboxes: [{ id: "mine-1", state: "ready" }],
  });
  await endSandbox(platform, ONE, "mine-1", "deleted");
  assert.partialDeepStrictEqual(await getTask(platform, ONE, "mine-1"), { state: "finished", outcome: { status: "succeeded" } });
});

test("an own task of a sandbox that broke has failed", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await endSandbox(platform, ONE, "mine-1", "oom");
  assert.equal((await getTask(platform, ONE, "mine-1")).outcome?.status, "failed");
});

test("an unknown task that a sandbox names begins with it and outlives it", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1", taskId: "pipeline" }));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-2", taskId: "pipeline" }));
  await endSandbox(platform, ONE, "mine-1", "deleted");
  const { own, state, sandboxes } = await getTask(platform, ONE, "pipeline");
  assert.deepEqual({ own, state, ids: sandboxes.map(({ id }) => id) }, { own: false, state: "open", ids: ["mine-2", "mine-1"] });
});

test("a refused sandbox leaves no task behind, and its id is free for another try", async () => {
  const { platform } = openCore();
  await assert.rejects(createSandbox(platform, LIMITS, projectOf("p1", 0), spec({ id: "mine-1" })), isProblem("quota_exceeded"));
  await assert.rejects(getTask(platform, ONE, "mine-1"), isProblem("task_not_found"));
  assert.deepEqual((await listTasks(platform, ONE, query())).items, []);
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  assert.equal((await getTask(platform, ONE, "mine-1")).state, "open");
});

test("cancelling ends every sandbox of the task and lets no other in", async () => {
  const { platform, engine } = openCore();
  await createTask(platform, ONE, task({ id: "work" }));
  for (const id of ["mine-1", "mine-2"]) await createSandbox(platform, LIMITS, ONE, spec({ id, taskId: "work" }));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "other-1" }));
  const cancelled = await cancelTask(platform, ONE, "work", "not wanted");
  assert.partialDeepStrictEqual(cancelled, { state: "cancelled", outcome: { status: "cancelled", summary: "not wanted" } });
  assert.deepEqual(engine.living, ["p1_other-1"]);
  assert.equal((await getSandbox(platform, ONE, "mine-1")).endReason, "stopped");
  await assert.rejects(createSandbox(platform, LIMITS, ONE, spec({ taskId: "work" })), isProblem("task_ended"));
  assert.deepEqual(await cancelTask(platform, ONE, "work"), cancelled, "cancelling twice is one cancelling");
});

test("no sandbox outlives the cancelling of its task, in whatever order both go", async () => {
  for (let seed = 1; seed <= 30; seed += 1) {
    const core = openCore();
    await createTask(core.platform, ONE, task({ id: "work" }));
    shuffle(core, seed);
    const made = [1, 2, 3].map((n) => createSandbox(core.platform, LIMITS, ONE, spec({ id: `mine-${n}`, taskId: "work" })));
    await Promise.allSettled([...made, cancelTask(core.platform, ONE, "work")]);
    assert.deepEqual(core.engine.living, [], `seed ${seed}`);
  }
});

test("the first outcome stays", async () => {
  const { platform } = openCore();
  await createTask(platform, ONE, task({ id: "work" }));
  const finished = await finishTask(platform, ONE, "work", { status: "failed", summary: "no luck" });
  assert.deepEqual(await finishTask(platform, ONE, "work", { status: "failed" }), finished);
  await assert.rejects(finishTask(platform, ONE, "work", { status: "succeeded" }), isProblem("task_ended"));
  await assert.rejects(cancelTask(platform, ONE, "work"), isProblem("task_ended"));
});

test("another project's task does not exist, and its id is free for one's own", async () => {
  const { platform } = openCore();
  await createTask(platform, ONE, task({ id: "work" }));
  await assert.rejects(createTask(platform, ONE, task({ id: "work" })), isProblem("already_exists"));
  for (const attempt of [getTask(platform, OTHER, "work"), cancelTask(platform, OTHER, "work")])
    await assert.rejects(attempt, isProblem("task_not_found"));
  assert.equal((await createTask(platform, OTHER, task({ id: "work" }))).id, "work");
});

test("pages of a list miss none, and filters narrow it", async () => {
  const core = openCore();
  for (let n = 0; n < 7; n += 1) {
    await createTask(core.platform, ONE, task({ id: `t${n}`, agent: { name: n % 2 === 0 ? "even" : "odd" } }));
    core.clock.advance(1);
  }
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const found = await listTasks(core.platform, ONE, query({ limit: 3, ...(after === undefined ? {} : { after }) }));
    seen.push(...found.items.map(({ id }) => id));
    after = found.next;
  } while (after !== undefined);
  assert.deepEqual(seen, ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]);
  const odd = await listTasks(core.platform, ONE, query({ agent: "odd" }));
  assert.deepEqual(
    odd.items.map(({ id }) => id),
    ["t5", "t3", "t1"],
  );
});

test("a task belongs to its caller's trace, and says who asked", async () => {
  const { platform } = openCore();
  const trace = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled: true };
  const caller = { accessKeyId: "CR1", onBehalfOf: "ada", requestId: "r", trace };
  await platform.callers.run(caller, () => createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" })));
  const { traceId, requestedBy } = await getTask(platform, ONE, "mine-1");
  assert.deepEqual({ traceId, requestedBy }, { traceId: trace.traceId, requestedBy: { accessKeyId: "CR1", onBehalfOf: "ada" } });
});

test("a traceparent is read as W3C says, and what is none is no trace", () => {
  const text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const read = parseTraceparent(text);
  assert.ok(read);
  assert.equal(formatTraceparent(read), text);
  assert.ok(parseTraceparent(`cc${text.slice(2)}-what-comes-later`), "a later version may say more");
  for (const bad of [
    "",
    `ff${text.slice(2)}`,
    `${text}-more`,
    text.toUpperCase(),
    text.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0".repeat(32)),
    text.replace("00f067aa0ba902b7", "0".repeat(16)),
    `${text}\r\nx: y`,
  ])
    assert.equal(parseTraceparent(bad), undefined, bad);
});
