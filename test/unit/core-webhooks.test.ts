import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { Job, JOBS_QUEUE } from "#contract/job.ts";
import { CreateWebhook } from "#contract/webhook.ts";
import { createSandbox, endSandbox, getSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { createWebhook, deleteWebhook, deliver, listDeliveries, listWebhooks } from "#core/webhooks.ts";
import { type Core, CORE_LIMITS as LIMITS, openCore, projectOf, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const URL_1 = "https://one.example/hook";
const page = { limit: 100 };
const hook = (fields: object = {}) => CreateWebhook.parse({ url: URL_1, ...fields });

/** Does all jobs whose time has come, as the worker does. */
async function work({ platform }: Core): Promise<number> {
  let done = 0;
  for (;;) {
    const messages = await platform.queue.receive(JOBS_QUEUE, { max: 10, visibilityMs: 60_000 });
    if (messages.length === 0) return done;
    for (const { body, receipt } of messages) {
      const job = Job.parse(JSON.parse(body));
      if (job.type === "deliver") await deliver(platform, job);
      await platform.queue.acknowledge(JOBS_QUEUE, receipt);
      done += 1;
    }
  }
}

test("what happens to a sandbox is told, signed as Standard Webhooks say, to who wants to know it", async () => {
  const core = openCore();
  const { platform, posts } = core;
  const { id, secret } = await createWebhook(platform, ONE, hook());
  await createWebhook(platform, ONE, hook({ url: "https://two.example/", events: ["sandbox.failed"] }));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await createSandbox(platform, LIMITS, OTHER, spec({ id: "theirs-1" }));
  await endSandbox(platform, ONE, "mine-1", "oom");
  await work(core);
  const told = posts.map(({ url, body }) => [url, (JSON.parse(body) as { type: string }).type]);
  assert.deepEqual(told.toSorted(), [
    [URL_1, "sandbox.ended"],
    [URL_1, "sandbox.failed"],
    [URL_1, "sandbox.ready"],
    ["https://two.example/", "sandbox.failed"],
  ]);
  for (const { url, headers, body } of posts.filter((post) => post.url === URL_1)) {
    const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
    const key = Buffer.from(secret.replace("whsec_", ""), "base64");
    assert.equal(headers["webhook-signature"], `v1,${createHmac("sha256", key).update(signed).digest("base64")}`, url);
  }
  const { items } = await listDeliveries(platform, ONE, id, page);
  assert.deepEqual(new Set(items.map(({ state, attempts }) => `${state} ${attempts}`)), new Set(["delivered 1"]));
  assert.doesNotMatch(JSON.stringify(await listWebhooks(platform, ONE)), /whsec_|secret/i, "the secret is shown once");
});

test("who does not take it is asked again, later each time, and in the end it lies dead with the reason", async () => {
  const core = openCore();
  const { platform, posts, clock, outside } = core;
  const { id } = await createWebhook(platform, ONE, hook({ events: ["sandbox.ready"] }));
  outside.answer = () => 503;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await work(core);
  assert.equal(posts.length, 1);
  await work(core);
  assert.equal(posts.length, 1, "not at once");
  for (let round = 0; round < 10; round += 1) {
    clock.advance(24 * 3_600_000);
    await work(core);
  }
  assert.equal(posts.length, 8);
  assert.equal(new Set(posts.map(({ headers }) => headers["webhook-id"])).size, 1, "all under one id");
  assert.equal(new Set(posts.map(({ headers }) => headers["webhook-timestamp"])).size, 8, "each with its own moment");
  assert.partialDeepStrictEqual((await listDeliveries(platform, ONE, id, page)).items, [
    { state: "dead", attempts: 8, problem: "HTTP 503" },
  ]);
  outside.answer = () => 200;
  await endSandbox(platform, ONE, "mine-1", "deleted");
});

test("an ending that a crash cut short is told by the sweep, once", async () => {
  for (let failing = 1; ; failing += 1) {
    const core = openCore();
    const { platform, posts, clock, tables } = core;
    await createWebhook(platform, ONE, hook({ events: ["sandbox.ended"] }));
    await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
    let writes = 0;
    tables.before = () => {
      writes += 1;
      if (writes >= failing) throw new Error("the process was killed");
    };
    await endSandbox(platform, ONE, "mine-1", "deleted").catch(() => undefined);
    tables.before = () => {};
    for (let round = 0; round < 2; round += 1) {
      clock.advance(120_000);
      await sweep(platform, LIMITS);
    }
    // Whose ending was cut short before it began is asked to end once more.
    if ((await getSandbox(platform, ONE, "mine-1")).state === "ready") await endSandbox(platform, ONE, "mine-1", "deleted");
    await work(core);
    assert.equal(posts.length, 1, `after ${failing} writes`);
    if (writes < failing) break;
  }
});

test("a webhook is its project's, and what waits for one that was deleted is dropped", async () => {
  const core = openCore();
  const { platform, posts } = core;
  const { id } = await createWebhook(platform, ONE, hook());
  await assert.rejects(deleteWebhook(platform, OTHER, id), isProblem("webhook_not_found"));
  await assert.rejects(listDeliveries(platform, OTHER, id, page), isProblem("webhook_not_found"));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await deleteWebhook(platform, ONE, id);
  await work(core);
  assert.deepEqual(posts, []);
  for (let at = 0; at < 20; at += 1) await createWebhook(platform, ONE, hook());
  await assert.rejects(createWebhook(platform, ONE, hook()), isProblem("quota_exceeded"));
});
