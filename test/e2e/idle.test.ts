import assert from "node:assert/strict";
import { after, test } from "node:test";
import { readActivity } from "#contract/workspace.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

// The server under test sweeps each second and lets idle times be as short as one.
const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

test("a sandbox that nobody uses ends as idle, and its next request says so", async () => {
  await using box = await makeBox(tenant, { idleTimeoutMs: 1000 });
  await until("it has ended", async () => (await box.read()).state === "ended");
  assert.equal((await box.read()).endReason, "idle");
  const problem = await refused(box.inside("GET", "/contexts"), "sandbox_ended");
  assert.equal(problem.details["reason"], "idle");
});

test("work in the background is use: it keeps a sandbox alive, and its end lets it go", async () => {
  await using box = await makeBox(tenant, { idleTimeoutMs: 1000 });
  const startedAtMs = Date.now();
  const { processId } = await box.command("sleep 4", { background: true });
  assert.match(processId, /^\d+$/);
  // Reading a sandbox asks the engine and not the workspace, so it is no use.
  await until("the work has gone on for long", async () => {
    assert.equal((await box.read()).state, "ready");
    return Date.now() > startedAtMs + 3500;
  });
  await until("it has ended", async () => (await box.read()).state === "ended");
  assert.equal((await box.read()).endReason, "idle");
});

test("the workspace says itself whether anything runs, and being asked is no use of it", async () => {
  await using box = await makeBox(tenant);
  const activity = async () => readActivity.returns.parse(await (await box.inside("GET", "/activity")).json());
  const { processId } = await box.command("sleep 600", { background: true });
  assert.partialDeepStrictEqual(await activity(), { busy: true });
  assert.equal((await box.inside("DELETE", `/processes/${processId}`)).status, 200);
  await until("it rests, and goes on resting while it is asked", async () => {
    const { busy, idleMs } = await activity();
    return !busy && idleMs > 500;
  });
});

async function outlives(use: (box: Box) => Promise<string>): Promise<void> {
  await using box = await makeBox(tenant, { idleTimeoutMs: 5000 });
  assert.equal(await use(box), "done\n");
}

test("code that runs and an open stream of output are use", async () => {
  // Longer than their idle time, which is itself longer than a busy machine takes to begin the work.
  const work = "import time; time.sleep(9); print('done')";
  const streamed = async (box: Box) => {
    const events = await box.inside("POST", "/contexts/execute", { code: work }, { accept: "text/event-stream" });
    return /done\\n/.test(await events.text()) ? "done\n" : "";
  };
  await Promise.all([outlives(async (box) => (await box.execute(work)).stdout), outlives(streamed)]);
});

test("a longer idle time holds from the moment it is set", async () => {
  await using box = await makeBox(tenant, { idleTimeoutMs: 2000 });
  await tenant.json("PATCH", `/api/sandboxes/${box.id}`, { idleTimeoutMs: 600_000 });
  const startedAtMs = Date.now();
  await until("its first idle time is long over", async () => {
    assert.equal((await box.read()).state, "ready");
    return Date.now() > startedAtMs + 4000;
  });
});

test("an idle time outside the operator's bounds is refused by name", async () => {
  for (const idleTimeoutMs of [999, 22_000_000]) {
    const problem = await refused(tenant.send("POST", "/api/sandboxes", { idleTimeoutMs }), "invalid_request");
    assert.match(problem.detail, /idleTimeoutMs/);
  }
});
