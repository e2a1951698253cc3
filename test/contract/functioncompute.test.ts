import assert from "node:assert/strict";
import { test } from "node:test";
import { signAcs3 } from "#contract/acs3.ts";
import { dial } from "#support/dial.ts";
import { HEADER, HTTP_TRIGGER, isolated, KEY, openEngine, trusted } from "#support/engine.ts";
import { factsOf, invalid, refused, signedFetch } from "#support/fc-answers.ts";
import { until } from "#support/until.ts";

test("functions: made, read, changed, listed by pages and removed", async () => {
  await using e = await openEngine();
  const made = await e.client.createFunction(isolated("fa", { tags: [{ key: "k", value: "v" }], environmentVariables: { A: "1" } }));
  assert.equal(made.body.functionArn, "acs:fc:cn-hangzhou:1000000000000000:functions/fa");
  assert.equal(made.body.tags?.[0]?.key, "k");
  assert.ok(made.headers["x-fc-request-id"]);
  await e.client.createFunction(isolated("fb"));
  await e.client.createFunction(isolated("other"));
  const first = await e.client.listFunctions({ prefix: "f", limit: 1 });
  assert.deepEqual(
    first.body.functions?.map((it) => it.functionName),
    ["fa"],
  );
  const second = await e.client.listFunctions({ prefix: "f", limit: 1, nextToken: first.body.nextToken ?? "" });
  assert.deepEqual([second.body.functions?.map((it) => it.functionName), second.body.nextToken], [["fb"], undefined]);
  const changed = await e.client.updateFunction("fa", { memorySize: 4096 });
  assert.deepEqual([changed.body.memorySize, changed.body.environmentVariables], [4096, { A: "1" }]);
  await assert.rejects(e.client.createFunction(isolated("fa")), refused("FunctionAlreadyExists", 409));
  await e.client.deleteFunction("fa");
  await assert.rejects(e.client.getFunction("fa"), refused("FunctionNotFound", 404));
  await assert.rejects(e.client.deleteFunction("fa"), refused("FunctionNotFound", 404));
});

test("a function that cannot be honoured is refused, and the refusal names the field", async () => {
  await using e = await openEngine();
  const create = (changes: Record<string, unknown>, affinity?: Record<string, unknown>) =>
    e.client.createFunction(isolated("f", changes, affinity));
  await assert.rejects(create({ memorySize: 1000 }), invalid("memorySize"));
  await assert.rejects(create({ cpu: 1, memorySize: 8192 }), invalid("memorySize"));
  await assert.rejects(create({ diskSize: 2048 }), invalid("diskSize"));
  await assert.rejects(create({ sessionAffinity: "HEADER" }), invalid("sessionAffinity"));
  await assert.rejects(create({ instanceIsolationMode: "SESSION_EXCLUSIV" }), invalid("instanceIsolationMode"));
  await assert.rejects(create({ timeout: 100_000 }), invalid("timeout"));
  await assert.rejects(create({}, { affinityHeaderFieldName: "x-fc-session" }), invalid("affinityHeaderFieldName"));
  await assert.rejects(create({}, { affinityHeaderFieldName: "abc" }), invalid("affinityHeaderFieldName"));
  await assert.rejects(create({}, { sessionTTLInSeconds: 999_999 }), invalid("sessionTTLInSeconds"));
  await assert.rejects(create({}, { sessionTTL: 5 }), invalid("sessionTTL"));
  await assert.rejects(create({ environmentVariables: { FC_X: "1" } }), invalid("FC_"));
  await assert.rejects(create({ environmentVariables: { A: "x".repeat(5000) } }), invalid("4 KB"));
  await assert.rejects(create({ nasConfig: { userId: 1 } }), refused("NotSupported", 501));
  await assert.rejects(create({ runtime: "python3.10" }), invalid("runtime"));
  await assert.rejects(e.client.createFunction(await trusted("t", { code: { zipFile: "bm90IGEgemlw" } })), invalid("zip"));
});

test("only signed calls are answered, and a call is answered once", async () => {
  await using e = await openEngine();
  assert.equal((await fetch(`${e.origin}/2023-03-30/functions`)).status, 403);
  const host = new URL(e.origin).host;
  const headers = signAcs3({ method: "GET", url: "/2023-03-30/functions", headers: { host } }, KEY, Date.now());
  assert.equal((await fetch(`${e.origin}/2023-03-30/functions`, { headers })).status, 200);
  const again = await fetch(`${e.origin}/2023-03-30/functions`, { headers });
  assert.deepEqual([again.status, ((await again.json()) as { Code: string }).Code], [403, "SignatureNotMatch"]);
  assert.ok(again.headers.get("x-fc-request-id"));
});

test("what the engine does not have says so in JSON", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("f"));
  for (const [method, path, status, code] of [
    ["GET", "/2023-03-30/layers", 501, "NotSupported"],
    ["PUT", "/2023-03-30/functions/f/provision-config", 501, "NotSupported"],
    ["PATCH", "/2023-03-30/functions/f", 405, "MethodNotAllowed"],
    ["GET", "/elsewhere", 404, "PathNotSupported"],
    ["POST", "/2023-03-30/functions", 400, "InvalidArgument"],
  ] as const) {
    const answer = await signedFetch(e.origin, method, path, method === "POST" ? "[]" : undefined);
    const body = (await answer.json()) as { Code: string; Message: string; RequestId: string };
    assert.deepEqual([answer.status, body.Code, body.RequestId], [status, code, answer.headers.get("x-fc-request-id")], path);
  }
});

test("a session has an instance of its own from its creation to its end, and its end can be asked about", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws", { environmentVariables: { GREETING: "hello" } }));
  const { body: trigger } = await e.client.createTrigger("ws", HTTP_TRIGGER);
  const url = trigger.httpTrigger?.urlInternet ?? "";
  const made = await e.client.createSession("ws", { sessionId: "one", sessionTTLInSeconds: 300 });
  assert.deepEqual([made.body.sessionStatus, made.body.sessionTTLInSeconds, factsOf(made).isolation.strength], ["Active", 300, "weak"]);
  await e.client.createSession("ws", { sessionId: "two" });
  const pids = await Promise.all(
    ["one", "two", "one"].map(async (id) => (await fetch(`${url}/pid`, { headers: { [HEADER]: id } })).text()),
  );
  assert.equal(pids[0], pids[2]);
  assert.notEqual(pids[0], pids[1]);
  const seen = (await (await fetch(`${url}/headers`, { headers: { [HEADER]: "one" } })).json()) as { env: Record<string, string> };
  assert.deepEqual(seen.env, {
    GREETING: "hello",
    FC_FUNCTION_NAME: "ws",
    FC_INSTANCE_ID: made.body.containerId,
    CLEANROOM_LISTEN_FD: "3",
  });
  assert.ok((factsOf(await e.client.getSession("ws", "one")).usage?.memoryBytes ?? 0) > 0);
  assert.deepEqual((await e.client.listInstances("ws")).body.instances?.length, 2);

  await e.client.deleteSession("ws", "one");
  assert.equal(e.maker.live.size, 1);
  const ended = await e.client.getSession("ws", "one");
  assert.deepEqual([ended.body.sessionStatus, factsOf(ended).endReason], ["Expired", "deleted"]);
  assert.ok((factsOf(ended).usage?.memoryBytes ?? 0) > 0);
  await e.client.deleteSession("ws", "one");
  const gone = await fetch(`${url}/pid`, { headers: { [HEADER]: "one" } });
  assert.deepEqual([gone.status, ((await gone.json()) as { Code: string }).Code], [404, "SessionNotFound"]);
  await assert.rejects(e.client.deleteSession("ws", "never"), refused("SessionNotFound", 404));
  await assert.rejects(e.client.getSession("ws", "never"), refused("SessionNotFound", 404));
  await assert.rejects(e.client.createSession("nope", {}), refused("FunctionNotFound", 404));
});

test("an id names one live session, also when two create it at once", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  const tries = await Promise.allSettled([1, 2, 3].map(() => e.client.createSession("ws", { sessionId: "same" })));
  const refusals = tries.filter((it) => it.status === "rejected");
  assert.equal(refusals.length, 2);
  for (const { reason } of refusals) refused("SessionAlreadyExists", 409)(reason);
  assert.equal(e.maker.live.size, 1);
  await e.client.deleteSession("ws", "same");
  assert.equal((await e.client.createSession("ws", { sessionId: "same" })).body.sessionStatus, "Active");
});

test("an id that may not be used again is refused after its session's end", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws", {}, { disableSessionIdReuse: true }));
  await e.client.createSession("ws", { sessionId: "once" });
  await e.client.deleteSession("ws", "once");
  await assert.rejects(e.client.createSession("ws", { sessionId: "once" }), refused("SessionAlreadyExists", 409));
});

test("sessions are listed by pages and by status", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await Promise.all(["a", "b", "c"].map((sessionId) => e.client.createSession("ws", { sessionId })));
  await e.client.deleteSession("ws", "b");
  const active = await e.client.listSessions("ws", { sessionStatus: "Active", limit: 1 });
  assert.deepEqual(
    active.body.sessions?.map((it) => it.sessionId),
    ["a"],
  );
  const rest = await e.client.listSessions("ws", { sessionStatus: "Active", nextToken: active.body.nextToken ?? "" });
  assert.deepEqual(
    rest.body.sessions?.map((it) => it.sessionId),
    ["c"],
  );
  assert.deepEqual((await e.client.listSessions("ws")).body.sessions?.length, 3);
});

test("a session ends by its lifetime, and by rest when nothing is under way", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  const { body: trigger } = await e.client.createTrigger("ws", HTTP_TRIGGER);
  const url = trigger.httpTrigger?.urlInternet ?? "";
  await e.client.createSession("ws", { sessionId: "short", sessionTTLInSeconds: 1 });
  await e.client.createSession("ws", { sessionId: "resting", sessionIdleTimeoutInSeconds: 1 });
  await e.client.createSession("ws", { sessionId: "busy", sessionIdleTimeoutInSeconds: 1 });
  await e.client.createSession("ws", { sessionId: "dialled", sessionIdleTimeoutInSeconds: 1 });
  const busy = await fetch(`${url}/stream`, { headers: { [HEADER]: "busy" } });
  const line = await dial(`${url}/ws`, { [HEADER]: "dialled" });
  const statusOf = async (id: string) => factsOf(await e.client.getSession("ws", id)).endReason;
  await until("the short one ends", async () => (await statusOf("short")) === "ttl");
  await until("the resting one ends", async () => (await statusOf("resting")) === "idle");
  assert.deepEqual([await statusOf("busy"), await statusOf("dialled")], [undefined, undefined]);
  await busy.body?.cancel();
  line.end();
  await until("the busy one ends after its request", async () => (await statusOf("busy")) === "idle");
  await until("the dialled one ends after its socket", async () => (await statusOf("dialled")) === "idle");
  // A session is over before the last of its instance is gone.
  await until("no instance is left", () => e.maker.live.size === 0);
});

test("a session's times can be changed while it runs, within the engine's bounds", async () => {
  await using e = await openEngine({ limits: { sessionTtlMaxS: 1000 } });
  await e.client.createFunction(isolated("ws"));
  await e.client.createSession("ws", { sessionId: "s", sessionTTLInSeconds: 900 });
  const changed = await e.client.updateSession("ws", "s", { sessionIdleTimeoutInSeconds: 30 });
  assert.deepEqual([changed.body.sessionIdleTimeoutInSeconds, changed.body.sessionTTLInSeconds], [30, 900]);
  await assert.rejects(e.client.updateSession("ws", "s", { sessionTTLInSeconds: 1001 }), refused("InvalidArgument", 400));
  await e.client.updateSession("ws", "s", { sessionTTLInSeconds: 1 });
  await until("the shorter life ends it", async () => factsOf(await e.client.getSession("ws", "s")).endReason === "ttl");
  await assert.rejects(e.client.updateSession("ws", "s", { sessionTTLInSeconds: 900 }), refused("SessionNotFound", 404));
});

test("an instance that falls ends its session with the reason, and those who wait learn it", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  for (const [id, path, reason] of [
    ["a", "/crash", "crashed"],
    ["b", "/oom", "oom"],
  ] as const) {
    await e.client.createSession("ws", { sessionId: id });
    const waiting = fetch(`${url}/hang`, { headers: { [HEADER]: id } });
    const answers = await Promise.all([waiting, fetch(url + path, { headers: { [HEADER]: id } })]);
    for (const answer of answers) assert.deepEqual([answer.status, ((await answer.json()) as { Code: string }).Code], [502, "BadResponse"]);
    await until("the session knows", async () => factsOf(await e.client.getSession("ws", id)).endReason === reason);
  }
  await until("nothing is left", () => e.maker.live.size === 0);
});

test("an instance that never becomes ready fails its creation and leaves nothing", async () => {
  await using e = await openEngine({ limits: { readyMs: 300 } });
  await e.client.createFunction(isolated("ws", { customContainerConfig: { image: "i", healthCheckConfig: { httpGetUrl: "/hang" } } }));
  await assert.rejects(e.client.createSession("ws", { sessionId: "s" }), refused("InstanceStartFailed", 500));
  assert.equal(e.maker.live.size, 0);
  assert.equal(factsOf(await e.client.getSession("ws", "s")).endReason, "crashed");
});

test("an instance that falls before it answers is replaced, and its session is that of the next", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws", { customContainerConfig: { image: "i", healthCheckConfig: { httpGetUrl: "/hang" } } }));
  const creation = e.client.createSession("ws", { sessionId: "s" }).catch(refused("SessionNotFound", 404));
  await until("the first runs", () => e.maker.live.size === 1);
  await e.maker.fall(e.maker.made[0] ?? "");
  await until("the second runs", () => e.maker.made.length === 2);
  assert.equal((await e.client.getSession("ws", "s")).body.containerId, e.maker.made[1]);
  await e.client.deleteSession("ws", "s");
  assert.equal(await creation, true);
  assert.equal(e.maker.live.size, 0);
});

test("a session that is deleted while it is being created is gone, and its creator learns it", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws", { customContainerConfig: { image: "i", healthCheckConfig: { httpGetUrl: "/hang" } } }));
  const creation = e.client.createSession("ws", { sessionId: "s" });
  const refusedCreation = assert.rejects(creation, refused("SessionNotFound", 404));
  await until("the instance runs", () => e.maker.made.length === 1);
  await e.client.deleteSession("ws", "s");
  await refusedCreation;
  assert.equal(e.maker.live.size, 0);
});

test("quotas hold when all come at once", async () => {
  await using e = await openEngine({ limits: { instances: 3 } });
  await e.client.createFunction(isolated("ws"));
  await e.client.createFunction(isolated("small"));
  assert.equal((await signedFetch(e.origin, "PUT", "/2023-03-30/functions/small/concurrency", '{"reservedConcurrency":1}')).status, 200);
  const small = await Promise.allSettled([1, 2, 3].map(() => e.client.createSession("small", {})));
  assert.equal(small.filter((it) => it.status === "fulfilled").length, 1);
  const all = await Promise.allSettled([1, 2, 3, 4, 5].map(() => e.client.createSession("ws", {})));
  assert.equal(all.filter((it) => it.status === "fulfilled").length, 2);
  for (const it of [...small, ...all]) if (it.status === "rejected") refused("ResourceExhausted", 429)(it.reason);
  const session = all.find((it) => it.status === "fulfilled")?.value.body.sessionId ?? "";
  await e.client.deleteSession("ws", session);
  assert.equal((await e.client.createSession("ws", {})).body.sessionStatus, "Active");
});

test("starts are paced: a burst, then so many a minute", async () => {
  let clock = Date.now();
  await using e = await openEngine({ limits: { burst: 2, startsPerMinute: 60 }, now: () => clock });
  await e.client.createFunction(isolated("ws"));
  await e.client.createSession("ws", {});
  await e.client.createSession("ws", {});
  await assert.rejects(e.client.createSession("ws", {}), refused("ResourceExhausted", 429));
  clock += 1000;
  assert.equal((await e.client.createSession("ws", {})).body.sessionStatus, "Active");
});
