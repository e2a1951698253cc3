import assert from "node:assert/strict";
import { test } from "node:test";
import { createSandbox, getSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { createTemplate, findTemplate, getTemplate, listTemplates, scaleBuiltIn, updateTemplate } from "#core/templates.ts";
import { CORE_LIMITS as LIMITS, openCore, projectOf, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const MINUTE_MS = 60_000;
const template = (name: string, scaling?: { minPrepared?: number; maxPrepared?: number }) => ({
  name,
  type: "CodeInterpreter" as const,
  ...(scaling ? { scaling } : {}),
});

test("the engine is told of a template's scaling when it is made and when it is changed", async () => {
  const { platform, engine } = openCore();
  const told = () => [...engine.functions.values()].map((it) => it.template.scaling);
  const made = await createTemplate(platform, LIMITS, ONE, template("one", { minPrepared: 1, maxPrepared: 4 }));
  assert.deepEqual([made.scaling, told()], [{ minPrepared: 1, maxPrepared: 4 }, [{ minPrepared: 1, maxPrepared: 4 }]]);
  await updateTemplate(platform, LIMITS, ONE, "one", { scaling: { maxPrepared: 8 } });
  assert.deepEqual(told(), [{ minPrepared: 1, maxPrepared: 8 }]);
  await updateTemplate(platform, LIMITS, ONE, "one", { description: "else" });
  const { scaling, prepared } = await getTemplate(platform, LIMITS, ONE, "one");
  assert.deepEqual(scaling, { minPrepared: 1, maxPrepared: 8 });
  assert.deepEqual(prepared, { ready: 1, making: 0, wanted: 1 });
});

test("what a template leaves out is the operator's, and one bound alone takes the other along", async () => {
  const { platform } = openCore();
  const scalingOf = async (name: string, scaling?: { minPrepared?: number; maxPrepared?: number }) =>
    (await createTemplate(platform, LIMITS, ONE, template(name, scaling))).scaling;
  assert.deepEqual(await scalingOf("a"), { minPrepared: 2, maxPrepared: 64 });
  assert.deepEqual(await scalingOf("b", { minPrepared: 100 }), { minPrepared: 100, maxPrepared: 100 });
  assert.deepEqual(await scalingOf("c", { maxPrepared: 0 }), { minPrepared: 0, maxPrepared: 0 });
});

test("a scaling whose bounds are crossed is refused and leaves the template as it was", async () => {
  const { platform } = openCore();
  const made = await createTemplate(platform, LIMITS, ONE, template("one"));
  const crossed = { scaling: { minPrepared: 3, maxPrepared: 2 } };
  await assert.rejects(updateTemplate(platform, LIMITS, ONE, "one", crossed), isProblem("invalid_request"));
  await assert.rejects(createTemplate(platform, LIMITS, ONE, template("two", crossed.scaling)), isProblem("invalid_request"));
  assert.deepEqual(
    (await listTemplates(platform, LIMITS, ONE, { limit: 10 })).items.find((it) => it.name === made.name),
    made,
  );
});

test("a built-in template with a browser is defined when it is first used, once, and prepares none until then", async () => {
  const { platform, engine } = openCore();
  await getTemplate(platform, LIMITS, ONE, "browser");
  assert.equal(engine.functions.size, 0);
  let defined = 0;
  engine.before = (operation) => void (defined += operation === "define" ? 1 : 0);
  for (const project of [ONE, projectOf("p2")]) await createSandbox(platform, LIMITS, project, spec({ template: "browser" }));
  const [told] = engine.functions.values();
  assert.deepEqual([defined, engine.functions.size, told?.template.type, told?.template.scaling.minPrepared], [1, 1, "Browser", 0]);
  const fewer = { ...LIMITS, scaling: { minPrepared: 0, maxPrepared: 1 } };
  await createSandbox(platform, fewer, ONE, spec({ template: "browser" }));
  assert.deepEqual([defined, engine.functions.values().next().value?.template.scaling.maxPrepared], [2, 1]);
});

test("the built-in template has the operator's scaling, and shows what is prepared", async () => {
  const { platform, engine } = openCore();
  await scaleBuiltIn(platform, LIMITS);
  assert.deepEqual(engine.scalings.get(LIMITS.workspaceFunction), LIMITS.scaling);
  const { scaling, prepared } = await getTemplate(platform, LIMITS, ONE, "code-interpreter");
  assert.deepEqual([scaling, prepared.ready], [LIMITS.scaling, 2]);
});

test("a template from before there was a scaling gets the operator's, and the engine is told with its next sandbox", async () => {
  const { platform, engine } = openCore();
  const made = await createTemplate(platform, LIMITS, ONE, template("old"));
  const row = await findTemplate(platform, LIMITS, ONE, "old");
  const { scaling: _, ...before } = made;
  await platform.tables.put("templates", `${ONE.id}/old`, { ...row, template: before });
  engine.functions.clear();
  assert.deepEqual((await getTemplate(platform, LIMITS, ONE, "old")).scaling, LIMITS.scaling);
  assert.deepEqual(
    (await listTemplates(platform, LIMITS, ONE, { limit: 10 })).items.find((it) => it.name === made.name),
    made,
  );
  await createSandbox(platform, LIMITS, ONE, spec({ template: "old" }));
  assert.deepEqual(engine.functions.get(row.functionName)?.template.scaling, LIMITS.scaling);
});

test("a sandbox whose workspace waited long before it is not idle from its first moment", async () => {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", idleTimeoutMs: 10 * MINUTE_MS }));
  core.engine.workspace = () => Response.json({ busy: false, idleMs: 30 * MINUTE_MS });
  core.clock.advance(5 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal(core.engine.requests.length, 1, "it was asked");
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).state, "ready");
  core.clock.advance(6 * MINUTE_MS);
  await sweep(core.platform, LIMITS);
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "idle");
});
