import assert from "node:assert/strict";
import { test } from "node:test";
import { reconcileQuota } from "#core/quotas.ts";
import { createSandbox, endSandbox, getSandbox, updateSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { createTemplate, deleteTemplate } from "#core/templates.ts";
import { CORE_LIMITS as LIMITS, openCore, projectOf, shuffle, spec } from "#support/core.ts";

const SEEDS = Array.from({ length: 20 }, (_value, at) => at + 1);

test("in whatever order creates, endings, corrections and sweeps meet, the quota holds and the count comes right", async () => {
  for (const seed of SEEDS) {
    const core = openCore();
    const { platform, engine, tables } = core;
    const project = projectOf("p1", 4);
    shuffle(core, seed);
    engine.workspace = () => Response.json({ busy: true, idleMs: 0 });
    const turns = engine.before;
    // A correction that is written long after it was counted is the one that could undo what came between.
    tables.before = async (operation, table) => {
      for (let late = operation === "put" && table === "quotas" ? 6 : 1; late > 0; late -= 1) await turns(operation, undefined);
    };
    let most = 0;
    engine.before = async (operation, ref) => {
      most = Math.max(most, engine.living.length);
      await turns(operation, ref);
    };
    const life = async (id: string) => {
      const made = createSandbox(platform, LIMITS, project, spec({ id })).catch(() => {});
      // Every other one is ended while it is still in the making.
      if (Number(id.slice(4)) % 2 === 0) await made;
      else for (let wait = 0; wait < 50 && !(await tables.get("sandboxes", `p1/${id}`)); wait += 1);
      await endSandbox(platform, project, id, "deleted").catch(() => {});
      await made;
    };
    // Corrections could also hide a wrong count, so every other round goes without.
    const correcting = async () => {
      for (let run = 0; run < 10 * (seed % 2); run += 1) await reconcileQuota(platform, "p1");
    };
    await Promise.all([...Array.from({ length: 12 }, (_value, at) => life(`box-${at}`)), correcting(), correcting()]);
    const more = Array.from({ length: 12 }, (_value, at) =>
      createSandbox(platform, LIMITS, project, spec({ id: `more-${at}` })).catch(() => {}),
    );
    await Promise.all([...more, correcting(), correcting()]);
    most = Math.max(most, engine.living.length);
    assert.ok(most <= 4, `seed ${seed}: ${most} lived at once`);
    for (let run = 0; run < 3; run += 1) {
      core.clock.advance(120_000);
      await sweep(platform, LIMITS);
    }
    const count = await core.tables.get<number>("quotas", "p1/sandboxes");
    assert.equal(count?.value, engine.living.length, `seed ${seed}`);
  }
});

test("a correction takes no place from a creation that has only announced itself, or that has given its place back", async () => {
  const core = openCore();
  const { platform, tables } = core;
  const project = projectOf("p1", 5);
  const create = (id: string) => createSandbox(platform, LIMITS, project, spec({ id }));
  await create("before-1");
  await endSandbox(platform, project, "before-1", "deleted");
  // Five have announced themselves when the first of them takes its place.
  let corrections = 0;
  tables.before = async (operation) => {
    if (operation !== "add" || corrections > 0) return;
    corrections += 1;
    await reconcileQuota(platform, "p1");
  };
  const made = await Promise.all(["box-1", "box-2", "box-3", "box-4", "box-5"].map(create));
  assert.equal(made.length, 5);
  // And one that has given its place back is still announced for a moment.
  tables.before = async (operation, table) => {
    if (operation === "remove" && table === "living") await reconcileQuota(platform, "p1");
  };
  await endSandbox(platform, project, "box-1", "deleted");
  assert.equal((await create("box-6")).sandbox.state, "ready");
  assert.equal(corrections, 1);
});

test("in whatever order they meet, a template is deleted or a sandbox is made of it, never both", async () => {
  let deletions = 0;
  for (const seed of SEEDS) {
    const core = openCore();
    const project = projectOf("p1");
    await createTemplate(core.platform, LIMITS, project, { name: "mine", type: "CodeInterpreter" });
    shuffle(core, seed);
    const wait = seed % 4;
    const [made, deleted] = await Promise.allSettled([
      createSandbox(core.platform, LIMITS, project, spec({ template: "mine" })),
      (async () => {
        for (let left = wait * 4; left > 0; left -= 1) await new Promise(setImmediate);
        await deleteTemplate(core.platform, project, "mine");
      })(),
    ]);
    assert.notDeepEqual([made.status, deleted.status], ["fulfilled", "fulfilled"], `seed ${seed}`);
    if (deleted.status === "fulfilled") deletions += 1;
    assert.equal(core.engine.functions.size, deleted.status === "fulfilled" ? 0 : 1);
  }
  assert.ok(deletions > 0 && deletions < SEEDS.length, `${deletions} deletions: the orders differ`);
});

test("in whatever order they meet, no change is lost and an ending is final", async () => {
  for (const seed of SEEDS) {
    const core = openCore();
    const project = projectOf("p1");
    await createSandbox(core.platform, LIMITS, project, spec({ id: "mine-1" }));
    shuffle(core, seed);
    await Promise.all([
      updateSandbox(core.platform, LIMITS, project, "mine-1", { name: "n" }),
      updateSandbox(core.platform, LIMITS, project, "mine-1", { metadata: { a: "b" } }),
    ]);
    const changed = await getSandbox(core.platform, project, "mine-1");
    assert.deepEqual([changed.name, changed.metadata], ["n", { a: "b" }], `seed ${seed}`);
    await Promise.allSettled([
      endSandbox(core.platform, project, "mine-1", "deleted"),
      updateSandbox(core.platform, LIMITS, project, "mine-1", { name: "m" }),
      endSandbox(core.platform, project, "mine-1", "stopped"),
    ]);
    assert.equal((await getSandbox(core.platform, project, "mine-1")).state, "ended");
    assert.equal(core.events.filter((event) => event.name === "sandbox.ended").length, 1);
  }
});

test("a row read while it is being written is not remembered as it was", async () => {
  const core = openCore();
  const { platform, tables } = core;
  await platform.tables.put("t", "k", "old");
  const { promise: held, resolve: release } = Promise.withResolvers<void>();
  tables.afterGet = () => held;
  const reading = platform.recent.get("t", "k");
  await new Promise(setImmediate);
  await platform.tables.put("t", "k", "new");
  release();
  tables.afterGet = () => {};
  assert.equal((await reading)?.value, "old");
  assert.equal((await platform.recent.get("t", "k"))?.value, "new");
});
