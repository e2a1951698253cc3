import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { createSandbox, getSandbox } from "#core/sandboxes.ts";
import { createWorker } from "#worker/server.ts";
import { CORE_LIMITS as LIMITS, openCore, projectOf, spec } from "#support/core.ts";

const ONE = projectOf("p1");

async function openWorker() {
  const core = openCore();
  const server = createWorker(core.platform, LIMITS, new AbortController().signal);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    core,
    invoke: (event: unknown) =>
      fetch(`http://127.0.0.1:${port}/invoke`, { method: "POST", body: typeof event === "string" ? event : JSON.stringify(event) }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const timer = (payload: unknown) => ({ triggerTime: "2026-01-01T00:00:00Z", triggerName: "sweep", payload: JSON.stringify(payload) });
const message = (job: unknown) => ({
  id: "m",
  specversion: "1.0",
  type: "mns:Queue:SendMessage",
  data: { messageBody: JSON.stringify(job) },
});

test("a timer's event sweeps", async () => {
  await using worker = await openWorker();
  const { core } = worker;
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  core.engine.end("p1_mine-1", "crashed");
  const answer = await worker.invoke(timer({ job: "sweep" }));
  assert.equal(answer.status, 200);
  assert.equal(((await answer.json()) as { results: { ended: number }[] }).results[0]?.ended, 1);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "crashed");
});

test("a job that comes twice is done once", async () => {
  await using worker = await openWorker();
  const { core } = worker;
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const job = message({ type: "end_sandbox", projectId: "p1", sandboxId: "mine-1", reason: "stopped" });
  const absent = message({ type: "end_sandbox", projectId: "p1", sandboxId: "never-1", reason: "stopped" });
  for (const answer of await Promise.all([worker.invoke([job, job, absent]), worker.invoke([job])])) assert.equal(answer.status, 200);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "stopped");
  assert.equal(core.events.filter((event) => event.name === "sandbox.ended").length, 1);
});

test("a job that fails keeps no other of its batch from being done", async () => {
  await using worker = await openWorker();
  const { core } = worker;
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const good = message({ type: "end_sandbox", projectId: "p1", sandboxId: "mine-1", reason: "stopped" });
  const answer = await worker.invoke([message({ type: "mine_coins" }), good]);
  assert.ok(answer.status >= 400, "the batch comes again");
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "stopped");
});

test("what is no job of ours fails, so that it is kept among the dead letters", async () => {
  await using worker = await openWorker();
  const events = [
    [message({ type: "mine_coins" })],
    [message({ type: "collect", extra: 1 })],
    timer({ job: "dance" }),
    timer("x"),
    [],
    {},
    "not json",
    [{ id: "m" }],
  ];
  for (const event of events) assert.ok((await worker.invoke(event)).status >= 400, JSON.stringify(event));
  assert.equal(worker.core.events.filter((event) => event.name === "job.failed").length, events.length);
});
