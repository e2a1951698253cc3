import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { Job } from "#contract/job.ts";
import { createQueue } from "#infra/local/stores/queue.ts";
import { makeBox } from "#support/box.ts";
import { type Door, newTenant, startDoor } from "#support/door.ts";
import { functionPid } from "#support/processes.ts";
import { until } from "#support/until.ts";

const QUEUE = "cleanroom-jobs";
const WORKER = "cleanroom-worker";
const REDELIVERED_MS = 60_000;

/** The queue that the engine hands to the worker, as another process sends to it. */
function openJobs(door: Door) {
  const queue = createQueue(join(door.dataDir, "queue.db"), { maxAttempts: 5, now: Date.now });
  const db = new DatabaseSync(join(door.dataDir, "queue.db"), { readOnly: true });
  const rows = () => db.prepare("SELECT id, attempts, dead FROM messages WHERE queue = ?").all(QUEUE);
  return {
    send: (job: Job | object) => queue.send(QUEUE, JSON.stringify(job)),
    waiting: () => rows().filter(({ dead }) => dead === 0).length,
    attempts: (id: string) => Number(rows().find((row) => row["id"] === id)?.["attempts"] ?? 0),
    deadLetters: () => queue.deadLetters(QUEUE, 10),
    async [Symbol.asyncDispose]() {
      db.close();
      await queue[Symbol.asyncDispose]();
    },
  };
}

test("a job of the queue is done, once, however often it comes", async () => {
  await using door = await startDoor();
  await using jobs = openJobs(door);
  const tenant = await newTenant(door);
  const box = await makeBox(tenant);
  const job: Job = { type: "end_sandbox", projectId: tenant.projectId, sandboxId: box.id, reason: "stopped" };
  await Promise.all(Array.from({ length: 8 }, () => jobs.send(job)));
  await until("all messages are gone", () => jobs.waiting() === 0);
  const { state, endReason, endedAt } = await box.read();
  assert.deepEqual([state, endReason], ["ended", "stopped"]);
  await jobs.send({ ...job, reason: "idle" });
  await until("it is gone", () => jobs.waiting() === 0);
  assert.partialDeepStrictEqual(await box.read(), { endReason: "stopped", endedAt });
});

test("a worker killed in the middle of a job: the job is done by the next delivery", async () => {
  await using door = await startDoor();
  await using jobs = openJobs(door);
  const tenant = await newTenant(door);
  const box = await makeBox(tenant);
  const first = functionPid(door, WORKER);
  // Stopped, it takes the job and does not get on with it.
  process.kill(first, "SIGSTOP");
  const id = await jobs.send({ type: "end_sandbox", projectId: tenant.projectId, sandboxId: box.id, reason: "stopped" });
  await until("the job is handed out", () => jobs.attempts(id) === 1);
  assert.equal((await box.read()).state, "ready");
  process.kill(first, "SIGKILL");
  await until("the job is done", async () => (await box.read()).state === "ended", REDELIVERED_MS);
  assert.equal((await box.read()).endReason, "stopped");
  await until("the message is gone", () => jobs.waiting() === 0);
  assert.deepEqual(await jobs.deadLetters(), []);
  const second = functionPid(door, WORKER);
  assert.ok(second > 0 && second !== first, "another process does the work now");
});

test("a worker killed again and again keeps no sandbox from its end", async () => {
  await using door = await startDoor();
  const tenant = await newTenant(door);
  const box = await makeBox(tenant, { idleTimeoutMs: 2000 });
  for (let count = 0; count < 3; count += 1) {
    const pid = functionPid(door, WORKER);
    process.kill(pid, "SIGKILL");
    await until("another one works", () => ![pid, 0].includes(functionPid(door, WORKER)), REDELIVERED_MS);
  }
  await until("it has ended", async () => (await box.read()).state === "ended", REDELIVERED_MS);
  assert.equal((await box.read()).endReason, "idle");
});

test("what can never be done ends among the dead letters, and takes nothing along that came with it", async () => {
  await using door = await startDoor();
  await using jobs = openJobs(door);
  const tenant = await newTenant(door);
  const box = await makeBox(tenant);
  const poison = await jobs.send({ type: "mine_coins" });
  await jobs.send({ type: "end_sandbox", projectId: tenant.projectId, sandboxId: box.id, reason: "stopped" });
  await until("the good job is done", async () => (await box.read()).state === "ended");
  await until("nothing waits any more", () => jobs.waiting() === 0, REDELIVERED_MS);
  const dead = await jobs.deadLetters();
  assert.ok(
    dead.some((letter) => letter.id === poison && letter.attempts === 5),
    JSON.stringify(dead),
  );
});
