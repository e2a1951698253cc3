import assert from "node:assert/strict";
import { test } from "node:test";
import { reconcileQuota } from "#core/quotas.ts";
import { createSandbox, endSandbox, getSandbox, updateSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, spec } from "#support/core.ts";

const ONE = projectOf("p1");
const MINUTE_MS = 60_000;

interface Activity {
  busy: boolean;
  idleMs: number;
}

function setActivity(core: Core, activity: Activity): void {
  core.engine.workspace = () => Response.json(activity);
}

async function leftovers(core: Core) {
  const { tables } = core.platform;
  const count = async (table: string) => (await tables.range(table, "", { limit: 100 })).length;
  return {
    sessions: core.engine.living.length,
    living: await count("living"),
    due: await count("due"),
    quota: (await tables.get<number>("quotas", "p1/sandboxes"))?.value ?? 0,
  };
}

const NOTHING = { sessions: 0, living: 0, due: 0, quota: 0 };

/** Lets a process die at its nth step: from there on nothing that it does has an effect. */
function dieAt(core: Core, step: number): { died: () => boolean; revive: () => void } {
  let steps = 0;
  let dead = false;
  const live = (): void => {
    steps += 1;
    if (steps >= step) dead = true;
    if (dead) throw new Error("the process is dead");
  };
  core.tables.before = live;
  core.engine.before = live;
  return {
    died: () => dead,
    revive() {
      core.tables.before = () => {};
      core.engine.before = () => {};
    },
  };
}

test("whatever step of a create a process dies at, the sweep finishes the story", async () => {
  let step = 1;
  for (; ; step += 1) {
    const core = openCore();
    const process = dieAt(core, step);
    const made = await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" })).then(
      () => true,
      () => false,
    );
    process.revive();
    if (!process.died()) {
      assert.ok(made);
      break;
    }
    core.clock.advance(2 * MINUTE_MS);
    setActivity(core, { busy: false, idleMs: 24 * 60 * MINUTE_MS });
    for (let run = 0; run < 3; run += 1) {
      await sweep(core.platform, LIMITS);
      core.clock.advance(2 * MINUTE_MS);
    }
    assert.deepEqual(await leftovers(core), NOTHING, `died at step ${step}`);
  }
  assert.ok(step > 7, `a create has ${step} steps`);
});

test("whatever step of an ending a process dies at, the sweep finishes the story", async () => {
  for (let step = 1; ; step += 1) {
    const core = openCore();
    await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
    await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-2" }));
    const process = dieAt(core, step);
    await endSandbox(core.platform, ONE, "mine-1", "deleted").catch(() => {});
    process.revive();
    if (!process.died()) return;
    setActivity(core, { busy: true, idleMs: 0 });
    if ((await getSandbox(core.platform, ONE, "mine-1")).state === "ready") await endSandbox(core.platform, ONE, "mine-1", "deleted");
    for (let run = 0; run < 3; run += 1) {
      core.clock.advance(2 * MINUTE_MS);
      await sweep(core.platform, LIMITS);
    }
    const ended = await getSandbox(core.platform, ONE, "mine-1");
    assert.deepEqual([ended.state, ended.endReason], ["ended", "deleted"], `died at step ${step}`);
    assert.deepEqual(await leftovers(core), { sessions: 1, living: 1, due: 1, quota: 1 }, `died at step ${step}`);
  }
});

test("an ending that was cut short is finished by the next sweep, however far its due moment", async () => {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", idleTimeoutMs: 300 * MINUTE_MS }));
  setActivity(core, { busy: true, idleMs: 0 });
  core.clock.advance(2 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  const process = dieAt(core, 2);
  await assert.rejects(endSandbox(core.platform, ONE, "mine-1", "deleted"));
  process.revive();
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).state, "ending");
  core.clock.advance(MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "deleted");
  assert.deepEqual(await leftovers(core), NOTHING);
});

test("an idle sandbox ends, a busy one does not, and asking is no use of it", async () => {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", idleTimeoutMs: 10 * MINUTE_MS }));
  setActivity(core, { busy: true, idleMs: 0 });
  core.clock.advance(60 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).state, "ready");
  setActivity(core, { busy: false, idleMs: 4 * MINUTE_MS });
  core.clock.advance(11 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).state, "ready");
  const asked = core.engine.requests.length;
  core.clock.advance(5 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal(core.engine.requests.length, asked, "it is not asked before its moment has come");
  setActivity(core, { busy: false, idleMs: 10 * MINUTE_MS });
  core.clock.advance(2 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "idle");
  assert.deepEqual(await leftovers(core), NOTHING);
});

test("a sandbox that is being made for longer than it may rest is left to its maker", async () => {
  const core = openCore();
  setActivity(core, { busy: false, idleMs: 0 });
  core.engine.before = async (operation) => {
    if (operation !== "started") return;
    core.engine.before = () => {};
    core.clock.advance(2000);
    await sweep(core.platform, LIMITS);
  };
  const limits = { ...LIMITS, idleMinMs: 1000 };
  const { sandbox } = await createSandbox(core.platform, limits, ONE, spec({ id: "mine-1", idleTimeoutMs: 1000 }));
  assert.equal(sandbox.state, "ready");
  core.clock.advance(1000);
  setActivity(core, { busy: false, idleMs: MINUTE_MS });
  await sweep(core.platform, LIMITS);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "idle");
});

test("a shorter idle time counts from when it is set", async () => {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", idleTimeoutMs: 300 * MINUTE_MS }));
  setActivity(core, { busy: false, idleMs: 5 * MINUTE_MS });
  core.clock.advance(5 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  await updateSandbox(core.platform, LIMITS, ONE, "mine-1", { idleTimeoutMs: 2 * MINUTE_MS });
  core.clock.advance(3 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "idle");
  await sweep(core.platform, LIMITS);
  assert.deepEqual(await leftovers(core), NOTHING);
});

test("a life ends at its end, however busy", async () => {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", lifetimeMs: 30 * MINUTE_MS }));
  setActivity(core, { busy: true, idleMs: 0 });
  for (let minute = 0; minute < 31; minute += 1) {
    core.clock.advance(MINUTE_MS);
    await sweep(core.platform, LIMITS);
  }
  const ended = await getSandbox(core.platform, ONE, "mine-1");
  assert.equal(ended.endReason, "lifetime");
  assert.ok(Date.parse(ended.endedAt ?? "") - Date.parse(ended.endsAt) <= MINUTE_MS);
});

test("a session that is gone ends its row by the engine's reason; a session that no row knows is stopped", async () => {
  const core = openCore();
  const reasons = {
    oom: "oom",
    crashed: "crashed",
    engine_restarted: "engine_restarted",
    ttl: "lifetime",
    idle: "idle",
    deleted: "lost",
  } as const;
  for (const [at, word] of Object.keys(reasons).entries()) {
    await createSandbox(core.platform, LIMITS, ONE, spec({ id: `gone-${at}` }));
    core.engine.end(`p1_gone-${at}`, word as keyof typeof reasons);
  }
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "alive-1" }));
  core.engine.sessions.delete("p1_gone-5");
  await core.engine.start({ functionName: "workspace", sessionId: "p1_stray" }, { lifetimeMs: 1, idleTimeoutMs: 1 });
  await core.engine.start({ functionName: "workspace", sessionId: "foreign" }, { lifetimeMs: 1, idleTimeoutMs: 1 });
  const report = await sweep(core.platform, LIMITS);
  assert.deepEqual({ ended: report.ended, orphans: report.orphans, failed: report.failed }, { ended: 6, orphans: 1, failed: 0 });
  for (const [at, reason] of Object.values(reasons).entries())
    assert.equal((await getSandbox(core.platform, ONE, `gone-${at}`)).endReason, reason);
  assert.deepEqual(core.engine.living.toSorted(), ["foreign", "p1_alive-1"]);
});

test("two sweeps at once end each sandbox once", async () => {
  const core = openCore();
  for (let at = 0; at < 10; at += 1) await createSandbox(core.platform, LIMITS, ONE, spec({ id: `idle-${at}` }));
  setActivity(core, { busy: false, idleMs: 60 * MINUTE_MS });
  core.clock.advance(11 * MINUTE_MS);
  await Promise.all([sweep(core.platform, LIMITS), sweep(core.platform, LIMITS), sweep(core.platform, LIMITS)]);
  assert.equal(core.events.filter((event) => event.name === "sandbox.ended").length, 10);
  assert.deepEqual(await leftovers(core), NOTHING);
});

test("an engine that is away ends nothing", async () => {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  core.engine.before = () => {
    throw new Error("no engine");
  };
  core.clock.advance(20 * MINUTE_MS);
  const report = await sweep(core.platform, LIMITS);
  assert.ok(report.failed > 0);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).state, "ready");
});

test("a thousand creates at once never pass the quota, with failures among them, and the count comes right", async () => {
  const core = openCore();
  const project = projectOf("p1", 100);
  let most = 0;
  let steps = 0;
  core.tables.before = async () => {
    const mine = (steps += 1);
    most = Math.max(most, core.engine.living.length);
    await new Promise(setImmediate);
    if (mine % 37 === 0) throw new Error("the store failed");
  };
  core.engine.before = () => {
    steps += 1;
    most = Math.max(most, core.engine.living.length);
    if (steps % 11 === 0) throw new Error("the engine failed");
  };
  const reconciling = (async () => {
    for (let run = 0; run < 25; run += 1) {
      await reconcileQuota(core.platform, "p1").catch(() => {});
      await new Promise(setImmediate);
    }
  })();
  const results = await Promise.allSettled(Array.from({ length: 1000 }, () => createSandbox(core.platform, LIMITS, project, spec())));
  await reconciling;
  assert.ok(most <= 100, `${most} lived at once`);
  assert.ok(results.some((result) => result.status === "fulfilled"));
  core.tables.before = () => {};
  core.engine.before = () => {};
  setActivity(core, { busy: true, idleMs: 0 });
  for (let run = 0; run < 12; run += 1) {
    core.clock.advance(2 * MINUTE_MS);
    await sweep(core.platform, LIMITS);
  }
  const { sessions, living, quota } = await leftovers(core);
  assert.deepEqual({ living, quota }, { living: sessions, quota: sessions });
  assert.ok(sessions > 0 && sessions <= 100);
});
