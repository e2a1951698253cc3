import assert from "node:assert/strict";
import { test } from "node:test";
import type { QueueSource } from "#infra/local/compute/schedules.ts";
import { HTTP_TRIGGER, isolated, openEngine, trusted } from "#support/engine.ts";
import { invalid, refused, textOf } from "#support/fc-answers.ts";
import { until } from "#support/until.ts";

const timer = (cronExpression: string, payload = "") => ({
  triggerName: "clock",
  triggerType: "timer",
  triggerConfig: JSON.stringify({ cronExpression, enable: true, payload }),
});

const queueTrigger = (changes: Record<string, unknown> = {}) => ({
  triggerName: "jobs",
  triggerType: "eventbridge",
  triggerConfig: JSON.stringify({
    triggerEnable: true,
    asyncInvocationType: false,
    eventRuleFilterPattern: "{}",
    eventSourceConfig: {
      eventSourceType: "MNS",
      eventSourceParameters: { sourceMNSParameters: { RegionId: "cn-hangzhou", QueueName: "q", IsBase64Decode: false } },
    },
    runOptions: { batchWindow: { CountBasedWindow: 2, TimeBasedWindow: 1 } },
    ...changes,
  }),
});

/** A queue of texts in memory that keeps what it was told of each. */
function memoryQueue(texts: string[]) {
  const waiting = texts.map((body, index) => ({ id: `m${index}`, receipt: `r${index}`, body, attempts: 1 }));
  const acknowledged: string[] = [];
  const released: string[] = [];
  const source: QueueSource = {
    receive: async (_queue, { max }) => waiting.splice(0, max),
    acknowledge: async (_queue, receipt) => acknowledged.push(receipt) > 0,
    release: async (_queue, receipt) => released.push(receipt) > 0,
  };
  return { source, waiting, acknowledged, released };
}

async function lastOf(url: string): Promise<{ last: string | null; invocations: number }> {
  return (await (await fetch(`${url}/last`)).json()) as { last: string | null; invocations: number };
}

test("an asynchronous invocation is promised with a task, and the task says how it ended", async () => {
  await using e = await openEngine();
  await e.client.createFunction(await trusted("t"));
  const promised = await e.client.invoke("t", "event", { async: true, headers: { "x-fc-async-task-id": "task-1" } });
  assert.deepEqual([promised.statusCode, promised.headers["x-fc-async-task-id"]], [202, "task-1"]);
  await until("the task succeeds", async () => (await e.client.getAsyncTask("t", "task-1")).body.status === "Succeeded");
  const task = (await e.client.getAsyncTask("t", "task-1")).body;
  assert.deepEqual(
    [task.alreadyRetriedTimes, task.taskPayload, task.events?.map((event) => event.status)],
    [0, "event", ["Enqueued", "Running", "Succeeded"]],
  );
  await assert.rejects(
    e.client.invoke("t", "event", { async: true, headers: { "x-fc-async-task-id": "task-1" } }),
    refused("AsyncTaskAlreadyExists", 409),
  );
  await assert.rejects(e.client.getAsyncTask("t", "none"), refused("AsyncTaskNotFound", 404));
});

test("a task that fails is tried again, and fails for good after as many tries as its function allows", async () => {
  await using e = await openEngine({ limits: { retryBackoffMs: 10 } });
  await e.client.createFunction(await trusted("t"));
  await e.client.putAsyncInvokeConfig("t", { maxAsyncRetryAttempts: 2 });
  await e.client.invoke("t", "fail once", { async: true, headers: { "x-fc-async-task-id": "once" } });
  await until("the second try succeeds", async () => (await e.client.getAsyncTask("t", "once")).body.status === "Succeeded");
  assert.equal((await e.client.getAsyncTask("t", "once")).body.alreadyRetriedTimes, 1);
  await e.client.invoke("t", "fail", { async: true, headers: { "x-fc-async-task-id": "always" } });
  await until("it fails for good", async () => (await e.client.getAsyncTask("t", "always")).body.status === "Failed");
  const failed = (await e.client.getAsyncTask("t", "always")).body;
  assert.equal(failed.alreadyRetriedTimes, 2);
  assert.match(failed.taskErrorMessage ?? "", /told to fail/);
});

test("what an asynchronous invocation cannot be is refused", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await e.client.createFunction(await trusted("t"));
  await assert.rejects(e.client.invoke("ws", "x", { async: true }), invalid("session"));
  await assert.rejects(e.client.invoke("t", "x".repeat(200_000), { async: true }), refused("EntityTooLarge", 413));
  await assert.rejects(
    e.client.putAsyncInvokeConfig("t", { destinationConfig: { onFailure: { destination: "acs:mns:x" } } }),
    invalid("destinations"),
  );
});

test("a timer calls its function with its name, time and payload", async () => {
  await using e = await openEngine();
  await e.client.createFunction(await trusted("t"));
  const url = (await e.client.createTrigger("t", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createTrigger("t", timer("@every 1s", "tick"));
  await until("the timer rings", async () => (await lastOf(url)).last !== null);
  const event = JSON.parse((await lastOf(url)).last ?? "") as Record<string, string>;
  assert.deepEqual([event["triggerName"], event["payload"]], ["clock", "tick"]);
  assert.match(event["triggerTime"] ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

test("messages reach the function in batches of CloudEvents and are acknowledged when it succeeds", async () => {
  const queue = memoryQueue(["a", "b", "c"]);
  await using e = await openEngine({ queue: queue.source, limits: { queuePollMs: 20 } });
  await e.client.createFunction(await trusted("t"));
  const url = (await e.client.createTrigger("t", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createTrigger("t", queueTrigger());
  await until("all are acknowledged", () => queue.acknowledged.length === 3);
  const { last, invocations } = await lastOf(url);
  const events = JSON.parse(last ?? "") as { type: string; subject: string; data: { messageBody: string } }[];
  assert.deepEqual([invocations, events.length, events[0]?.data.messageBody, events[0]?.type], [2, 1, "c", "mns:Queue:SendMessage"]);
  assert.equal(events[0]?.subject, "acs:mns:cn-hangzhou:1000000000000000:queues/q");
  queue.waiting.push({ id: "m9", receipt: "r9", body: "later", attempts: 1 });
  await until("a later message is found", () => queue.acknowledged.includes("r9"));
});

test("messages of a batch that fails are released, never acknowledged", async () => {
  const queue = memoryQueue(["fail", "b"]);
  await using e = await openEngine({ queue: queue.source, limits: { queuePollMs: 20 } });
  await e.client.createFunction(await trusted("t"));
  await e.client.createTrigger("t", queueTrigger());
  await until("both are released", () => queue.released.length === 2);
  assert.deepEqual([queue.acknowledged, e.events.some(({ name }) => name === "trigger_failed")], [[], true]);
});

test("triggers: made, read, changed, listed, removed, and refused when they cannot be honoured", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await e.client.createTrigger("ws", HTTP_TRIGGER);
  await e.client.createTrigger("ws", timer("0 0 4 * * *"));
  await assert.rejects(e.client.createTrigger("ws", HTTP_TRIGGER), refused("TriggerAlreadyExists", 409));
  await assert.rejects(e.client.createTrigger("ws", timer("every minute")), invalid("cronExpression"));
  await assert.rejects(
    e.client.createTrigger("ws", { ...timer("@every 1m"), triggerName: "x", triggerType: "oss" }),
    invalid("triggerType"),
  );
  await assert.rejects(e.client.createTrigger("ws", { ...HTTP_TRIGGER, triggerName: "x", triggerConfig: "{" }), invalid("triggerConfig"));
  await assert.rejects(e.client.createTrigger("ws", queueTrigger({ asyncInvocationType: true })), invalid("asyncInvocationType"));
  const changed = await e.client.updateTrigger("ws", "clock", { triggerConfig: JSON.stringify({ cronExpression: "@every 5m" }) });
  assert.match(changed.body.triggerConfig ?? "", /every 5m/);
  assert.deepEqual(
    (await e.client.listTriggers("ws")).body.triggers?.map((it) => it.triggerName),
    ["clock", "http"],
  );
  await assert.rejects(e.client.deleteFunction("ws"), refused("FunctionInUse", 409));
  await e.client.deleteTrigger("ws", "clock");
  await assert.rejects(e.client.getTrigger("ws", "clock"), refused("TriggerNotFound", 404));
});

test("an invocation reaches the session that its header names", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  await e.client.createSession("ws", { sessionId: "s" });
  const answer = await e.client.invoke("ws", "event", { headers: { "cleanroom-session-id": "s" } });
  assert.equal((JSON.parse(await textOf(answer.body)) as { body: string }).body, "event");
  await assert.rejects(e.client.invoke("ws", "event"), refused("MissingRequiredHeader", 400));
});
