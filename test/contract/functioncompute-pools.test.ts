import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { HEADER, HTTP_TRIGGER, isolated, openEngine, trusted } from "#support/engine.ts";
import { invalid, refused } from "#support/fc-answers.ts";
import { plainMaker } from "#support/plain-maker.ts";
import { tempDir } from "#support/temp.ts";
import { until } from "#support/until.ts";

type Opened = Awaited<ReturnType<typeof openEngine>>;

const upTo = (maxInstances: number, minInstances = 0) => ({
  minInstances,
  horizontalScalingPolicies: [{ name: "prepared", metricType: "ProvisionedConcurrencyUtilization", minInstances, maxInstances }],
});

/** A function with so many instances prepared. */
async function prepare(e: Opened, name: string, minInstances: number, changes: Record<string, unknown> = {}): Promise<void> {
  await e.client.createFunction(isolated(name, changes));
  await e.client.putScaling(name, { minInstances });
  await full(e, name, minInstances);
}

async function full(e: Opened, name: string, ready: number): Promise<void> {
  await until(`${ready} are ready`, async () => (await e.client.getScaling(name)).body.currentInstances === ready);
}

test("a function's scaling is put, read and deleted", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await assert.rejects(e.client.getScaling("ws"), refused("ScalingConfigNotExists", 404));
  await e.client.putScaling("ws", upTo(4, 1));
  await full(e, "ws", 1);
  const { body, headers } = await e.client.getScaling("ws");
  assert.deepEqual([body.minInstances, body.horizontalScalingPolicies?.[0]?.maxInstances, body.targetInstances], [1, 4, 1]);
  assert.deepEqual(JSON.parse(headers["x-cleanroom-scaling"] ?? ""), { making: 0 });
  await e.client.deleteScaling("ws");
  assert.equal(e.maker.live.size, 0);
  await assert.rejects(e.client.getScaling("ws"), refused("ScalingConfigNotExists", 404));
  await assert.rejects(e.client.getScaling("nope"), refused("FunctionNotFound", 404));
});

test("a scaling that cannot be honoured is refused, and the refusal names the field", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await e.client.createFunction(await trusted("t"));
  await assert.rejects(e.client.putScaling("ws", { minInstances: -1 }), invalid("minInstances"));
  await assert.rejects(e.client.putScaling("ws", { minInstances: 100_000 }), invalid("minInstances"));
  await assert.rejects(e.client.putScaling("ws", { ...upTo(2), minInstances: 3 }), invalid("horizontalScalingPolicies"));
  await assert.rejects(e.client.putScaling("ws", { enableOnDemandScaling: false }), invalid("enableOnDemandScaling"));
  await assert.rejects(e.client.putScaling("ws", { scheduledPolicies: [{ name: "night" }] }), invalid("scheduledPolicies"));
  await assert.rejects(e.client.putScaling("t", { minInstances: 1 }), refused("NotSupported", 501));
});

test("a session is given a prepared instance, which is destroyed with it and replaced by another", async () => {
  await using e = await openEngine();
  await prepare(e, "ws", 2);
  const prepared = new Set(e.maker.live);
  const { body } = await e.client.createSession("ws", { sessionId: "s" });
  assert.ok(prepared.has(body.containerId ?? ""));
  assert.equal((await e.client.listInstances("ws")).body.instances?.[0]?.instanceId, body.containerId);
  await full(e, "ws", 2);
  assert.equal(e.maker.live.size, 3);
  await e.client.deleteSession("ws", "s");
  assert.deepEqual([e.maker.live.size, e.maker.live.has(body.containerId ?? "")], [2, false]);
  const { body: next } = await e.client.createSession("ws", { sessionId: "s" });
  assert.notEqual(next.containerId, body.containerId);
});

test("no two sessions share an instance, however many come at once, and none is refused for an empty pool", async () => {
  await using e = await openEngine();
  await prepare(e, "ws", 3);
  const made = await Promise.all(Array.from({ length: 8 }, () => e.client.createSession("ws", {})));
  const ids = made.map(({ body }) => body.containerId ?? "");
  assert.equal(new Set(ids).size, 8);
  for (const id of ids) assert.ok(e.maker.live.has(id));
});

test("through many lives beside each other no instance serves a second session", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await e.client.putScaling("ws", upTo(4, 2));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  const served: string[] = [];
  const lane = async () => {
    for (let i = 0; i < 6; i += 1) {
      const { sessionId = "", containerId = "" } = (await e.client.createSession("ws", {})).body;
      const seen = (await (await fetch(`${url}/headers`, { headers: { [HEADER]: sessionId } })).json()) as { env: Record<string, string> };
      assert.equal(seen.env["FC_INSTANCE_ID"], containerId);
      served.push(containerId);
      await e.client.deleteSession("ws", sessionId);
      assert.ok(!e.maker.live.has(containerId));
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  assert.equal(new Set(served).size, 24);
});

test("demand raises a pool up to its bound", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await e.client.putScaling("ws", upTo(3));
  assert.equal((await e.client.getScaling("ws")).body.currentInstances, 0);
  await Promise.all(Array.from({ length: 5 }, () => e.client.createSession("ws", {})));
  await full(e, "ws", 3);
  assert.equal((await e.client.getScaling("ws")).body.targetInstances, 3);
});

test("a session that comes while one is made is given that one", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await e.client.putScaling("ws", { minInstances: 1 });
  await until("one is begun", () => e.maker.made.length === 1);
  const { body } = await e.client.createSession("ws", {});
  assert.equal(body.containerId, e.maker.made[0]);
});

test("a prepared instance that falls is replaced", async () => {
  await using e = await openEngine();
  await prepare(e, "ws", 1);
  const [first = ""] = e.maker.live;
  await e.maker.fall(first);
  await until("another is there", async () => !e.maker.live.has(first) && (await e.client.getScaling("ws")).body.currentInstances === 1);
  assert.equal(e.events.find(({ name }) => name === "prepared_lost")?.facts["instance"], first);
});

test("a change of the function replaces what was prepared of it; a change of its quota does not", async () => {
  await using e = await openEngine();
  await prepare(e, "ws", 2, { environmentVariables: { AGE: "old" } });
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  const before = e.maker.live;
  await e.client.putConcurrency("ws", 10);
  await e.client.updateFunction("ws", { environmentVariables: { AGE: "new" } });
  // At once: nothing of the old one may be handed out from here on.
  await e.client.createSession("ws", { sessionId: "s" });
  const seen = (await (await fetch(`${url}/headers`, { headers: { [HEADER]: "s" } })).json()) as { env: Record<string, string> };
  assert.equal(seen.env["AGE"], "new");
  await full(e, "ws", 2);
  await until("the old ones are gone", () => [...before].every((id) => !e.maker.live.has(id)));
});

test("a prepared instance does not wait for ever", async () => {
  await using e = await openEngine({ limits: { preparedForMs: 200 } });
  await e.client.createFunction(isolated("ws"));
  await e.client.putScaling("ws", { minInstances: 1 });
  await until("two followed the first", () => e.maker.made.length >= 3);
  assert.ok(!e.maker.live.has(e.maker.made[0] ?? ""));
});

test("a function that is deleted takes its prepared instances along", async () => {
  await using e = await openEngine();
  await prepare(e, "ws", 2);
  await e.client.deleteFunction("ws");
  assert.equal(e.maker.live.size, 0);
  await e.client.createFunction(isolated("ws"));
  await assert.rejects(e.client.getScaling("ws"), refused("ScalingConfigNotExists", 404));
});

test("prepared instances make room for sessions, and count against no quota", async () => {
  await using e = await openEngine({ limits: { instances: 3 } });
  await prepare(e, "idle", 2);
  await e.client.createFunction(isolated("ws"));
  const sessions = await Promise.all([1, 2, 3].map(() => e.client.createSession("ws", {})));
  assert.equal(sessions.length, 3);
  await until("the prepared ones are gone", () => e.maker.live.size === 3);
  await assert.rejects(e.client.createSession("ws", {}), refused("ResourceExhausted", 429));
  await e.client.deleteSession("ws", sessions[0]?.body.sessionId ?? "");
  await e.client.putScaling("idle", { minInstances: 2 });
  await full(e, "idle", 1);
});

test("nothing is prepared beyond what a function may have, and nothing without memory left", async () => {
  let memoryLeft = 1 << 30;
  await using e = await openEngine({ memoryLeft: () => memoryLeft });
  await e.client.createFunction(isolated("ws"));
  await e.client.putConcurrency("ws", 1);
  await e.client.putScaling("ws", { minInstances: 2 });
  await full(e, "ws", 1);
  memoryLeft = -(1 << 30);
  await e.client.putScaling("ws", { minInstances: 2 });
  await full(e, "ws", 0);
  assert.equal(e.maker.made.length, 1);
});

test("what cannot be prepared is tried again later and later, and says why", async () => {
  await using e = await openEngine({ limits: { readyMs: 100 } });
  await e.client.createFunction(isolated("ws", { customContainerConfig: { image: "i", healthCheckConfig: { httpGetUrl: "/hang" } } }));
  await e.client.putScaling("ws", { minInstances: 1 });
  const retries = () => e.events.filter(({ name }) => name === "prepare_failed").map(({ facts }) => facts["retryInMs"]);
  await until("it failed twice", () => retries().length === 2);
  assert.deepEqual(retries(), [1000, 2000]);
  assert.match((await e.client.getScaling("ws")).body.currentError ?? "", /did not become ready/);
  assert.equal(e.maker.live.size, 0);
});

test("an engine that ends leaves no prepared instance, and the next one prepares them again", async () => {
  await using data = await tempDir();
  await using maker = plainMaker(join(data.path, "run"));
  {
    await using e = await openEngine({ dataDir: data.path, maker });
    await prepare(e, "ws", 2);
    assert.equal(maker.live.size, 2);
  }
  assert.equal(maker.live.size, 0);
  await using e = await openEngine({ dataDir: data.path });
  await full(e, "ws", 2);
});
