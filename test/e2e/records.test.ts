import assert from "node:assert/strict";
import { after, test } from "node:test";
import { AuditRecord } from "#contract/audit.ts";
import { verifyChain } from "#contract/audit-chain.ts";
import { Trace } from "#contract/span.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor, type Tenant } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { openTty } from "#support/tty.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());

async function recordsOf(tenant: Tenant, sandboxId: string): Promise<string[]> {
  const { items } = await tenant.json<{ items: unknown[] }>("GET", `/api/audit?resource=${sandboxId}&limit=200`);
  const records = items.map((item) => AuditRecord.parse(item)).toReversed();
  return records
    .filter(({ action }) => !/Sandbox/.test(action))
    .map(({ action, phase, result }) => [action, phase, result].join(" ").trim());
}

test("requests into sandboxes stand in the audit log as the project's rule says: none, those that do something, or all", async () => {
  const tenant = await newTenant(door);
  assert.deepEqual(await tenant.json("GET", "/api/records"), {
    audit: "off",
    spanDays: 90,
    actionDays: 90,
    auditDays: null,
    usageDays: 400,
  });
  await using box = await makeBox(tenant);
  await box.command("true");
  assert.deepEqual(await recordsOf(tenant, box.id), []);
  await tenant.json("PUT", "/api/records", { audit: "writes" });
  await box.command("exit 3");
  await (await box.inside("GET", "/files?path=/etc/hostname")).text();
  {
    const url = `${door.origin}/sandboxes/${box.id}/processes/tty?protocol=json`;
    await using tty = await openTty(url, { authorization: `Bearer ${tenant.key.apiKey}` });
    await tty.hears("connectionEstablished");
  }
  const written = ["runCommand begun", "runCommand ended exit 3", "attachTerminal begun", "attachTerminal ended closed 1005"];
  await until("the connection's end is written down", async () => (await recordsOf(tenant, box.id)).length >= 4);
  assert.deepEqual(await recordsOf(tenant, box.id), written);
  await tenant.json("PUT", "/api/records", { audit: "all", spanDays: 7 });
  await (await box.inside("GET", "/files?path=/etc/hostname")).text();
  await until("a read is written down", async () => (await recordsOf(tenant, box.id)).length >= 6);
  const [, command] = (await tenant.json<{ items: unknown[] }>("GET", `/api/audit?action=runCommand`)).items
    .map((item) => AuditRecord.parse(item))
    .toReversed();
  const trace = Trace.parse(await tenant.json("GET", `/api/tasks/${box.id}/trace`));
  const span = trace.spans.findLast(({ name }) => name === "runCommand");
  assert.deepEqual([command?.traceId, command?.spanId, command?.input], [span?.traceId, span?.spanId, span?.input?.digest]);
  const lines = (await (await tenant.send("GET", "/api/audit/export")).text()).split("\n").slice(0, -1);
  const { publicKey } = (await (await fetch(`${door.origin}/api/audit/key`)).json()) as { publicKey: string };
  assert.equal(verifyChain(lines, publicKey).broken, undefined);
  assert.match(lines.join("\n"), /"action":"setRecords"/, "that the rule was changed stands there too");
});

test("what is kept for how long is said in days; nonsense and too short a memory of the audit log are refused", async () => {
  const tenant = await newTenant(door);
  const kept = { audit: "off", spanDays: 1, actionDays: null, auditDays: 183, usageDays: 62 };
  assert.deepEqual(await tenant.json("PUT", "/api/records", kept), kept);
  assert.deepEqual(await tenant.json("GET", "/api/records"), kept);
  for (const body of [
    { audit: "some" },
    { spanDays: 0 },
    { spanDays: 1.5 },
    { auditDays: 182 },
    { auditDays: 4000 },
    { usageDays: 61 },
    { surprise: 1 },
  ])
    await refused(tenant.send("PUT", "/api/records", body), "invalid_request");
  assert.deepEqual(await tenant.json("GET", "/api/records"), kept);
});
