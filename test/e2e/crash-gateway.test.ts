import assert from "node:assert/strict";
import { test } from "node:test";
import { Sandbox } from "#contract/sandbox.ts";
import { allBoxes as all, openBox } from "#support/box.ts";
import { newTenant, NOTHING_PREPARED, startDoor } from "#support/door.ts";
import { functionPid } from "#support/processes.ts";
import { times } from "#support/times.ts";
import { instancesOf, quotaUsed } from "#support/traces.ts";
import { until } from "#support/until.ts";

const SWEPT_MS = 30_000;

test("a gateway killed under load of creates comes back; no answered create is lost, none is doubled, the quota settles", async () => {
  await using door = await startDoor(NOTHING_PREPARED);
  const tenant = await newTenant(door, 200);
  const killed = new Set<number>();
  let answered = 0;
  const answers = await times(40, 8, async (at) => {
    const id = `load-${at}`;
    for (;;) {
      const answer = await tenant.send("POST", "/api/sandboxes", { id }).catch(() => undefined);
      if (answer && answer.status < 500) {
        answered += 1;
        if (answered === 12 || answered === 24) {
          const pid = functionPid(door, "cleanroom-gateway");
          killed.add(pid);
          process.kill(pid, "SIGKILL");
        }
        const text = await answer.text().catch(() => undefined);
        if (text !== undefined) return { id, status: answer.status, sandbox: answer.ok ? Sandbox.parse(JSON.parse(text)) : undefined };
      }
      await door.open();
    }
  });
  assert.equal(killed.size, 2);
  const promised = answers.filter(({ sandbox }) => sandbox?.state === "ready").map(({ id }) => id);
  // A create that the kill cut in two is ended by the sweep once its time of grace is over.
  await until("no creation is left half done", async () => (await all(tenant, "&state=creating")).length === 0, 100_000);
  const ready = new Set((await all(tenant, "&state=ready")).map(({ id }) => id));
  const rows = await all(tenant);
  assert.equal(new Set(rows.map(({ id }) => id)).size, rows.length, "an id has one row");
  assert.deepEqual(
    promised.filter((id) => !ready.has(id)),
    [],
    "what was answered as ready is ready",
  );
  assert.deepEqual(
    rows
      .filter(({ state }) => state === "ended")
      .map(({ endReason }) => endReason)
      .filter((reason) => reason !== "failed"),
    [],
  );
  await until("each ready row has one instance, and there is no other", () => instancesOf(door).length === ready.size, SWEPT_MS);
  await until("the quota counts what lives", () => quotaUsed(door, tenant.projectId) === ready.size, SWEPT_MS);
  const last = rows.find(({ id }) => id === promised.at(-1));
  assert.ok(last);
  await using box = openBox(tenant, last);
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
});
