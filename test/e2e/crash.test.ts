import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Artifact, ArtifactLink } from "#contract/artifact.ts";
import { TemplateNow } from "#contract/template.ts";
import { allBoxes as all, type Box, makeBox } from "#support/box.ts";
import { type Door, newTenant, NOTHING_PREPARED, startDoor, type Tenant, tenantOf } from "#support/door.ts";
import { familyOf, stillRunning } from "#support/processes.ts";
import { refused } from "#support/refusal.ts";
import { tempDir } from "#support/temp.ts";
import { times } from "#support/times.ts";
import { instancesOf, NO_TRACES, quotaUsed, tracesOf } from "#support/traces.ts";
import { until } from "#support/until.ts";

// Each test kills something of a server of its own. What runs under a pid was started by that server.

const SWEPT_MS = 30_000;

/** The same project at the server that came back: same key, other port. */
const again = (door: Door, tenant: Tenant) => tenantOf(door, tenant.key, tenant.projectId);

test("of an engine killed with fifty live sandboxes, half of them paused, its next start leaves nothing, and every row says why it ended", async () => {
  await using dir = await tempDir();
  let tenant: Tenant;
  let kept: Artifact;
  let boxes: Box[];
  let family: ReturnType<typeof familyOf>;
  let instances: string[];
  {
    await using door = await startDoor(NOTHING_PREPARED, dir.path);
    tenant = await newTenant(door, 50);
    const by = tenant;
    boxes = await times(50, 8, () => makeBox(by));
    const [first] = boxes;
    await first?.command("echo worth keeping > f; sleep 1000 & sleep 1000", { background: true });
    await until("the file is written", async () => (await first?.inside("GET", "/filesystem/stat?path=f"))?.ok ?? false);
    kept = Artifact.parse(await tenant.json("POST", `/api/sandboxes/${first?.id}/artifacts`, { path: "f" }, 201));
    await times(25, 8, (at) => by.json("POST", `/api/sandboxes/${boxes[at]?.id}/pause`));
    instances = instancesOf(door);
    family = familyOf(door.pid);
    assert.equal(instances.length, 50);
    const standing = tracesOf(door, instances);
    assert.ok(standing.cgroups.length >= 50 && standing.disks.length >= 1, JSON.stringify(standing));
    assert.ok(family.length > 150, `${family.length} processes`);
    process.kill(door.pid, "SIGKILL");
  }
  await using door = await startDoor(NOTHING_PREPARED, dir.path);
  tenant = again(door, tenant);
  // At its first word: nothing of the earlier one is left to be cleaned up in passing.
  assert.deepEqual(stillRunning(family), []);
  assert.deepEqual(tracesOf(door, instances), NO_TRACES);
  const [first] = boxes;
  const problem = await refused(tenant.send("GET", `/sandboxes/${first?.id}/contexts`), "sandbox_ended");
  assert.equal(problem.details["reason"], "engine_restarted");
  const by = tenant;
  await until("every row has ended", async () => (await all(by)).every(({ state }) => state === "ended"), SWEPT_MS);
  const rows = await all(tenant);
  assert.equal(rows.length, 50);
  assert.deepEqual(new Set(rows.map(({ state, endReason }) => `${state}: ${endReason}`)), new Set(["ended: engine_restarted"]));
  await until("the quota is given back", () => quotaUsed(door, by.projectId) === 0, SWEPT_MS);
  const { url } = ArtifactLink.parse(await tenant.json("POST", `/api/artifacts/${kept.id}/link`, {}, 201));
  assert.equal(await (await fetch(url)).text(), "worth keeping\n");
  await using box = await makeBox(tenant);
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
});

test("an engine killed in the middle of making sandboxes leaves nothing of them either", async () => {
  await using dir = await tempDir();
  let tenant: Tenant;
  let family: ReturnType<typeof familyOf>;
  let instances: string[];
  {
    await using door = await startDoor(undefined, dir.path);
    tenant = await newTenant(door);
    const by = tenant;
    const creations = times(24, 8, async () => {
      const answer = await by.send("POST", "/api/sandboxes", {}).catch(() => undefined);
      await answer?.body?.cancel().catch(() => {});
    });
    await until("some are made and some are being made", async () => instancesOf(door).length >= 8);
    [family, instances] = [familyOf(door.pid), instancesOf(door)];
    process.kill(door.pid, "SIGKILL");
    await creations;
  }
  await using door = await startDoor(NOTHING_PREPARED, dir.path);
  const by = again(door, tenant);
  assert.deepEqual(stillRunning(family), []);
  assert.deepEqual(tracesOf(door, instances), NO_TRACES);
  assert.deepEqual(instancesOf(door), []);
  await until("no row says ready of what is not there", async () => (await all(by, "&state=ready")).length === 0, SWEPT_MS);
  await using box = await makeBox(by);
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
});

test("a sandbox whose first process is killed ends as crashed: who asks is told at once, and who waits is not left waiting", async () => {
  await using door = await startDoor(NOTHING_PREPARED);
  const tenant = await newTenant(door, 2);
  await using asked = await makeBox(tenant);
  const waiting = asked.inside("POST", "/contexts/execute", {
    code: "open('on', 'w').close(); import time; time.sleep(600)",
    timeout: 900,
  });
  await until("the code runs", async () => (await asked.inside("GET", "/filesystem/stat?path=on")).ok);
  killInit(door, instancesOf(door)[0] ?? "");
  await refused(waiting, "sandbox_ended");
  const problem = await refused(asked.inside("GET", "/contexts"), "sandbox_ended");
  assert.equal(problem.details["reason"], "crashed");
  assert.partialDeepStrictEqual(await asked.read(), { state: "ended", endReason: "crashed" });
});

test("a sandbox that dies unseen is found by the sweep", async () => {
  await using door = await startDoor(NOTHING_PREPARED);
  const tenant = await newTenant(door, 1);
  const box = await makeBox(tenant);
  const instances = instancesOf(door);
  killInit(door, instances[0] ?? "");
  // The list reads rows and asks nobody.
  await until("its row has ended", async () => (await all(tenant, "&state=ended")).some(({ id }) => id === box.id));
  assert.equal((await box.read()).endReason, "crashed");
  assert.deepEqual(tracesOf(door, instances), NO_TRACES);
  await until("its quota is given back", () => quotaUsed(door, tenant.projectId) === 0);
  await using next = await makeBox(tenant);
  assert.equal(next.sandbox.state, "ready");
});

test("the maker of instances killed: its sandboxes end as crashed, and the next one is made", async () => {
  await using door = await startDoor(NOTHING_PREPARED);
  const tenant = await newTenant(door);
  const boxes = await times(4, 2, () => makeBox(tenant));
  const [instances, family] = [instancesOf(door), familyOf(door.pid)];
  const maker = family.find(({ pid }) => commandOf(pid).includes("maker/main.py"));
  assert.ok(maker);
  const inside = familyOf(maker.pid);
  process.kill(maker.pid, "SIGKILL");
  await until("all have ended", async () => (await all(tenant, "&state=ended")).length === boxes.length);
  for (const { endReason } of await all(tenant)) assert.equal(endReason, "crashed");
  await until("nothing of them runs", () => stillRunning(inside).length === 0);
  await until("nothing of them is left", () => JSON.stringify(tracesOf(door, instances)) === JSON.stringify(NO_TRACES));
  await using box = await makeBox(tenant);
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
});

test("of an engine killed with instances that wait for sandboxes its next start leaves nothing", async () => {
  await using dir = await tempDir();
  let family: ReturnType<typeof familyOf>;
  let instances: string[];
  {
    await using door = await startDoor({ CLEANROOM_MIN_PREPARED: "3" }, dir.path);
    const tenant = await newTenant(door);
    const waiting = async () => TemplateNow.parse(await tenant.json("GET", "/api/templates/code-interpreter")).prepared.ready;
    await until("three wait", async () => (await waiting()) === 3, SWEPT_MS);
    [family, instances] = [familyOf(door.pid), instancesOf(door)];
    assert.equal(instances.length, 3);
    process.kill(door.pid, "SIGKILL");
  }
  await using door = await startDoor(NOTHING_PREPARED, dir.path);
  assert.deepEqual(stillRunning(family), []);
  assert.deepEqual(tracesOf(door, instances), NO_TRACES);
  assert.deepEqual(instancesOf(door), []);
});

test("told to stop, the server ends every sandbox, and nothing of it is left", async () => {
  await using dir = await tempDir();
  let tenant: Tenant;
  let family: ReturnType<typeof familyOf>;
  let instances: string[];
  {
    await using door = await startDoor(undefined, dir.path);
    tenant = await newTenant(door);
    const by = tenant;
    await times(5, 2, async () => (await makeBox(by)).command("sleep 1000", { background: true }));
    [family, instances] = [familyOf(door.pid), instancesOf(door)];
  }
  assert.deepEqual(stillRunning(family), []);
  assert.deepEqual(tracesOf({ dataDir: dir.path }, instances), NO_TRACES);
  assert.ok(
    !existsSync(join(dir.path, "tables.db-wal")) || readFileSync(join(dir.path, "tables.db-wal")).length === 0,
    "the log is in the file",
  );
  await using door = await startDoor(undefined, dir.path);
  const by = again(door, tenant);
  await until("every row has ended", async () => (await all(by)).every(({ state }) => state === "ended"), SWEPT_MS);
  assert.deepEqual(new Set((await all(by)).map(({ endReason }) => endReason)), new Set(["engine_restarted"]));
});

test("a second server on the same data folder is refused and disturbs nothing", async () => {
  await using dir = await tempDir();
  await using door = await startDoor(undefined, dir.path);
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  await assert.rejects(startDoor(undefined, dir.path), /another Cleanroom runs on/);
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
});

/** Kills the first process of an instance, as the host numbers it; the server wrote it down. */
function killInit(door: Door, instance: string): void {
  const { processes } = JSON.parse(readFileSync(join(door.dataDir, "run", instance, "started.json"), "utf8")) as {
    processes: { pid: number }[];
  };
  const [init] = processes;
  assert.ok(init);
  process.kill(init.pid, "SIGKILL");
}

function commandOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
}
