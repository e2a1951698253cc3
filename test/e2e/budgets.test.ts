import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, test } from "node:test";
import { TaskCost } from "#contract/cost.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor, SHARED, tenantOf } from "#support/door.ts";
import { openReceiver } from "#support/receiver.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());

test("a task that has spent its budget is ended, refused more, and everybody who wants to know is told", async () => {
  await using own = await openDoor({
    environment: { ...SHARED, CLEANROOM_USAGE_INTERVAL_S: "1", CLEANROOM_WEBHOOK_ALLOW_PRIVATE: "1" },
  });
  await using receiver = await openReceiver();
  const tenant = await newTenant(own);
  const hook = await tenant.json<{ id: string; secret: string }>("POST", "/api/webhooks", { url: receiver.url }, 201);
  const budget = { money: { currency: "USD", amount: "0.0003" }, alertsAt: [50] };
  const { id } = await tenant.json<{ id: string }>("POST", "/api/tasks", { budget }, 201);
  await using box = await makeBox(tenant, { taskId: id });
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
  await until("it was ended", async () => (await box.read()).state === "ended", 60_000);
  assert.equal((await box.read()).endReason, "budget");
  const problem = await refused(tenant.send("POST", "/api/sandboxes", { taskId: id }), "budget_spent");
  assert.equal(problem.status, 402);
  const bill = TaskCost.parse(await tenant.json("GET", `/api/tasks/${id}/cost`));
  assert.equal(bill.budget?.spent, true);
  assert.equal(bill.budget?.lines[0]?.spent, bill.total);

  const types = () => receiver.got.map(({ body }) => body?.type);
  const wanted = ["sandbox.ready", "budget.alert", "budget.spent", "sandbox.ended"] as const;
  await until("all of it was told", () => wanted.every((type) => types().includes(type)), 60_000);
  for (const { headers, text } of receiver.got) {
    const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${text}`;
    const mac = createHmac("sha256", Buffer.from(hook.secret.slice("whsec_".length), "base64"))
      .update(signed)
      .digest("base64");
    assert.equal(headers["webhook-signature"], `v1,${mac}`);
  }
});

test("a project's webhooks and its budget are made, read and taken away", async () => {
  const tenant = await newTenant(door);
  const hook = await tenant.json<{ id: string }>(
    "POST",
    "/api/webhooks",
    { url: "https://hook.example/", events: ["sandbox.failed"] },
    201,
  );
  const { items } = await tenant.json<{ items: { id: string }[] }>("GET", "/api/webhooks");
  assert.deepEqual(
    items.map(({ id }) => id),
    [hook.id],
  );
  assert.deepEqual(await tenant.json("GET", `/api/webhooks/${hook.id}/deliveries`), { items: [] });
  await tenant.json("DELETE", `/api/webhooks/${hook.id}`, undefined, 204);
  await refused(tenant.send("DELETE", `/api/webhooks/${hook.id}`), "webhook_not_found");
  await refused(tenant.send("POST", "/api/webhooks", { url: "file:///etc/passwd" }), "invalid_request");

  const root = tenantOf(door, door.rootKey, "root");
  const path = `/api/projects/${tenant.projectId}/budget`;
  const spec = { budget: { units: { cpu_allocated: 10 }, alertsAt: [] }, period: "day" };
  await refused(tenant.send("PUT", path, spec), "forbidden");
  assert.deepEqual(await root.json("PUT", path, spec), spec);
  await refused(tenant.send("POST", "/api/sandboxes", {}), "budget_spent");
  assert.partialDeepStrictEqual(await tenant.json("GET", path), {
    period: "day",
    status: { spent: false, lines: [{ limit: "10", spent: "0" }] },
  });
  await root.json("DELETE", path, undefined, 204);
  await until("nothing bounds it any more", async () => {
    const answer = await tenant.send("POST", "/api/sandboxes", { id: "free-again" });
    const made = answer.status === 201;
    await answer.body?.cancel();
    return made;
  });
  await tenant.json("DELETE", "/api/sandboxes/free-again");
});
