import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineRef } from "#core/ports.ts";
import { createFcEngine } from "#infra/aliyun/engine.ts";
import { createFcClient } from "#infra/aliyun/fc.ts";
import { HTTP_TRIGGER, isolated, KEY, openEngine } from "#support/engine.ts";
import { FakeEngine } from "#support/fake-engine.ts";
import { isProblem } from "#support/problem.ts";
import { enginePauseSuite } from "./engine-pause.suite.ts";
import { until } from "#support/until.ts";

const NO_POOL = { minPrepared: 0, maxPrepared: 0 };
const LIFE = { lifetimeMs: 600_000, idleTimeoutMs: 600_000 };
const at = (path: string, init?: RequestInit) => new Request(`http://workspace${path}`, init);

const ref = (sessionId: string): EngineRef => ({ functionName: "workspace", sessionId });

/** The port over Function Compute's client, against our engine with instances that are not isolated. */
async function openPort() {
  const fc = await openEngine();
  await fc.client.createFunction(isolated("workspace"));
  await fc.client.createTrigger("workspace", HTTP_TRIGGER);
  const engine = createFcEngine({ client: fc.client, workspaceFunction: "workspace", sessionMaxMs: 21_600_000 });
  return {
    fc,
    engine,
    async [Symbol.asyncDispose]() {
      engine[Symbol.dispose]();
      await fc[Symbol.asyncDispose]();
    },
  };
}

test("starting twice is one session, stopping twice is one stop, and an id is used once", async () => {
  await using port = await openPort();
  const { engine } = port;
  const box = ref("p1_a");
  await engine.start(box, LIFE);
  const pid = await (await engine.request(box, at("/pid"))).text();
  await engine.start(box, LIFE);
  assert.equal(await (await engine.request(box, at("/pid"))).text(), pid);
  assert.deepEqual(await engine.list("workspace"), [box]);
  assert.equal((await engine.facts(box))?.live, true);
  await engine.stop(box);
  await engine.stop(box);
  await engine.stop(ref("never"));
  const gone = await engine.facts(box);
  assert.deepEqual([gone?.live, gone?.endReason], [false, "deleted"]);
  assert.deepEqual(await engine.list("workspace"), []);
  assert.equal(await engine.facts(ref("never")), undefined);
  await assert.rejects(engine.start(box, LIFE), isProblem("already_exists"));
  await assert.rejects(engine.request(box, at("/pid")), isProblem("sandbox_lost"));
});

test("how instances are isolated is the engine's own word, asked for once; without one it is the platform's", async () => {
  await using port = await openPort();
  const { engine, fc } = port;
  assert.equal((await engine.isolation()).strength, "weak", "the stand-in of this test seals nothing");
  assert.equal(await engine.isolation(), await engine.isolation());
  // Function Compute's answer has no such header.
  const silent = { ...fc.client, listFunctions: async () => ({ body: {} as never, headers: {} }) };
  using cloud = createFcEngine({ client: silent, workspaceFunction: "workspace", sessionMaxMs: 21_600_000 });
  const { strength, layers } = await cloud.isolation();
  assert.deepEqual([strength, layers.length, layers[0]?.on], ["platform", 1, true]);
  let calls = 0;
  const failing = {
    ...fc.client,
    listFunctions: () => ((calls += 1) === 1 ? Promise.reject(new Error("not now")) : fc.client.listFunctions()),
  };
  using late = createFcEngine({ client: failing, workspaceFunction: "workspace", sessionMaxMs: 21_600_000 });
  await assert.rejects(late.isolation());
  assert.equal((await late.isolation()).strength, "weak", "a failure is not remembered");
});

test("a request travels whole, both ways", async () => {
  await using port = await openPort();
  const { engine } = port;
  const box = ref("p1_a");
  await engine.start(box, LIFE);
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const large = Buffer.concat(Array.from({ length: 100 }, () => bytes));
  for (const body of [bytes, large]) {
    const answer = await engine.request(box, at("/echo", { method: "POST", body: new Blob([body]) }));
    assert.equal(answer.headers.get("x-own"), "yes");
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(Buffer.from(body)));
  }
  const seen = (await (await engine.request(box, at("/headers?a=%2F&b=1", { headers: { "x-task": "1" } }))).json()) as {
    headers: Record<string, string>;
    url: string;
  };
  assert.equal(seen.url, "/headers?a=%2F&b=1");
  assert.equal(seen.headers["x-task"], "1");
  const missing = await engine.request(box, at("/nowhere"));
  assert.equal(missing.status, 404, "the workspace's own 404 is an answer, not a lost sandbox");
});

test("an answer streams as it comes, a reader that stops stops the sender, and an abort reaches the instance", async () => {
  await using port = await openPort();
  const { engine } = port;
  const box = ref("p1_a");
  await engine.start(box, LIFE);
  const streaming = await engine.request(box, at("/stream"));
  const reader = (streaming.body ?? assert.fail()).getReader();
  assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), "first\n");
  await engine.request(box, at("/release"));
  assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), "last\n");

  const flood = await engine.request(box, at("/flood"));
  const flooded = (flood.body ?? assert.fail()).getReader();
  await flooded.read();
  const sent = async () => Number(await (await engine.request(box, at("/sent"))).text());
  let before = -1;
  for (let now = await sent(); now !== before; now = await sent()) before = now;
  assert.ok(before < 64 << 20, `${before} bytes were sent to a reader that does not read`);
  await flooded.cancel();

  const caller = new AbortController();
  const hanging = engine.request(box, at("/hang"), caller.signal);
  setImmediate(() => caller.abort());
  await assert.rejects(hanging, { name: "AbortError" });
});

test("an instance that falls over says so, to who waits and to who asks", async () => {
  await using port = await openPort();
  const { engine } = port;
  const box = ref("p1_a");
  await engine.start(box, LIFE);
  await assert.rejects(engine.request(box, at("/crash")), isProblem("sandbox_lost"));
  let facts = await engine.facts(box);
  for (const deadline = Date.now() + 5000; facts?.live && Date.now() < deadline;) facts = await engine.facts(box);
  assert.deepEqual([facts?.live, facts?.endReason], [false, "crashed"]);
});

test("a template's function is the workspace's with its own size, and goes away with its sessions", async () => {
  await using port = await openPort();
  const { engine, fc } = port;
  const spec = {
    functionName: "workspace-small",
    template: {
      type: "AllInOne" as const,
      cpu: 2,
      memoryMiB: 2000,
      diskMiB: 600,
      scaling: { minPrepared: 1, maxPrepared: 2 },
      browserPages: [],
    },
  };
  await engine.define(spec);
  await engine.define({ ...spec, template: { ...spec.template, cpu: 1 } });
  const { body } = await fc.client.getFunction("workspace-small");
  assert.deepEqual([body.cpu, body.memorySize, body.diskSize, body.instanceIsolationMode], [1, 2048, 10_240, "SESSION_EXCLUSIVE"]);
  assert.equal(body.environmentVariables?.["CLEANROOM_TEMPLATE_TYPE"], "AllInOne");
  await until("one is prepared", async () => (await engine.prepared("workspace-small")).ready === 1);
  assert.deepEqual(await engine.prepared("workspace-small"), { ready: 1, making: 0, wanted: 1 });
  await engine.scale("workspace-small", { minPrepared: 2, maxPrepared: 2 });
  await until("another is prepared", async () => (await engine.prepared("workspace-small")).ready === 2);
  const box = { functionName: "workspace-small", sessionId: "p1_small" };
  await engine.start(box, LIFE);
  assert.equal((await engine.request(box, at("/pid"))).status, 200);
  await engine.undefine("workspace-small");
  await engine.undefine("workspace-small");
  assert.deepEqual(await engine.list("workspace-small"), []);
  assert.deepEqual(await engine.prepared("workspace-small"), { ready: 0, making: 0, wanted: 0 });
  assert.equal(fc.maker.live.size, 0);
  await assert.rejects(engine.start({ ...box, sessionId: "p1_next" }, LIFE), isProblem("sandbox_lost"));
});

test("a life can be extended, and what the engine refuses is told in our words", async () => {
  await using port = await openPort();
  const { engine, fc } = port;
  const box = ref("p1_a");
  await engine.start(box, { lifetimeMs: 60_000, idleTimeoutMs: 60_000 });
  await engine.extend(box, { lifetimeMs: 120_000, idleTimeoutMs: 99_999_999 });
  const { body } = await fc.client.getSession("workspace", "p1_a");
  assert.deepEqual([body.sessionTTLInSeconds, body.sessionIdleTimeoutInSeconds], [120, 21_600]);
  await assert.rejects(
    engine.define({
      functionName: "workspace-odd",
      template: { type: "CodeInterpreter", cpu: 8, memoryMiB: 512, diskMiB: 512, scaling: NO_POOL, browserPages: [] },
    }),
    isProblem("invalid_request"),
  );
});

test("an engine that is away is said to be unavailable, not the sandbox lost", async () => {
  const port = await openPort();
  const box = ref("p1_a");
  await port.engine.start(box, LIFE);
  await port.engine.request(box, at("/pid"));
  await port.fc[Symbol.asyncDispose]();
  using away = createFcEngine({
    client: createFcClient({ endpoint: port.fc.origin, ...KEY }),
    workspaceFunction: "workspace",
    sessionMaxMs: 1000,
  });
  assert.equal(await away.ping(), false);
  await assert.rejects(away.facts(box), isProblem("engine_unavailable"));
  await assert.rejects(port.engine.request(box, at("/pid")), isProblem("engine_unavailable"));
  port.engine[Symbol.dispose]();
});

enginePauseSuite("Function Compute's client", openPort);
enginePauseSuite("the engine of unit tests", async () => ({ engine: new FakeEngine(), async [Symbol.asyncDispose]() {} }));

test("what a pause cuts is lost to who waits for it, and a paused life cannot be extended", async () => {
  await using port = await openPort();
  const { engine } = port;
  const box = ref("p1_a");
  await engine.start(box, LIFE);
  const cut = assert.rejects(engine.request(box, at("/hang")), isProblem("sandbox_lost"));
  await until("it is under way", async () => Number(await (await engine.request(box, at("/hanging"))).text()) === 1);
  await engine.pause(box);
  await cut;
  await assert.rejects(engine.extend(box, LIFE), isProblem("sandbox_not_ready"));
});
