import assert from "node:assert/strict";
import { after, test } from "node:test";
import { page } from "#contract/id.ts";
import { Sandbox } from "#contract/sandbox.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor, type Tenant } from "#support/door.ts";
import { refused } from "#support/refusal.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());

test("one more than the quota is refused with when to come again; ending one makes room for one", async () => {
  const tenant = await newTenant(door, 2);
  await using _first = await makeBox(tenant);
  const second = await makeBox(tenant);
  const id = `later-${Date.now()}`;
  const answer = await tenant.send("POST", "/api/sandboxes", { id });
  assert.match(answer.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  const problem = await refused(answer, "quota_exceeded");
  assert.equal(problem.details["quota"], 2);
  await second[Symbol.asyncDispose]();
  // What was refused left nothing behind, not even its id taken.
  await using _third = await makeBox(tenant, { id });
  await refused(tenant.send("POST", "/api/sandboxes", {}), "quota_exceeded");
});

test("an exhausted quota of one project is no other's", async () => {
  const [full, free] = [await newTenant(door, 1), await newTenant(door, 1)];
  await using _only = await makeBox(full);
  await refused(full.send("POST", "/api/sandboxes", {}), "quota_exceeded");
  await using box = await makeBox(free);
  assert.equal(box.sandbox.state, "ready");
});

test("fifty at once never overshoot a quota of ten, and all that were taken come back", async () => {
  const tenant = await newTenant(door, 10);
  for (const round of ["first", "second"]) {
    const most = watchMost(tenant);
    const answers = await Promise.all(Array.from({ length: 50 }, () => tenant.send("POST", "/api/sandboxes", {})));
    const made = answers.filter(({ status }) => status === 201);
    const over = answers.filter(({ status }) => status === 429);
    assert.deepEqual([made.length, over.length], [10, 40], `in the ${round} round`);
    for (const answer of over) assert.ok(Number(answer.headers.get("retry-after")) >= 1);
    assert.ok((await most.stop()) <= 10);
    const ids = await Promise.all(made.map(async (answer) => Sandbox.parse(await answer.json()).id));
    await Promise.all([...over.map((answer) => answer.body?.cancel()), ...ids.map((id) => tenant.json("DELETE", `/api/sandboxes/${id}`))]);
    assert.deepEqual((await ready(tenant)).items, []);
  }
});

for (const [resource, quota] of [
  ["cpu", { cpu: 2.5 }],
  ["memoryMiB", { memoryMiB: 2560 }],
] as const) {
  test(`a hundred at once never overshoot a quota of ${resource}, and all that was taken comes back`, async () => {
    const tenant = await newTenant(door, quota);
    await tenant.json("POST", "/api/templates", { name: "half", cpu: 0.5, memoryMiB: 512 }, 201);
    const answers = await Promise.all(Array.from({ length: 100 }, () => tenant.send("POST", "/api/sandboxes", { template: "half" })));
    const made = answers.filter(({ status }) => status === 201);
    assert.equal(made.length, 5);
    for (const answer of answers)
      if (answer.status !== 201) assert.equal((await refused(answer, "quota_exceeded")).details["resource"], resource);
    // One that is twice what the quota has never fits, and is not told to come again.
    await tenant.json("POST", "/api/templates", { name: "large", cpu: 3, memoryMiB: 3072 }, 201);
    const large = await tenant.send("POST", "/api/sandboxes", { template: "large" });
    assert.equal(large.headers.get("retry-after"), null);
    await refused(large, "quota_exceeded");
    const ids = await Promise.all(made.map(async (answer) => Sandbox.parse(await answer.json()).id));
    await Promise.all(ids.map((id) => tenant.json("DELETE", `/api/sandboxes/${id}`)));
    await using again = await makeBox(tenant, { template: "half" });
    assert.equal(again.sandbox.state, "ready");
  });
}

test("creations that fail for another reason hold nothing of the quota", async () => {
  const tenant = await newTenant(door, 1);
  for (let count = 0; count < 3; count += 1) {
    await refused(tenant.send("POST", "/api/sandboxes", { template: "no-such-template" }), "template_not_found");
    await refused(tenant.send("POST", "/api/sandboxes", { idleTimeoutMs: 1 }), "invalid_request");
  }
  await using box = await makeBox(tenant);
  assert.equal(box.sandbox.state, "ready");
});

async function ready(tenant: Tenant) {
  return page(Sandbox).parse(await tenant.json("GET", "/api/sandboxes?state=ready"));
}

/** Looks at how many are ready again and again until it is stopped; answers the most it ever saw. */
function watchMost(tenant: Tenant) {
  const stopping = new AbortController();
  const watching = (async () => {
    let most = 0;
    while (!stopping.signal.aborted) most = Math.max(most, (await ready(tenant)).items.length);
    return most;
  })();
  return {
    stop: () => {
      stopping.abort();
      return watching;
    },
  };
}
