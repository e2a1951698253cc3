import assert from "node:assert/strict";
import { after, test } from "node:test";
import { z } from "zod";
import { page } from "#contract/id.ts";
import { Sandbox } from "#contract/sandbox.ts";
import { makeBox, openBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const List = page(Sandbox);
const list = async (query: string) => List.parse(await tenant.json("GET", `/api/sandboxes${query}`));
const idsOf = ({ items }: z.output<typeof List>) => items.map(({ id }) => id);

test("a sandbox is ready to run code when its creation is answered, and is gone when its deletion is", async () => {
  await using box = await makeBox(tenant);
  assert.equal(box.sandbox.state, "ready");
  assert.equal((await box.execute("print(6 * 7)")).stdout, "42\n");
  const ended = Sandbox.parse(await tenant.json("DELETE", `/api/sandboxes/${box.id}`));
  assert.partialDeepStrictEqual(ended, { state: "ended", endReason: "deleted" });
  const problem = await refused(box.inside("POST", "/contexts/execute", { code: "1" }), "sandbox_ended");
  assert.equal(problem.details["reason"], "deleted");
});

test("every sandbox starts from a clean slate", async () => {
  await using first = await makeBox(tenant);
  await first.command("echo here > /home/user/marker; echo here > /tmp/marker; echo here > /usr/local/marker; true");
  await using second = await makeBox(tenant);
  const found = await second.command("ls -d /home/user/marker /tmp/marker /usr/local/marker 2>/dev/null | wc -l");
  assert.equal(found.result?.stdout.trim(), "0");
});

test("the same id twice is one sandbox, also when both are asked for at once", async () => {
  const id = `once-${Date.now()}`;
  const answers = await Promise.all(Array.from({ length: 5 }, () => tenant.send("POST", "/api/sandboxes", { id })));
  const sandboxes = await Promise.all(answers.map(async (answer) => Sandbox.parse(await answer.json())));
  await using box = openBox(tenant, sandboxes[0] as Sandbox);
  assert.deepEqual(
    answers.map(({ status }) => status).toSorted((a, b) => a - b),
    [200, 200, 200, 200, 201],
  );
  assert.equal(new Set(sandboxes.map(({ createdAt }) => createdAt)).size, 1);
  assert.equal(idsOf(await list("?state=ready")).filter((found) => found === id).length, 1);
  await box.execute("kept = 1");
  assert.equal((await tenant.send("POST", "/api/sandboxes", { id })).status, 200);
  assert.equal((await box.execute("print(kept)")).stdout, "1\n");
});

test("an id that exists with another template is refused, and so is one whose sandbox has ended", async () => {
  await using box = await makeBox(tenant, { id: `taken-${Date.now()}` });
  await tenant.json("POST", "/api/templates", { name: "other" }, 201);
  await refused(tenant.send("POST", "/api/sandboxes", { id: box.id, template: "other" }), "already_exists");
  await tenant.json("DELETE", `/api/sandboxes/${box.id}`);
  await refused(tenant.send("POST", "/api/sandboxes", { id: box.id }), "already_exists");
});

test("a list finds by state, template, task and metadata, each alone and all together", async () => {
  const taskId = `task-${Date.now()}`;
  await using plain = await makeBox(tenant);
  await using ours = await makeBox(tenant, { taskId, metadata: { team: "sales", stage: "a=b" } });
  await using sibling = await makeBox(tenant, { taskId, metadata: { team: "legal" } });
  await tenant.json("DELETE", `/api/sandboxes/${sibling.id}`);
  assert.deepEqual(idsOf(await list(`?taskId=${taskId}`)), [sibling.id, ours.id]);
  assert.deepEqual(idsOf(await list(`?taskId=${taskId}&state=ended`)), [sibling.id]);
  assert.deepEqual(idsOf(await list("?metadata=team%3Dsales")), [ours.id]);
  assert.deepEqual(
    idsOf(await list(`?metadata=${encodeURIComponent("stage=a=b")}&state=ready&template=code-interpreter&taskId=${taskId}`)),
    [ours.id],
  );
  assert.deepEqual(idsOf(await list("?template=nothing-of-this-name")), []);
  assert.ok(idsOf(await list("?state=ready")).includes(plain.id));
  await refused(tenant.send("GET", "/api/sandboxes?metadata=novalue"), "invalid_request");
  await refused(tenant.send("GET", "/api/sandboxes?colour=red"), "invalid_request");
});

test("a list comes newest first in pages that miss nothing and repeat nothing", async () => {
  const other = await newTenant(door);
  const made: string[] = [];
  for (let count = 0; count < 5; count += 1) {
    await using box = await makeBox(other);
    made.unshift(box.id);
  }
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const from: string = cursor === undefined ? "" : `&after=${encodeURIComponent(cursor)}`;
    const found = List.parse(await other.json("GET", `/api/sandboxes?limit=2${from}`));
    assert.ok(found.items.length <= 2);
    seen.push(...idsOf(found));
    cursor = found.next;
  } while (cursor !== undefined);
  assert.deepEqual(seen, made);
});

test("what an update names changes, and what it does not name stays", async () => {
  await using box = await makeBox(tenant, { name: "before", metadata: { a: "1" } });
  const renamed = Sandbox.parse(await tenant.json("PATCH", `/api/sandboxes/${box.id}`, { name: "after" }));
  assert.partialDeepStrictEqual(renamed, { name: "after", metadata: { a: "1" }, endsAt: box.sandbox.endsAt });
  await tenant.json("PATCH", `/api/sandboxes/${box.id}`, { metadata: { b: "2" } });
  const read = await box.read();
  assert.deepEqual([read.name, read.metadata], ["after", { b: "2" }]);
});

test("a life is extended, never shortened, and not beyond what the operator allows", async () => {
  await using box = await makeBox(tenant, { lifetimeMs: 60_000 });
  const first = Date.parse(box.sandbox.endsAt);
  const longer = Sandbox.parse(await tenant.json("PATCH", `/api/sandboxes/${box.id}`, { lifetimeMs: 600_000 }));
  assert.ok(Date.parse(longer.endsAt) > first + 500_000, longer.endsAt);
  const shorter = Sandbox.parse(await tenant.json("PATCH", `/api/sandboxes/${box.id}`, { lifetimeMs: 1000 }));
  assert.equal(shorter.endsAt, longer.endsAt);
  await refused(tenant.send("PATCH", `/api/sandboxes/${box.id}`, { lifetimeMs: 7 * 3_600_000 }), "invalid_request");
  await refused(tenant.send("POST", "/api/sandboxes", { lifetimeMs: 7 * 3_600_000 }), "invalid_request");
});

test("a sandbox ends with its life, and an extension keeps it past its first end", async () => {
  await using short = await makeBox(tenant, { lifetimeMs: 2000 });
  await using extended = await makeBox(tenant, { lifetimeMs: 2000 });
  await tenant.json("PATCH", `/api/sandboxes/${extended.id}`, { lifetimeMs: 60_000 });
  await until("the sandbox has ended", async () => (await short.read()).state === "ended");
  const { endReason, endedAt = "", endsAt } = await short.read();
  assert.equal(endReason, "lifetime");
  assert.ok(Date.parse(endedAt) >= Date.parse(endsAt), `${endedAt} is before ${endsAt}`);
  const problem = await refused(short.inside("GET", "/contexts"), "sandbox_ended");
  assert.equal(problem.details["reason"], "lifetime");
  assert.equal((await extended.execute("print('alive')")).stdout, "alive\n");
});

test("ending many times at once is one ending, and the first reason stays", async () => {
  await using box = await makeBox(tenant);
  const ends = await Promise.all(
    Array.from({ length: 6 }, async () => Sandbox.parse(await tenant.json("DELETE", `/api/sandboxes/${box.id}`))),
  );
  assert.equal(new Set(ends.map((end) => JSON.stringify([end.state, end.endReason, end.endedAt]))).size, 1);
  await (await tenant.send("POST", `/sandboxes/${box.id}/stop`)).body?.cancel();
  assert.partialDeepStrictEqual(await box.read(), { state: "ended", endReason: "deleted", endedAt: ends[0]?.endedAt });
});

test("deleting a sandbox ends what it runs, and whoever waits for that is told", async () => {
  await using box = await makeBox(tenant);
  const code = "open('/home/user/on', 'w').close(); import time; time.sleep(600)";
  const waiting = box.inside("POST", "/contexts/execute", { code, timeout: 900 });
  await until("the code runs", async () => (await box.inside("GET", "/filesystem/stat?path=/home/user/on")).ok);
  await tenant.json("DELETE", `/api/sandboxes/${box.id}`);
  await refused(waiting, "sandbox_ended");
});

test("variables of the template and of the sandbox reach code and commands; the sandbox's own win", async () => {
  await tenant.json("POST", "/api/templates", { name: "speaking", environment: { BOTH: "template", ONLY: "template" } }, 201);
  await using box = await makeBox(tenant, { template: "speaking", environment: { BOTH: "sandbox", OWN: "é $HOME `x`" } });
  const { stdout } = await box.execute("import os; print(os.environ['BOTH'], os.environ['ONLY'], os.environ['OWN'])");
  assert.equal(stdout, "sandbox template é $HOME `x`\n");
  const command = await box.command('printf "%s %s" "$BOTH" "$ONLY"');
  assert.equal(command.result?.stdout, "sandbox template");
  const overridden = await box.command('printf "%s" "$BOTH"', { environment: { BOTH: "command" } });
  assert.equal(overridden.result?.stdout, "command");
});

test("variables set later take the place of those before, for all that starts from then on", async () => {
  await using box = await makeBox(tenant, { environment: { FIRST: "1" } });
  const { processId } = await box.command('sleep 600; echo "$LATER"', { background: true });
  assert.equal((await box.inside("PUT", "/environment", { variables: { LATER: "2" } })).status, 204);
  assert.equal((await box.command('printf "%s" "${FIRST-none} $LATER"')).result?.stdout, "none 2");
  assert.equal((await box.inside("POST", `/processes/${processId}/signal`, { signal: "SIGTERM" })).status, 204);
  const output = await (await box.inside("GET", `/processes/${processId}/output`)).text();
  assert.match(output, /"type":"end"/);
  assert.doesNotMatch(output, /"text":"2/);
  await refused(box.inside("PUT", "/environment", { variables: { "A=B": "1" } }), "invalid_request");
});

test("a reading says what the sandbox has used, as counted from outside, and that it is sealed", async () => {
  await using box = await makeBox(tenant);
  const before = (await box.read()).usage;
  await box.execute("import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass");
  const { usage, isolation } = await box.read();
  assert.ok((usage?.cpuMs ?? 0) >= (before?.cpuMs ?? 0) + 250, JSON.stringify([before, usage]));
  assert.ok((usage?.memoryPeakBytes ?? 0) > 0 && (usage?.processes ?? 0) > 1);
  assert.equal(isolation?.strength, "sealed", JSON.stringify(isolation));
  const ended = Sandbox.parse(await tenant.json("DELETE", `/api/sandboxes/${box.id}`));
  assert.ok((ended.usage?.cpuMs ?? 0) >= (usage?.cpuMs ?? 0), "the last figures stay with the sandbox");
});
