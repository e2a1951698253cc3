import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { completeQuotas } from "#core/projects.ts";
import { reconcileQuota } from "#core/quotas.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { createTemplate } from "#core/templates.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const COUNTS = ["sandboxes", "millicores", "memory-mib"] as const;

async function countsOf(core: Core): Promise<number[]> {
  const rows = await Promise.all(COUNTS.map((name) => core.tables.get<number>("quotas", `p1/${name}`)));
  return rows.map((row) => row?.value ?? 0);
}

/** A core with templates of 1 core with 1 GiB and of 2 cores with 2 GiB, and an eye on the most that ever lived. */
async function openSized(quota: Partial<Project["quota"]>) {
  const core = openCore();
  const project = projectOf("p1", 10_000, quota);
  const { platform, engine } = core;
  for (const cores of [1, 2])
    await createTemplate(platform, LIMITS, project, {
      name: `size-${cores}`,
      type: "CodeInterpreter",
      cpu: cores,
      memoryMiB: cores * 1024,
    });
  const most = { sandboxes: 0, cores: 0 };
  const look = () => {
    const living = [...engine.sessions.values()].filter((session) => session.live);
    const cores = living.map(({ ref }) => engine.functions.get(ref.functionName)?.template.cpu ?? 0);
    most.sandboxes = Math.max(most.sandboxes, living.length);
    most.cores = Math.max(
      most.cores,
      cores.reduce((sum, one) => sum + one, 0),
    );
  };
  engine.before = look;
  return { core, project, most, look };
}

const make = ({ platform }: Core, project: Project, count: number) =>
  Promise.allSettled(
    Array.from({ length: count }, (_value, at) =>
      createSandbox(platform, LIMITS, project, spec({ id: `box-${at}`, template: `size-${1 + (at % 2)}` })),
    ),
  );

for (const [name, quota, bound] of [
  ["sandboxes", { sandboxes: 30 }, { sandboxes: 30, cores: Infinity }],
  ["cpu", { cpu: 30 }, { sandboxes: Infinity, cores: 30 }],
  ["memory", { memoryMiB: 30 * 1024 }, { sandboxes: Infinity, cores: 30 }],
] as const) {
  test(`a thousand creates at once do not overshoot the quota of ${name}, and what was refused holds nothing`, async () => {
    const { core, project, most, look } = await openSized(quota);
    const made = await make(core, project, 1000);
    look();
    const living = core.engine.living.length;
    assert.ok(living > 0 && living < 1000);
    assert.ok(most.sandboxes <= bound.sandboxes && most.cores <= bound.cores, JSON.stringify(most));
    for (const one of made) if (one.status === "rejected") assert.ok(isProblem("quota_exceeded")(one.reason));
    const cores = core.engine.living.reduce((sum, id) => sum + (Number(id.split("-")[1]) % 2 === 0 ? 1 : 2), 0);
    assert.deepEqual(await countsOf(core), [living, cores * 1000, cores * 1024]);
    await Promise.all(core.engine.living.map((id) => endSandbox(core.platform, project, id.slice(3), "deleted")));
    assert.deepEqual(await countsOf(core), [0, 0, 0]);
  });
}

test("in whatever order they meet, creates of two sizes hold within all three quotas and all comes back", async () => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const { core, project, most } = await openSized({ sandboxes: 9, cpu: 10, memoryMiB: 12 * 1024 });
    const look = core.engine.before;
    shuffle(core, seed);
    const turns = core.engine.before;
    core.engine.before = async (operation, ref) => {
      await look(operation, ref);
      await turns(operation, ref);
    };
    const correcting = (async () => {
      for (let run = 0; run < 20; run += 1) await reconcileQuota(core.platform, "p1");
    })();
    await Promise.all([make(core, project, 40), correcting]);
    assert.ok(most.sandboxes <= 9 && most.cores <= 10, `seed ${seed}: ${JSON.stringify(most)}`);
    await Promise.all(core.engine.living.map((id) => endSandbox(core.platform, project, id.slice(3), "deleted")));
    core.tables.before = () => {};
    await sweep(core.platform, LIMITS);
    assert.deepEqual(await countsOf(core), [0, 0, 0], `seed ${seed}`);
  }
});

test("a refusal says which quota it was, and a sandbox that never fits is not told to wait", async () => {
  const { core, project } = await openSized({ cpu: 1 });
  const create = (template: string) => createSandbox(core.platform, LIMITS, project, spec({ template }));
  const refusal = async (template: string) =>
    create(template).then(
      () => assert.fail("it was made"),
      (error: unknown) => error as Problem,
    );
  const never = await refusal("size-2");
  assert.deepEqual(
    [never.code, never.facts["resource"], never.facts["quota"], never.facts["retryAfterMs"]],
    ["quota_exceeded", "cpu", 1, undefined],
  );
  await create("size-1");
  const later = await refusal("size-1");
  assert.deepEqual([later.facts["resource"], typeof later.facts["retryAfterMs"]], ["cpu", "number"]);
  assert.deepEqual(await countsOf(core), [1, 1000, 1024]);
});

for (const table of ["add", "put"] as const) {
  test(`a crash between one unit and the next is put right by the sweep (${table})`, async () => {
    const { core, project } = await openSized({});
    let left = table === "add" ? 2 : 0;
    core.tables.before = (operation, name) => {
      const dies = table === "add" ? operation === "add" && --left < 0 : operation === "put" && name === "sandboxes" && ++left > 1;
      if (dies) throw new Error("the process died");
    };
    await assert.rejects(createSandbox(core.platform, LIMITS, project, spec({ template: "size-2" })), /died/);
    core.tables.before = () => {};
    assert.notDeepEqual(await countsOf(core), [0, 0, 0]);
    for (let run = 0; run < 4; run += 1) {
      core.clock.advance(120_000);
      await sweep(core.platform, LIMITS);
    }
    assert.deepEqual(await countsOf(core), [0, 0, 0]);
    assert.deepEqual(core.engine.living, []);
  });
}

test("a project of before there were quotas of cpu and memory is given the installation's, and keeps what it has", async () => {
  const core = openCore();
  const old = { id: "p1", name: "old", quota: { sandboxes: 3 }, createdAt: "2026-01-01T00:00:00.000Z" };
  await core.tables.put("projects", "p1", old);
  await completeQuotas(core.platform, LIMITS);
  const completed = await core.tables.get<Project>("projects", "p1");
  assert.deepEqual(completed?.value, { ...old, quota: { ...LIMITS.quota, sandboxes: 3 } });
  await completeQuotas(core.platform, LIMITS);
  assert.equal((await core.tables.get("projects", "p1"))?.version, completed?.version);
});
