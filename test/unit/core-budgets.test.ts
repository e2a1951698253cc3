import assert from "node:assert/strict";
import { test } from "node:test";
import { Budget, type BudgetStatus, ProjectBudget } from "#contract/budget.ts";
import { CreateTask } from "#contract/task.ts";
import { getProjectBudget, setProjectBudget } from "#core/usage/budgets.ts";
import { meterAll } from "#core/usage/pass.ts";
import { costOfTask } from "#core/usage/reports.ts";
import { createSandbox, endSandbox, getSandbox, requestSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { createTask } from "#core/tasks.ts";
import { type Core, CORE_LIMITS as LIMITS, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1", 100);
const ROOT = { project: projectOf("root"), accessKeyId: "r", root: true };
const MINUTE = 60_000;
/** What a sandbox of the built-in template costs in a minute. */
const PER_MINUTE = 0.00333;

async function opened(budget?: object): Promise<Core> {
  const core = openCore();
  await core.platform.tables.put("projects", ONE.id, ONE);
  if (budget) await createTask(core.platform, ONE, CreateTask.parse({ id: "work", budget }));
  return core;
}

const usd = (amount: number, more: object = {}) => ({ money: { currency: "USD", amount: amount.toFixed(9) }, ...more });
const make = (core: Core, id: string) => createSandbox(core.platform, LIMITS, ONE, spec({ id, taskId: "work" }));
const statusOf = async (core: Core): Promise<BudgetStatus> => {
  const { budget } = await costOfTask(core.platform, ONE, "work", "USD");
  assert.ok(budget);
  return budget;
};
const moneyOf = async (core: Core) => (await statusOf(core)).lines.find(({ of }) => of === "money");
const execute = (core: Core, id: string, method = "POST") =>
  requestSandbox(
    core.platform,
    ONE,
    id,
    new Request("http://x/contexts/execute", { method, ...(method === "POST" ? { body: "{}" } : {}) }),
  );

test("however many begin at once, no more is set aside than there is", async () => {
  for (let seed = 0; seed < 10; seed += 1) {
    const core = await opened(usd(3.5 * PER_MINUTE));
    shuffle(core, seed);
    const made = await Promise.allSettled(Array.from({ length: 12 }, (_, at) => make(core, `mine-${at}`)));
    assert.equal(made.filter(({ status }) => status === "fulfilled").length, 3);
    for (const one of made) if (one.status === "rejected") assert.ok(isProblem("budget_spent")(one.reason));
    assert.equal((await moneyOf(core))?.reserved, "0.00999");
    assert.equal(core.engine.living.length, 3);
  }
});

test("a sandbox for which nothing more can be set aside is ended with the reason `budget`, before the budget is passed", async () => {
  const core = await opened(usd(3.5 * PER_MINUTE, { alertsAt: [50, 80] }));
  await make(core, "mine-1");
  for (let minute = 1; minute <= 2; minute += 1) {
    core.clock.advance(MINUTE);
    await meterAll(core.platform, LIMITS);
    assert.equal((await getSandbox(core.platform, ONE, "mine-1")).state, "ready", `minute ${minute}`);
  }
  await execute(core, "mine-1");
  core.clock.advance(MINUTE);
  await meterAll(core.platform, LIMITS);
  assert.partialDeepStrictEqual(await getSandbox(core.platform, ONE, "mine-1"), { state: "ended", endReason: "budget" });
  const money = await moneyOf(core);
  assert.deepEqual([money?.spent, money?.reserved], ["0.00999", "0"]);
  assert.equal((await statusOf(core)).spent, true);
  await assert.rejects(make(core, "mine-2"), isProblem("budget_spent"));
  const told = core.events.filter(({ name }) => name === "budget.alert").map(({ facts }) => facts["percent"]);
  assert.deepEqual(told, [50, 80], "each is told once");
});

test("a spent budget refuses what would use more in its other sandboxes, and lets out what is there", async () => {
  const core = await opened({ ...usd(4.2 * PER_MINUTE), units: { executes: 1000 } });
  await make(core, "mine-1");
  await make(core, "mine-2");
  core.clock.advance(MINUTE);
  await meterAll(core.platform, LIMITS);
  core.clock.advance(MINUTE);
  await meterAll(core.platform, LIMITS);
  const states = await Promise.all(["mine-1", "mine-2"].map(async (id) => (await getSandbox(core.platform, ONE, id)).state));
  assert.ok(states.includes("ended"));
  const left = ["mine-1", "mine-2"].find((_, at) => states[at] === "ready");
  if (left === undefined) return;
  core.clock.advance(2000);
  await assert.rejects(execute(core, left), isProblem("budget_spent"));
  assert.equal((await execute(core, left, "GET")).status, 200);
});

test("units bound as money does", async () => {
  const core = await opened({ units: { cpu_allocated: 300 } });
  await make(core, "mine-1");
  await make(core, "mine-2");
  await assert.rejects(make(core, "mine-3"), isProblem("budget_spent"));
  await endSandbox(core.platform, ONE, "mine-2", "deleted");
  await make(core, "mine-3");
  assert.deepEqual((await statusOf(core)).lines, [{ of: "cpu_allocated", unit: "vCPU-second", limit: "300", spent: "0", reserved: "240" }]);
});

test("what a creation set aside comes back when it fails, wherever it is cut short", async () => {
  for (let failing = 1; ; failing += 1) {
    const core = await opened(usd(2.5 * PER_MINUTE));
    let writes = 0;
    core.tables.before = () => {
      writes += 1;
      if (writes >= failing) throw new Error("the process was killed");
    };
    await make(core, "mine-1").catch(() => undefined);
    core.tables.before = () => {};
    for (let round = 0; round < 2; round += 1) {
      core.clock.advance(2 * MINUTE);
      await sweep(core.platform, LIMITS);
      await meterAll(core.platform, LIMITS);
    }
    const isMade = writes < failing;
    if (isMade) break;
    const account = await core.platform.tables.get<{ open: object }>("budgets", "p1/work");
    assert.deepEqual(account?.value.open ?? {}, {}, `after ${failing} writes`);
  }
});

test("what is spent is what is billed, wherever an ending is cut short", async () => {
  for (let failing = 1; ; failing += 1) {
    const core = await opened(usd(100));
    await make(core, "mine-1");
    core.clock.advance(90_000);
    let writes = 0;
    core.tables.before = () => {
      writes += 1;
      if (writes >= failing) throw new Error("the process was killed");
    };
    await endSandbox(core.platform, ONE, "mine-1", "deleted").catch(() => undefined);
    core.tables.before = () => {};
    for (let round = 0; round < 2; round += 1) {
      core.clock.advance(2 * MINUTE);
      await sweep(core.platform, LIMITS);
    }
    // Whose ending was cut short before it began is asked to end once more.
    if ((await getSandbox(core.platform, ONE, "mine-1")).state === "ready") await endSandbox(core.platform, ONE, "mine-1", "deleted");
    const [money, bill] = [await moneyOf(core), await costOfTask(core.platform, ONE, "work", "USD")];
    assert.deepEqual([money?.spent, money?.reserved], [bill.total, "0"], `after ${failing} writes`);
    if (writes < failing) break;
  }
});

test("a project's budget begins anew with its period, and bounds all its tasks together", async () => {
  const core = await opened();
  const { platform, clock } = core;
  await setProjectBudget(platform, ROOT, ONE.id, ProjectBudget.parse({ budget: usd(2.5 * PER_MINUTE), period: "day" }));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-2" }));
  await assert.rejects(createSandbox(platform, LIMITS, ONE, spec({ id: "mine-3" })), isProblem("budget_spent"));
  clock.advance(MINUTE);
  await meterAll(platform, LIMITS);
  const { status } = await getProjectBudget(platform, ROOT, ONE.id);
  assert.equal(status?.spent, true);
  clock.advance(24 * 60 * MINUTE);
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-4" }));
  assert.equal((await getProjectBudget(platform, ROOT, ONE.id)).status?.spent, false);
  const other = { project: projectOf("p2"), accessKeyId: "x", root: false };
  await assert.rejects(getProjectBudget(platform, other, ONE.id), isProblem("project_not_found"));
  await assert.rejects(
    setProjectBudget(platform, { ...other, project: ONE }, ONE.id, ProjectBudget.parse({ budget: usd(1) })),
    isProblem("forbidden"),
  );
});

test("a budget that bounds nothing, or nothing that there is, is refused", () => {
  for (const bad of [{}, { units: {} }, { money: { currency: "EUR", amount: "1" } }, { units: { tokens: 5 } }, usd(1, { alertsAt: [0] })])
    assert.equal(Budget.safeParse(bad).success, false, JSON.stringify(bad));
});
