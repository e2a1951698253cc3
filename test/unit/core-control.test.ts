import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMITS as BOUNDS } from "#contract/limits.ts";
import { controlOf, giveControl, holdControl, noticeLapse, readControl, refuseWhileHeld, takeControl, type Taker } from "#core/control.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const ADA: Taker = { id: "view:ada", name: "Ada" };
const BOB: Taker = { id: "view:bob", name: "Bob" };
const ASKED = { holdMs: BOUNDS.controlGraceMs, asked: true };

async function openBox(): Promise<Core> {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "box-1" }));
  return core;
}

const take = ({ platform }: Core, taker: Taker, more = {}) => takeControl(platform, ONE, "box-1", taker, { ...ASKED, ...more });
const give = ({ platform }: Core, by: string, anyones = false) => giveControl(platform, ONE, "box-1", by, anyones);
const holder = async ({ platform }: Core) => (await readControl(platform, ONE, "box-1"))?.name;

test("one has control; another is told who, since when and until when, and has it once it was given back", async () => {
  const core = await openBox();
  await take(core, ADA);
  await assert.rejects(
    take(core, BOB),
    (error: Error) => isProblem("control_held")(error) && error.message.startsWith("Ada has had control of the sandbox box-1 since "),
  );
  await assert.rejects(give(core, BOB.id), isProblem("control_held"));
  await assert.rejects(refuseWhileHeld(core.platform, ONE, "box-1"), isProblem("control_held"));
  await give(core, ADA.id);
  await give(core, ADA.id);
  await refuseWhileHeld(core.platform, ONE, "box-1");
  assert.equal((await take(core, BOB)).name, "Bob");
});

test("control ends by itself when its holder is away for longer than the grace, and not while they are there", async () => {
  const core = await openBox();
  await take(core, ADA);
  core.clock.advance(BOUNDS.controlGraceMs - 1);
  assert.equal(await holdControl(core.platform, ONE, "box-1", ADA.id, BOUNDS.controlGraceMs), true);
  core.clock.advance(BOUNDS.controlGraceMs - 1);
  assert.equal(await holder(core), "Ada");
  core.clock.advance(1);
  assert.equal(await holder(core), undefined);
  assert.equal(await controlOf(core.platform, ONE, "box-1"), undefined);
  assert.equal(await holdControl(core.platform, ONE, "box-1", ADA.id, BOUNDS.controlGraceMs), false, "what has ended is not held on to");
});

test("who takes by force has it, and who had it is heard no more", async () => {
  const core = await openBox();
  await take(core, ADA);
  await take(core, BOB, { force: true });
  assert.equal(await holder(core), "Bob");
  assert.equal(await holdControl(core.platform, ONE, "box-1", ADA.id, 1000), false);
});

test("of many who take at once one has control, in whatever order they meet, and each turn is written down once", async () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const core = await openBox();
    shuffle(core, seed);
    const takers = Array.from({ length: 6 }, (_value, at) => ({ id: `view:${at}`, name: `Taker ${at}` }));
    const results = await Promise.allSettled(takers.map((taker) => take(core, taker)));
    assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1, `seed ${seed}`);
    await Promise.all(takers.map(() => give(core, "key:owner", true)));
    core.clock.advance(1);
    await Promise.all(takers.map(() => noticeLapse(core.platform, ONE, "box-1")));
    const turns = core.events.filter(({ name }) => name === "sandbox.control").map(({ facts }) => facts["turn"]);
    assert.deepEqual(turns, ["taken", "taken away"], `seed ${seed}`);
  }
});

test("a lapse is written down once, by whoever notices first, and takes nothing from who has control by then", async () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const core = await openBox();
    await take(core, ADA);
    core.clock.advance(BOUNDS.controlGraceMs);
    shuffle(core, seed);
    await Promise.all([noticeLapse(core.platform, ONE, "box-1"), take(core, BOB), noticeLapse(core.platform, ONE, "box-1")]);
    assert.equal(await holder(core), "Bob", `seed ${seed}`);
    const turns = core.events
      .filter(({ name }) => name === "sandbox.control")
      .map(({ facts }) => `${String(facts["holder"])} ${String(facts["turn"])}`);
    assert.deepEqual(turns.toSorted(), ["Ada lapsed", "Ada taken", "Bob taken"], `seed ${seed}`);
  }
});

test("what has ended, or is another's, is nobody's to control", async () => {
  const core = await openBox();
  await assert.rejects(takeControl(core.platform, projectOf("p2"), "box-1", ADA, ASKED), isProblem("sandbox_not_found"));
  await take(core, ADA);
  await endSandbox(core.platform, ONE, "box-1", "deleted");
  await assert.rejects(take(core, ADA), isProblem("sandbox_ended"));
  assert.equal(await holder(core), undefined);
});
