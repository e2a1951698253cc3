import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { Problem, problemFrom } from "#contract/problem.ts";
import type { Passage } from "#core/ports.ts";
import { pauseSandbox, resumeSandbox } from "#core/pauses.ts";
import { withLastWord } from "#core/last-word.ts";
import type { SandboxRow } from "#core/sandbox-rows.ts";
import { createSandbox, endSandbox, getSandbox, requestSandbox, updateSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { createTemplate } from "#core/templates.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const MINUTE_MS = 60_000;
const SEEDS = Array.from({ length: 100 }, (_value, at) => at + 1);
const get = (): Passage => new Request("http://sandbox/contexts");
const sized = (): Passage => new Request("http://sandbox/x", { method: "POST", body: "{}", headers: { "content-length": "2" } });
const post = (): Passage => new Request("http://sandbox/contexts/execute", { method: "POST", body: "{}" });

/** A core with one sandbox, of a template with this policy. */
async function openBox(policy: { autoPause?: boolean; autoResume?: boolean } = {}): Promise<Core> {
  const core = openCore();
  await createTemplate(core.platform, LIMITS, ONE, { name: "mine", type: "CodeInterpreter", ...policy });
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", template: "mine", idleTimeoutMs: 10 * MINUTE_MS }));
  return core;
}

const read = (core: Core) => getSandbox(core.platform, ONE, "mine-1");
const pause = (core: Core) => pauseSandbox(core.platform, ONE, "mine-1");
const resume = (core: Core) => resumeSandbox(core.platform, ONE, "mine-1");
const session = (core: Core) => core.engine.sessions.get("p1_mine-1");
const operations = (core: Core): string[] => {
  const seen: string[] = [];
  core.engine.before = (operation) => void seen.push(operation);
  return seen;
};

async function dueKeys(core: Core): Promise<string[]> {
  return (await core.tables.range("due", "", { limit: 10 })).map(({ key }) => key);
}

test("row and session are paused together, and together they go on", async () => {
  const core = await openBox();
  const paused = await pause(core);
  assert.deepEqual([paused.state, session(core)?.paused], ["paused", true]);
  assert.equal((await pause(core)).state, "paused");
  const resumed = await resume(core);
  assert.deepEqual([resumed.state, resumed.pausedAt, session(core)?.paused], ["ready", undefined, undefined]);
  assert.equal((await resume(core)).state, "ready");
  assert.equal((await dueKeys(core)).length, 1, "one due moment");
});

test("what is being made, or has ended, can be neither paused nor resumed", async () => {
  const core = await openBox();
  await endSandbox(core.platform, ONE, "mine-1", "deleted");
  await assert.rejects(pause(core), isProblem("sandbox_ended"));
  await assert.rejects(resume(core), isProblem("sandbox_ended"));
  await assert.rejects(pauseSandbox(core.platform, projectOf("p2"), "mine-1"), isProblem("sandbox_not_found"));
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  core.engine.before = (operation) => (operation === "start" ? held : undefined);
  const making = createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-2" }));
  while (!(await core.tables.get("sandboxes", "p1/mine-2"))) await new Promise(setImmediate);
  await assert.rejects(pauseSandbox(core.platform, ONE, "mine-2"), isProblem("sandbox_not_ready"));
  release();
  await making;
});

test("a request wakes a paused sandbox, once for all that come together", async () => {
  const core = await openBox();
  await pause(core);
  const seen = operations(core);
  const answers = await Promise.all(Array.from({ length: 100 }, () => requestSandbox(core.platform, ONE, "mine-1", post())));
  assert.ok(answers.every(({ status }) => status === 200));
  assert.equal(seen.filter((operation) => operation === "resume").length, 1);
  assert.equal((await read(core)).state, "ready");
});

test("without a wake by requests, one is refused and says what to do", async () => {
  const core = await openBox({ autoResume: false });
  await pause(core);
  const refused = await requestSandbox(core.platform, ONE, "mine-1", get()).catch((error: unknown) => error);
  assert.ok(refused instanceof Problem && refused.code === "sandbox_not_ready");
  assert.match(refused.next, /\/api\/sandboxes\/mine-1\/resume/);
  assert.equal(session(core)?.paused, true);
});

test("a sandbox that was paused behind a remembered row is woken; what has a body is not sent twice", async () => {
  const core = await openBox();
  await requestSandbox(core.platform, ONE, "mine-1", get());
  Object.assign(session(core) ?? {}, { paused: true });
  assert.equal((await requestSandbox(core.platform, ONE, "mine-1", get())).status, 200);
  Object.assign(session(core) ?? {}, { paused: true });
  await assert.rejects(requestSandbox(core.platform, ONE, "mine-1", post()), isProblem("sandbox_not_ready"));
  assert.equal((await requestSandbox(core.platform, ONE, "mine-1", post())).status, 200);
});

test("an idle sandbox is paused where its template says so, and its idle time begins anew when it is resumed", async () => {
  const core = await openBox({ autoPause: true });
  core.engine.workspace = () => Response.json({ busy: false, idleMs: 24 * 60 * MINUTE_MS });
  core.clock.advance(11 * MINUTE_MS);
  assert.equal((await sweep(core.platform, LIMITS)).paused, 1);
  assert.equal((await read(core)).state, "paused");
  core.clock.advance(60 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await read(core)).state, "paused", "a paused sandbox is not idle");
  await resume(core);
  core.clock.advance(9 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await read(core)).state, "ready");
  core.clock.advance(2 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await read(core)).state, "paused");
});

test("one that is used just as it is about to be paused for being idle stays awake", async () => {
  const core = await openBox({ autoPause: true });
  let asked = 0;
  core.engine.workspace = () => Response.json({ busy: (asked += 1) > 1, idleMs: 24 * 60 * MINUTE_MS });
  core.clock.advance(11 * MINUTE_MS);
  const seen = operations(core);
  await sweep(core.platform, LIMITS);
  assert.equal((await read(core)).state, "ready");
  assert.ok(!seen.includes("pause"));
});

test("a paused life ends at its end, and who resumes after it is told", async () => {
  const core = await openBox();
  await pause(core);
  core.clock.advance(LIMITS.lifeMaxMs + 1);
  await assert.rejects(resume(core), isProblem("sandbox_ended"));
  assert.equal((await read(core)).endReason, "lifetime");
  assert.deepEqual(core.engine.living, []);
});

test("a paused sandbox whose session is gone has ended with the engine's reason", async () => {
  const core = await openBox();
  await pause(core);
  core.engine.end("p1_mine-1", "engine_restarted");
  await assert.rejects(requestSandbox(core.platform, ONE, "mine-1", get()), isProblem("sandbox_ended"));
  assert.equal((await read(core)).endReason, "engine_restarted");
});

test("a request that comes while it is being paused waits until that is so, and is answered", async () => {
  for (const passage of [get, post]) {
    const core = await openBox();
    const [reached, release] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const seen: string[] = [];
    core.engine.before = async (operation) => {
      seen.push(operation);
      if (operation !== "pause") return;
      reached.resolve();
      await release.promise;
    };
    const pausing = pause(core);
    await reached.promise;
    const answered = requestSandbox(core.platform, ONE, "mine-1", passage());
    for (let turns = 0; turns < 20; turns += 1) await new Promise(setImmediate);
    release.resolve();
    assert.equal((await answered).status, 200);
    await pausing;
    assert.deepEqual(seen, ["pause", "paused", "resume", "resumed", "request"], "nothing goes in that the pause would cut");
    assert.deepEqual([(await read(core)).state, session(core)?.paused], ["ready", undefined]);
  }
});

test("who died while it paused a sandbox is waited for no longer than that takes", async () => {
  const core = await openBox();
  const row = (await core.tables.get<SandboxRow>("sandboxes", "p1/mine-1")) ?? assert.fail();
  const pausedAtMs = core.clock.now();
  await core.tables.put("sandboxes", row.key, { ...row.value, state: "paused", settling: true, pausedAtMs });
  core.clock.advance(5000);
  assert.equal((await requestSandbox(core.platform, ONE, "mine-1", post())).status, 200);
  assert.equal((await read(core)).state, "ready");
});

test("a request that is met by the pause of an idle sandbox is sent again, body and all", async () => {
  const core = await openBox({ autoPause: true });
  const bodies: string[] = [];
  core.engine.workspace = async ({ body }) => {
    bodies.push(body ? Buffer.concat(await Array.fromAsync(body as AsyncIterable<Uint8Array>)).toString() : "");
    return Response.json({});
  };
  core.clock.advance(10 * MINUTE_MS);
  Object.assign(session(core) ?? {}, { paused: true });
  assert.equal((await requestSandbox(core.platform, ONE, "mine-1", sized())).status, 200);
  assert.deepEqual(bodies, ["{}"]);
  core.clock.advance(10 * MINUTE_MS);
  Object.assign(session(core) ?? {}, { paused: true });
  await assert.rejects(requestSandbox(core.platform, ONE, "mine-1", post()), isProblem("sandbox_not_ready"), "of unknown length");
});

test("a pause that the engine cannot do is taken back", async () => {
  const core = await openBox();
  core.engine.before = (operation) => {
    if (operation === "pause") throw new Problem("engine_unavailable");
  };
  await assert.rejects(pause(core), isProblem("engine_unavailable"));
  assert.equal((await read(core)).state, "ready");
});

test("while it is paused it is changed by nobody but who ends or resumes it", async () => {
  const core = await openBox();
  await pause(core);
  await assert.rejects(updateSandbox(core.platform, LIMITS, ONE, "mine-1", { name: "n" }), isProblem("sandbox_not_ready"));
  assert.equal((await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", template: "mine" }))).sandbox.state, "paused");
  assert.equal((await endSandbox(core.platform, ONE, "mine-1", "deleted")).state, "ended");
  assert.deepEqual(core.engine.living, []);
});

for (const [name, act] of [
  ["a pause", pause],
  ["a resume", resume],
] as const) {
  test(`whatever step of ${name} a process dies at, the sweep makes row and session agree`, async () => {
    let step = 1;
    for (; ; step += 1) {
      const core = await openBox();
      if (act === resume) await pause(core);
      let steps = 0;
      const die = () => {
        steps += 1;
        if (steps >= step) throw new Error("the process is dead");
      };
      core.tables.before = die;
      core.engine.before = die;
      await act(core).catch(() => {});
      core.tables.before = () => {};
      core.engine.before = () => {};
      core.engine.workspace = () => Response.json({ busy: true, idleMs: 0 });
      core.clock.advance(2 * MINUTE_MS);
      await sweep(core.platform, LIMITS);
      const { state } = await read(core);
      assert.deepEqual([state === "paused", session(core)?.live], [session(core)?.paused ?? false, true], `died at step ${step}`);
      core.clock.advance(LIMITS.lifeMaxMs);
      for (let run = 0; run < 2; run += 1) await sweep(core.platform, LIMITS);
      assert.equal((await read(core)).endReason, "lifetime", `died at step ${step}`);
      assert.deepEqual(await dueKeys(core), [], `died at step ${step}`);
      if (steps < step) break;
    }
    assert.ok(step > 4, `${name} has ${step} steps`);
  });
}

test("in whatever order pauses and resumes meet, however late the engine hears of each, row and session agree in the end", async () => {
  const ends = { paused: 0, ready: 0 };
  for (const seed of SEEDS) {
    const core = await openBox();
    if (seed % 2) await pause(core);
    shuffle(core, seed);
    const turns = core.engine.before;
    // What reaches the engine long after it was decided is what could undo the last word.
    core.engine.before = async (operation, ref) => {
      for (let late = (seed * operation.length) % 7; late > 0; late -= 1) await turns(operation, ref);
    };
    const acts = seed % 3 ? [resume, pause] : [resume, pause, pause, resume, resume];
    await Promise.allSettled(acts.map((act) => act(core)));
    const { state } = await read(core);
    assert.equal(session(core)?.paused ?? false, state === "paused", `seed ${seed}: the row says ${state}`);
    ends[state as "paused" | "ready"] += 1;
  }
  assert.ok(ends.paused > 0 && ends.ready > 0, JSON.stringify(ends));
});

test("requests, sweeps and an ending may come between", async () => {
  for (const seed of SEEDS) {
    const core = await openBox();
    core.engine.workspace = () => Response.json({ busy: true, idleMs: 0 });
    shuffle(core, seed);
    const request = () => requestSandbox(core.platform, ONE, "mine-1", get());
    const look = () => sweep(core.platform, LIMITS);
    await Promise.allSettled([pause, resume, request, pause, look, resume, pause, request, look].map((act) => act(core)));
    const { state } = await read(core);
    assert.equal(session(core)?.paused ?? false, state === "paused", `seed ${seed}: the row says ${state}`);
    await Promise.allSettled([pause(core), endSandbox(core.platform, ONE, "mine-1", "deleted"), resume(core)]);
    assert.deepEqual([(await read(core)).state, session(core)?.live], ["ended", false], `seed ${seed}`);
  }
});

/** A stream of these chunks that then breaks, and what its reader gets of it. */
async function broken(contentType: string, ...chunks: string[]): Promise<string | Error> {
  const body = Readable.from(
    (function* () {
      yield* chunks;
      throw new Error("cut");
    })(),
    { objectMode: false },
  );
  const headers = new Headers({ "content-type": contentType });
  const passed = withLastWord({ status: 200, headers, body }, "r-1", async () => new Problem("sandbox_ended", { reason: "oom" }));
  let heard = "";
  try {
    for await (const chunk of passed.body as Readable) heard += String(chunk);
    return heard;
  } catch (error) {
    return error as Error;
  }
}

test("a stream of events that breaks between two of them says why; anything else is cut", async () => {
  const whole = await broken("text/event-stream; charset=utf-8", "data: 1\n", "\n");
  const [first, event, data = ""] = String(whole)
    .split("\n")
    .filter((line) => line !== "");
  assert.deepEqual([first, event], ["data: 1", "event: error"]);
  const said = problemFrom(JSON.parse(data.slice("data: ".length)));
  assert.deepEqual([said?.code, said?.facts["reason"]], ["sandbox_ended", "oom"]);
  assert.ok((await broken("text/event-stream", "data: 1\n\n", "data: ha")) instanceof Error);
  assert.ok((await broken("application/octet-stream", "data: 1\n\n")) instanceof Error);
});
