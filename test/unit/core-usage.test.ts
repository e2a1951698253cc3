import assert from "node:assert/strict";
import { test } from "node:test";
import { METERS, type Meter, UsageQuery, type UsageLine } from "#contract/usage.ts";
import { CreateTask } from "#contract/task.ts";
import { pauseSandbox, resumeSandbox } from "#core/pauses.ts";
import type { UsageRow } from "#core/usage/metering.ts";
import { meterAll } from "#core/usage/pass.ts";
import { costOfTask, reportUsage, setUsageSettings } from "#core/usage/reports.ts";
import { createSandbox, endSandbox, getSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { createTask } from "#core/tasks.ts";
import { type Core, CORE_LIMITS as LIMITS, openCore, projectOf, shuffle, spec } from "#support/core.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const query = (fields: object = {}) => UsageQuery.parse(fields);

/** A core that knows its project, as a door would. */
async function opened(): Promise<Core> {
  const core = openCore();
  await core.platform.tables.put("projects", ONE.id, ONE);
  return core;
}

const quantity = (lines: readonly UsageLine[], meter: Meter) =>
  lines.filter((line) => line.meter === meter).reduce((sum, line) => sum + line.quantity, 0);
const requests = (lines: readonly UsageLine[]) => quantity(lines, "requests");
const rowsOf = ({ platform }: Core) => platform.tables.range<UsageRow>("usage", "", { limit: 1000 });
const usedIn = async (core: Core, meter: Meter) =>
  (await rowsOf(core)).reduce((sum, { value }) => sum + (value.used[meter] ?? 0), 0) / METERS[meter].per;

test("what a sandbox had is billed by its row's own times, to the millisecond", async () => {
  const core = await opened();
  const { platform, clock } = core;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  clock.advance(90_001);
  await endSandbox(platform, ONE, "mine-1", "deleted");
  clock.advance(MINUTE);
  const bill = await costOfTask(platform, ONE, "mine-1", "USD");
  assert.equal(quantity(bill.lines, "cpu_allocated"), 2 * 90.001);
  assert.equal(quantity(bill.lines, "cpu_used"), 0.005, "as the engine counted it");
  assert.equal(bill.final, true);
  // 2 vCPU at 0.00002, 2 GiB at 0.000003 and 9.5 GiB of disk at 0.000001 a second.
  assert.equal(bill.total, "0.004995056");
});

test("a rest costs a tenth of its memory and nothing of its cores, however often it comes between two passes", async () => {
  const core = await opened();
  const { platform, clock } = core;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  for (let round = 0; round < 3; round += 1) {
    clock.advance(10 * SECOND);
    await pauseSandbox(platform, ONE, "mine-1");
    clock.advance(100 * SECOND);
    await resumeSandbox(platform, ONE, "mine-1");
  }
  await pauseSandbox(platform, ONE, "mine-1");
  clock.advance(7 * SECOND);
  await endSandbox(platform, ONE, "mine-1", "deleted");
  const { lines } = await costOfTask(platform, ONE, "mine-1", "USD");
  assert.equal(quantity(lines, "cpu_allocated"), 2 * 30);
  assert.equal(quantity(lines, "memory_paused"), 2 * 307);
});

test("each stretch is one row, whoever meters it and however many do so at once", async () => {
  for (let seed = 0; seed < 20; seed += 1) {
    const core = await opened();
    const { platform, clock } = core;
    await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
    shuffle(core, seed);
    for (let minute = 0; minute < 3; minute += 1) {
      clock.advance(MINUTE);
      await Promise.all([meterAll(platform, LIMITS), meterAll(platform, LIMITS), meterAll(platform, LIMITS)]);
    }
    await Promise.all([endSandbox(platform, ONE, "mine-1", "deleted"), meterAll(platform, LIMITS)]);
    const rows = await rowsOf(core);
    assert.equal(rows.length, 3, "a row for each minute, and none for the moment of the end");
    assert.equal(await usedIn(core, "cpu_allocated"), 2 * 180);
    const billed = await reportUsage(platform, ONE, query());
    assert.equal(quantity(billed.items[0]?.lines ?? [], "cpu_allocated"), 2 * 180);
  }
});

test("a crash between any two writes of a metering neither loses nor doubles anything", async () => {
  for (let failing = 1; ; failing += 1) {
    const core = await opened();
    const { platform, clock, tables } = core;
    await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
    clock.advance(MINUTE);
    let writes = 0;
    // From that write on nothing is written any more, as if the process were gone.
    tables.before = () => {
      writes += 1;
      if (writes >= failing) throw new Error("the process was killed");
    };
    await meterAll(platform, LIMITS);
    await endSandbox(platform, ONE, "mine-1", "deleted").catch(() => undefined);
    tables.before = () => {};
    clock.advance(2 * MINUTE);
    await sweep(platform, LIMITS);
    clock.advance(2 * MINUTE);
    await sweep(platform, LIMITS);
    // Whose ending was cut short before it began is asked to end once more.
    if ((await getSandbox(platform, ONE, "mine-1")).state === "ready") await endSandbox(platform, ONE, "mine-1", "deleted");
    const { lines } = await costOfTask(platform, ONE, "mine-1", "USD");
    const [billed, reported] = [await usedIn(core, "cpu_allocated"), await reportUsage(platform, ONE, query())];
    assert.equal(billed, quantity(lines, "cpu_allocated"), `rows and bill differ after ${failing} writes`);
    assert.equal(billed, quantity(reported.items[0]?.lines ?? [], "cpu_allocated"), `rows and report differ after ${failing} writes`);
    assert.ok([60, 180, 300].includes(billed / 2), `${billed} vCPU-seconds after ${failing} writes`);
    if (writes < failing) break;
  }
});

test("an engine whose counter begins again is added to, and one that says nonsense is not believed", async () => {
  const core = await opened();
  const { platform, clock, engine } = core;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const said = [400, 900, 100, 100, Number.NaN, -5, 250];
  const facts = engine.facts.bind(engine);
  for (const cpuMs of said) {
    engine.facts = async (ref) => {
      const known = await facts(ref);
      return known?.usage ? { ...known, usage: { ...known.usage, cpuMs } } : known;
    };
    clock.advance(MINUTE);
    await meterAll(platform, LIMITS);
  }
  assert.equal(await usedIn(core, "cpu_used"), 1.15);
});

test("a clock that is set back bills nothing twice, and one that leaps no more than the sandbox may live", async () => {
  const back = await opened();
  await createSandbox(back.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  back.clock.advance(2 * MINUTE);
  await meterAll(back.platform, LIMITS);
  back.clock.advance(-90 * SECOND);
  await meterAll(back.platform, LIMITS);
  back.clock.advance(3 * MINUTE);
  await endSandbox(back.platform, ONE, "mine-1", "deleted");
  assert.equal(await usedIn(back, "cpu_allocated"), 2 * 210);

  const leap = await opened();
  await createSandbox(leap.platform, LIMITS, ONE, spec({ id: "mine-1", lifetimeMs: 10 * MINUTE }));
  leap.clock.advance(365 * 24 * 60 * MINUTE);
  await meterAll(leap.platform, LIMITS);
  await endSandbox(leap.platform, ONE, "mine-1", "lifetime");
  assert.equal(await usedIn(leap, "cpu_allocated"), 2 * 600);
});

test("one that died before anybody noticed is billed up to its death, as the engine tells it", async () => {
  const core = await opened();
  const { platform, clock, engine } = core;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  clock.advance(70 * SECOND);
  const endedAtMs = clock.now();
  engine.end("p1_mine-1", "crashed");
  const facts = engine.facts.bind(engine);
  engine.facts = async (ref) => ({ live: false, ...(await facts(ref)), endedAtMs });
  clock.advance(50 * MINUTE);
  await meterAll(platform, LIMITS);
  await sweep(platform, LIMITS);
  assert.equal(await usedIn(core, "cpu_allocated"), 2 * 70);
});

test("what was counted and still on its way when a sandbox ended is billed all the same, once", async () => {
  const core = await opened();
  const { platform, clock } = core;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const source = { projectId: ONE.id, id: "mine-1" };
  platform.counts.count(source, { executes: 2 });
  clock.advance(SECOND);
  await endSandbox(platform, ONE, "mine-1", "deleted");
  platform.counts.count(source, { executes: 1 });
  await platform.counts.flush();
  await platform.counts.flush();
  assert.equal(await usedIn(core, "executes"), 3);
  assert.equal(await usedIn(core, "cpu_allocated"), 2);
});

test("reports group by agent, template, task and day, in pages, and are of the own project alone", async () => {
  const core = await opened();
  const { platform, clock } = core;
  await createTask(platform, ONE, CreateTask.parse({ id: "t1", agent: { name: "analyst" } }));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1", taskId: "t1" }));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-2" }));
  await createSandbox(platform, LIMITS, OTHER, spec({ id: "theirs-1" }));
  for (let hour = 0; hour < 30; hour += 1) {
    clock.advance(3_600_000);
    for (const id of ["mine-1", "mine-2"]) platform.counts.count({ projectId: ONE.id, id }, { requests: 10 });
    await platform.counts.flush();
    await meterAll(platform, LIMITS);
  }
  const by = async (groupBy: string, more: object = {}) => reportUsage(platform, ONE, query({ groupBy, ...more }));
  assert.deepEqual(
    (await by("agent")).items.map(({ agent, lines }) => [agent, requests(lines)]),
    [
      [undefined, 300],
      ["analyst", 300],
    ],
  );
  assert.deepEqual(
    (await by("day")).items.map(({ day, lines }) => [day, requests(lines)]),
    [
      ["2026-01-01", 460],
      ["2026-01-02", 140],
    ],
  );
  const first = await by("task,day", { limit: 3 });
  const second = await by("task,day", { limit: 3, after: first.next });
  assert.deepEqual(
    [...first.items, ...second.items].map(({ taskId, day, lines }) => [taskId, day, requests(lines)]),
    [
      ["mine-2", "2026-01-01", 230],
      ["mine-2", "2026-01-02", 70],
      ["t1", "2026-01-01", 230],
      ["t1", "2026-01-02", 70],
    ],
  );
  assert.equal(second.next, undefined);
  const part = await by("project", { from: "2026-01-01T05:30:00.000Z", to: "2026-01-01T10:30:00.000Z" });
  assert.deepEqual(
    part.items.map(({ project, lines }) => [project, requests(lines)]),
    [["p1", 100]],
  );
  assert.equal((await reportUsage(platform, projectOf("p3"), query())).items.length, 0);
});

test("sums of an hour that got a row since are not believed, and made again", async () => {
  const core = await opened();
  const { platform, clock } = core;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  clock.advance(MINUTE);
  await meterAll(platform, LIMITS);
  clock.advance(3_600_000);
  await meterAll(platform, LIMITS);
  const [row] = await rowsOf(core);
  assert.ok(row);
  const before = (await reportUsage(platform, ONE, query())).items[0]?.lines ?? [];
  // A row of an hour that is over, by somebody who was held up in the middle of writing it.
  await platform.tables.put("usage", `${row.key}-late`, row.value);
  await platform.tables.add("usage-marks", row.key.split("/").slice(0, 2).join("/"), 1);
  const after = (await reportUsage(platform, ONE, query())).items[0]?.lines ?? [];
  assert.equal(quantity(after, "cpu_allocated") - quantity(before, "cpu_allocated"), 2 * 60);
  await meterAll(platform, LIMITS);
  assert.deepEqual((await reportUsage(platform, ONE, query())).items[0]?.lines, after);
});

test("a project counts in the currency that it chose", async () => {
  const { platform, clock } = await opened();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  clock.advance(SECOND);
  await setUsageSettings(platform, ONE, { currency: "CNY" });
  const bill = await costOfTask(platform, ONE, "mine-1", undefined);
  assert.equal(bill.currency, "CNY");
  assert.equal(bill.lines.find(({ meter }) => meter === "cpu_allocated")?.amount, "0.00022");
});
