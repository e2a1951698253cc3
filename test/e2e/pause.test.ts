import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { after, test } from "node:test";
import { Sandbox as SandboxInfo } from "#contract/sandbox.ts";
import { ProblemBody } from "#contract/problem.ts";
import { readEvents } from "#contract/sse.ts";
import { Sandbox } from "#client/sandbox.ts";
import { type Box, makeBox } from "#support/box.ts";
import { isProblem } from "#support/problem.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

// The server under test sweeps each second and lets idle times be as short as one.
const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
await tenant.json("POST", "/api/templates", { name: "sleeper", autoPause: true, idleTimeoutMs: 1000 }, 201);
await tenant.json("POST", "/api/templates", { name: "stays", autoResume: false }, 201);

const turn = async (box: Box, verb: "pause" | "resume") => SandboxInfo.parse(await tenant.json("POST", `/api/sandboxes/${box.id}/${verb}`));
const state = async (box: Box) => (await box.read()).state;

/** Something inside that counts for as long as it runs. */
const COUNT = `
import threading, time
x, n = 41, 0
def count():
    global n
    while True:
        n += 1
        time.sleep(0.02)
threading.Thread(target=count, daemon=True).start()
`;

test("a paused sandbox stands still with all that it holds, and goes on from there", async () => {
  await using box = await makeBox(tenant);
  await box.execute(COUNT);
  const count = async () => Number((await box.execute("print(n)")).stdout);
  const paused = await turn(box, "pause");
  assert.deepEqual([paused.state, typeof paused.pausedAt], ["paused", "string"]);
  assert.equal((await turn(box, "pause")).state, "paused", "pausing twice is one pause");
  const [first, second] = [await box.read(), await box.read()];
  assert.ok(first.usage && second.usage, "its usage is still told");
  assert.equal(second.usage.cpuMs, first.usage.cpuMs, "nothing in it runs");
  const resumed = await turn(box, "resume");
  assert.deepEqual([resumed.state, resumed.pausedAt, (await turn(box, "resume")).state], ["ready", undefined, "ready"]);
  assert.equal((await box.execute("print(x + 1)")).stdout, "42\n");
  const then = await count();
  await until("the count goes on", async () => (await count()) > then);
});

test("time that it stood still is not time that it was idle", async () => {
  await using box = await makeBox(tenant, { idleTimeoutMs: 2000 });
  await turn(box, "pause");
  const pausedAtMs = Date.now();
  await until("its idle time is long over", async () => {
    assert.equal(await state(box), "paused");
    return Date.now() > pausedAtMs + 4000;
  });
  await turn(box, "resume");
  const resumedAtMs = Date.now();
  await until("it ends as idle", async () => (await state(box)) === "ended");
  assert.equal((await box.read()).endReason, "idle");
  assert.ok(Date.now() >= resumedAtMs + 1900, "it had its idle time again");
});

test("a life ends at its end, paused or not", async () => {
  await using box = await makeBox(tenant, { lifetimeMs: 2000 });
  await turn(box, "pause");
  await until("it has ended", async () => (await state(box)) === "ended");
  assert.equal((await box.read()).endReason, "lifetime");
  await refused(tenant.send("POST", `/api/sandboxes/${box.id}/resume`), "sandbox_ended");
  await refused(tenant.send("POST", `/api/sandboxes/${box.id}/pause`), "sandbox_ended");
});

test("a template can have the idle paused, and the next request wakes it", async () => {
  await using box = await makeBox(tenant, { template: "sleeper" });
  await box.execute("x = 41");
  await until("it is paused", async () => (await state(box)) === "paused");
  // Its row says so before it stands still: what comes just then waits for both, and is answered.
  assert.equal((await box.execute("print(x + 1)")).stdout, "42\n");
  assert.equal(await state(box), "ready");
  await until("it is paused again", async () => (await state(box)) === "paused");
});

/** Asks three times around the moment at which the sweep finds it idle; every answer is right, on whichever side of it this falls. */
async function askAround(at: number): Promise<void> {
  await using box = await makeBox(tenant, { template: "sleeper" });
  await box.execute(`x = ${at}`);
  for (let round = 0; round < 3; round += 1) {
    await delay(950 + ((at * 3 + round) % 12) * 100);
    assert.equal((await box.execute("print(x)")).stdout, `${at}\n`);
  }
}

test("whenever a request comes to a sandbox that is being paused for being idle, it is answered", async () => {
  await Promise.all(Array.from({ length: 8 }, (_, at) => askAround(at)));
});

test("twenty requests at once wake a sandbox together", async () => {
  await using box = await makeBox(tenant);
  await box.execute("x = 1");
  await turn(box, "pause");
  const answers = await Promise.all(Array.from({ length: 20 }, (_, at) => box.execute(`print(x + ${at})`)));
  assert.deepEqual(
    answers.map(({ stdout }) => Number(stdout)),
    answers.map((_, at) => at + 1),
  );
  assert.equal(await state(box), "ready");
});

test("without a wake by requests, a request says what to do", async () => {
  await using box = await makeBox(tenant, { template: "stays" });
  await turn(box, "pause");
  const problem = await refused(box.inside("GET", "/contexts"), "sandbox_not_ready");
  assert.deepEqual([problem.details["state"], problem.next], ["paused", `Resume it: POST /api/sandboxes/${box.id}/resume.`]);
  await refused(tenant.send("PATCH", `/api/sandboxes/${box.id}`, { name: "n" }), "sandbox_not_ready");
  await turn(box, "resume");
  assert.equal((await box.inside("GET", "/contexts")).status, 200);
});

test("what is open when a sandbox is paused ends with a clear word", async () => {
  await using box = await makeBox(tenant);
  const waiting = refused(box.inside("POST", "/processes/cmd", { command: "sleep 60" }), "sandbox_not_ready");
  const stream = await box.inside(
    "POST",
    "/contexts/execute",
    { code: "import time\nprint('begun', flush=True)\ntime.sleep(60)" },
    { accept: "text/event-stream" },
  );
  const events = readEvents(stream.body ?? assert.fail());
  assert.match((await events.next()).value?.data ?? "", /begun/);
  await turn(box, "pause");
  const last = await events.next();
  const problem = ProblemBody.parse(JSON.parse(last.value?.data ?? "null"));
  assert.deepEqual([last.value?.event, problem.code, problem.details["state"]], ["error", "sandbox_not_ready", "paused"]);
  assert.equal(problem.requestId, stream.headers.get("x-request-id"));
  assert.equal((await events.next()).done, true);
  assert.match((await waiting).detail, /was paused while this was under way/);
  assert.equal((await box.execute("print('still here')")).stdout, "still here\n", "what was cut is interrupted");
});

test("the client's words: a stream that a pause ends, a pause and a resume", async () => {
  await using box = await Sandbox.create({ url: door.origin, apiKey: tenant.key.apiKey });
  const begun = Promise.withResolvers<void>();
  const running = box.runCode("import time\nprint('begun', flush=True)\ntime.sleep(60)", { onStdout: () => begun.resolve() });
  await begun.promise;
  const cut = assert.rejects(running, isProblem("sandbox_not_ready"));
  assert.equal((await box.pause()).state, "paused");
  await cut;
  assert.equal((await box.resume()).state, "ready");
});

test("a paused sandbox can be deleted, and keeps its place in the quota until then", async () => {
  const small = await newTenant(door, { sandboxes: 1 });
  const box = await makeBox(small);
  await small.json("POST", `/api/sandboxes/${box.id}/pause`);
  await refused(small.send("POST", "/api/sandboxes", {}), "quota_exceeded");
  assert.equal(SandboxInfo.parse(await small.json("DELETE", `/api/sandboxes/${box.id}`)).endReason, "deleted");
  await using next = await makeBox(small);
  assert.equal(await state(next), "ready");
});

test("the paused are listed by their state, and another's cannot be paused", async () => {
  await using box = await makeBox(tenant);
  await turn(box, "pause");
  const listed = await tenant.json<{ items: { id: string }[] }>("GET", "/api/sandboxes?state=paused");
  assert.ok(listed.items.some(({ id }) => id === box.id));
  const other = await newTenant(door);
  for (const verb of ["pause", "resume"]) await refused(other.send("POST", `/api/sandboxes/${box.id}/${verb}`), "sandbox_not_found");
});
