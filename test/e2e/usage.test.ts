import assert from "node:assert/strict";
import { after, test } from "node:test";
import { TaskCost } from "#contract/cost.ts";
import { type Meter, UsageReport, type UsageLine } from "#contract/usage.ts";
import { Usage } from "#client/usage.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const costOf = async (taskId: string, query = "") => TaskCost.parse(await tenant.json("GET", `/api/tasks/${taskId}/cost${query}`));
const report = async (query: string, who = tenant) => UsageReport.parse(await who.json("GET", `/api/usage?${query}`));
const quantity = (lines: readonly UsageLine[], meter: Meter) =>
  lines.filter((line) => line.meter === meter).reduce((sum, line) => sum + line.quantity, 0);

test("a task's bill says what its sandboxes had and did, and stays as it is once they have ended", async () => {
  const { id } = await tenant.json<{ id: string }>("POST", "/api/tasks", { agent: { name: "analyst" } }, 201);
  const box = await makeBox(tenant, { taskId: id });
  await box.execute("sum(range(10**6))");
  await box.command("true");
  await box.inside("PUT", "/files/content?path=out.bin", new Uint8Array(2_000_000));
  await tenant.json("POST", `/api/sandboxes/${box.id}/artifacts`, { path: "out.bin" }, 201);
  const running = await costOf(id);
  assert.equal(running.final, false);
  assert.ok(quantity(running.lines, "cpu_allocated") > 0, "what runs is on the bill");
  await tenant.json("DELETE", `/api/sandboxes/${box.id}`);
  const bill = await costOf(id);
  const { usage } = await box.read();
  assert.equal(bill.final, true);
  assert.equal(quantity(bill.lines, "executes"), 2);
  assert.equal(quantity(bill.lines, "artifact_bytes") * 2 ** 30, 2_000_000);
  assert.ok(quantity(bill.lines, "bytes_in") * 2 ** 30 >= 2_000_000, "the upload is counted");
  assert.equal(quantity(bill.lines, "cpu_used"), Math.round((usage?.cpuMs ?? 0) * 1000) / 1_000_000, "as the engine counted it");
  assert.ok(Number(bill.total) > 0);
  assert.deepEqual((await costOf(id)).lines, bill.lines);
  const inYuan = await costOf(id, "?currency=CNY");
  assert.ok(Number(inYuan.total) > Number(bill.total));

  const [group, ...more] = (await report("groupBy=agent,template,day")).items;
  assert.deepEqual(more, []);
  assert.partialDeepStrictEqual(group, { agent: "analyst", template: "code-interpreter" });
  assert.deepEqual(group?.lines, bill.lines, "rows and bill say the same");
  assert.deepEqual(await Usage.costOf(id, { url: door.origin, apiKey: tenant.key.apiKey }).then(({ lines }) => lines), bill.lines);
  const [page] = await Usage.report({ url: door.origin, apiKey: tenant.key.apiKey, groupBy: ["task"] });
  assert.equal(page?.taskId, id);
});

test("a project counts in the currency that it chose", async () => {
  assert.deepEqual(await tenant.json("GET", "/api/usage/settings"), { currency: "USD" });
  await tenant.json("PUT", "/api/usage/settings", { currency: "CNY" });
  assert.equal((await report("")).currency, "CNY");
  await tenant.json("PUT", "/api/usage/settings", { currency: "USD" });
});

test("what no report can be is refused by name", async () => {
  for (const query of [
    "groupBy=colour",
    "groupBy=task,task",
    "currency=EUR",
    "from=yesterday",
    "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z",
  ])
    await refused(tenant.send("GET", `/api/usage?${query}`), "invalid_request");
  await refused(tenant.send("GET", "/api/usage?from=2020-01-01T00:00:00Z"), "invalid_request");
  await refused(tenant.send("PUT", "/api/usage/settings", { currency: "EUR" }), "invalid_request");
  await refused(tenant.send("GET", "/api/tasks/nosuch/cost"), "task_not_found");
});
