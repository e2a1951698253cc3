import assert from "node:assert/strict";
import { test } from "node:test";
import { SpanQuery } from "#contract/span.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { type Segment, type SpanRow, SPANS } from "#core/span-rows.ts";
import { recordSpan, span } from "#core/span.ts";
import { assemble, eraseTrace, listSpans, readTrace } from "#core/trace.ts";
import { openTraces } from "#core/traces.ts";
import { storyOf } from "#core/replay.ts";
import { costOfTask } from "#core/usage/reports.ts";
import { drawTrace } from "#cli/trace.ts";
import { newStyle } from "#cli/style.ts";
import { CORE_LIMITS as LIMITS, openCore, projectOf, spec } from "#support/core.ts";
import { memoryTables } from "#support/memory-tables.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const PLACE = { projectId: "p1", taskId: "t" };
const query = (fields: object = {}) => SpanQuery.parse(fields);
const row = (spanId: string, more: Partial<SpanRow> = {}): SpanRow => ({
  spanId,
  traceId: "a".repeat(32),
  kind: "execute",
  name: spanId,
  source: "platform",
  startMs: 1000,
  durationMs: 5,
  status: "ok",
  ...more,
});

function fresh() {
  const tables = memoryTables();
  let wallMs = 1_000_000;
  let steadyMs = 0;
  const traces = openTraces(tables, { now: () => wallMs }, { event: () => {} }, () => steadyMs);
  const kept = async () => (await tables.range<Segment>(SPANS, "", { limit: 10_000 })).map(({ value }) => value);
  return {
    tables,
    traces,
    kept,
    tick(ms: number, wall = ms) {
      steadyMs += ms;
      wallMs += wall;
    },
  };
}

test("spans are written together and none that was admitted is missing", async () => {
  const { traces, kept } = fresh();
  for (let n = 0; n < 1234; n += 1) traces.record(PLACE, row(`s${n}`));
  await traces.flush();
  const spans = (await kept()).flatMap((segment) => segment.spans);
  assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, 1234);
});

test("a flood is thinned out with a stated count, and no control span is among what is dropped", async () => {
  const { traces, kept } = fresh();
  for (let n = 0; n < 30_000; n += 1) {
    traces.record(PLACE, row(`s${n}`));
    if (n % 100 === 0) traces.recordControl(PLACE, row(`c${n}`, { kind: "sandbox" }));
  }
  await traces.flush();
  const segments = await kept();
  const spans = segments.flatMap((segment) => segment.spans);
  const dropped = segments.reduce((sum, segment) => sum + (segment.dropped ?? 0), 0);
  assert.equal(spans.filter(({ kind }) => kind === "sandbox").length, 300);
  assert.ok(dropped > 20_000, `${dropped} were dropped`);
  assert.equal(spans.length - 300 + dropped, 30_000, "kept and dropped are all");
});

test("a flood of one task takes nothing from another", async () => {
  const { traces, kept } = fresh();
  for (let n = 0; n < 10_000; n += 1) traces.record(PLACE, row(`s${n}`));
  traces.record({ ...PLACE, taskId: "quiet" }, row("mine"));
  await traces.flush();
  assert.ok((await kept()).some(({ spans }) => spans.some(({ spanId }) => spanId === "mine")));
});

test("a clock that is set back does not take time back, and one that is set forward is followed", async () => {
  const { traces, tick } = fresh();
  const first = traces.now();
  tick(10, -3_600_000);
  assert.equal(traces.now(), first + 10);
  tick(5, 5);
  assert.equal(traces.now(), first + 15);
  tick(1, 10 * 3_600_000);
  assert.ok(traces.now() > first + 3_600_000);
});

test("a span that is kept is in the tables when that is answered", async () => {
  const { traces, kept } = fresh();
  await traces.keep(PLACE, row("intent", { kind: "sandbox" }));
  assert.deepEqual(
    (await kept()).flatMap(({ spans }) => spans.map(({ spanId }) => spanId)),
    ["intent"],
  );
});

test("text of any length and kind is kept within bounds, and says that it was cut", async () => {
  const { traces, kept } = fresh();
  const hostile = "\u0000\u001B]0;x\u0007<script>".repeat(100_000);
  const attributes = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`k${n}${hostile.slice(0, 500)}`, hostile]));
  traces.record(PLACE, row("s", { name: hostile, statusMessage: hostile, attributes, input: { text: hostile } }));
  await traces.flush();
  const [segment] = await kept();
  const [kepts] = segment?.spans ?? [];
  assert.deepEqual(kepts?.notes, ["truncated"]);
  assert.ok(JSON.stringify(kepts).length < 1_000_000);
});

test("a store that fails loses what it was given, says so, and the next is kept", async () => {
  const core = openCore();
  core.tables.before = () => {
    throw new Error("full");
  };
  core.platform.traces.record(PLACE, row("lost"));
  await core.platform.traces.flush();
  assert.deepEqual(
    core.events.map(({ name }) => name),
    ["spans.lost"],
  );
  core.tables.before = () => {};
  core.platform.traces.record(PLACE, row("kept"));
  await core.platform.traces.flush();
  assert.equal((await core.platform.tables.range(SPANS, "p1/t/", { limit: 9 })).length, 1);
});

const task = row("task", { kind: "task", traceId: "a".repeat(32) });
const box = row("box", { kind: "sandbox", parentSpanId: "task", sandboxId: "mine" });
const other = row("other", { kind: "sandbox", parentSpanId: "task", sandboxId: "other" });
const said = (spanId: string, parentSpanId: string, more: Partial<SpanRow> = {}) =>
  row(spanId, { source: "sandbox", kind: "program", parentSpanId, sandboxId: "mine", ...more });
const treeOf = (spans: SpanRow[]) =>
  Object.fromEntries(assemble([task, box, other], spans).map(({ spanId, parentSpanId, notes = [] }) => [spanId, [parentSpanId, ...notes]]));

test("a span that lies about its parent hangs below its own sandbox and is marked", () => {
  const run = row("run", { parentSpanId: "box", sandboxId: "mine" });
  assert.deepEqual(
    treeOf([
      run,
      said("honest", "run"),
      said("child", "honest"),
      said("orphan", "nobody"),
      said("thief", "other"),
      said("cycle1", "cycle2"),
      said("cycle2", "cycle1"),
      said("self", "self"),
    ]),
    {
      task: [undefined],
      box: ["task"],
      other: ["task"],
      run: ["box"],
      honest: ["run"],
      child: ["honest"],
      orphan: ["box", "parent_unknown"],
      thief: ["box", "parent_unknown"],
      cycle1: ["box", "parent_cycle"],
      cycle2: ["cycle1"],
      self: ["box", "parent_cycle"],
    },
  );
});

test("what a sandbox says never takes the place of what was measured", () => {
  const run = row("run", { parentSpanId: "box", sandboxId: "mine" });
  const spans = assemble(
    [task, box],
    [said("run", "box", { name: "forged", durationMs: 0 }), said("task", "box", { name: "forged" }), run],
  );
  assert.equal(spans.find(({ spanId }) => spanId === "run")?.name, "run");
  assert.equal(spans.find(({ spanId }) => spanId === "task")?.name, "task");
  assert.deepEqual(
    spans.filter(({ name }) => name === "forged").map(({ notes }) => notes),
    [["id_taken"], ["id_taken"]],
  );
});

test("a chain of ten thousand spans is one tree, in time", () => {
  const chain = Array.from({ length: 10_000 }, (_, n) => said(`s${n}`, n === 0 ? "box" : `s${n - 1}`));
  const begun = performance.now();
  const spans = assemble([task, box], chain.toReversed());
  assert.equal(spans.filter(({ notes }) => notes !== undefined).length, 0);
  assert.ok(performance.now() - begun < 2000);
});

test("a task's trace holds its sandboxes' lives, what was done with them and how it went", async () => {
  const core = openCore();
  const { platform } = core;
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const sandbox = (await platform.tables.get<never>("sandboxes", "p1/mine-1"))?.value ?? assert.fail();
  recordSpan(platform, sandbox, { kind: "browser", name: "click", attributes: { selector: "#buy" } });
  await assert.rejects(span(platform, sandbox, { kind: "tool", name: "fetch" }, async () => Promise.reject(new Error("no"))));
  await endSandbox(platform, ONE, "mine-1", "deleted");
  const trace = await readTrace(platform, ONE, "mine-1");
  const named = (name: string) => trace.spans.find((one) => one.name === name) ?? assert.fail(`no span ${name}`);
  const life = named("sandbox code-interpreter");
  assert.equal(trace.spans[0]?.kind, "task");
  assert.deepEqual([life.parentSpanId, life.status, life.statusMessage], [trace.spans[0]?.spanId, "ok", "deleted"]);
  for (const name of ["create sandbox", "click", "fetch"]) assert.equal(named(name).parentSpanId, life.spanId, name);
  assert.deepEqual([named("fetch").status, named("fetch").statusMessage], ["error", "internal"]);
  assert.equal(new Set(trace.spans.map(({ traceId }) => traceId)).size, 1);
  assert.equal(new Set(trace.spans.map(({ spanId }) => spanId)).size, trace.spans.length);
  await assert.rejects(readTrace(platform, projectOf("p2"), "mine-1"), isProblem("task_not_found"));
});

test("spans are found by task, sandbox, kind, time and text, in pages that miss none", async () => {
  const core = openCore();
  const { platform } = core;
  for (const id of ["mine-1", "mine-2"]) await createSandbox(platform, LIMITS, ONE, spec({ id }));
  const rows = await Promise.all(["p1/mine-1", "p1/mine-2"].map((key) => platform.tables.get<never>("sandboxes", key)));
  for (let n = 0; n < 300; n += 1)
    recordSpan(platform, rows[n % 2]?.value ?? assert.fail(), { kind: "command", name: `step ${n} of.*`, durationMs: 0 });
  const seen: string[] = [];
  let after: string | undefined;
  do {
    const found = await listSpans(platform, ONE, query({ kind: "command", limit: 70, ...(after === undefined ? {} : { after }) }));
    seen.push(...found.items.map(({ name }) => name));
    after = found.next;
  } while (after !== undefined);
  assert.equal(new Set(seen).size, 300);
  assert.equal(seen.length, 300);
  const names = async (fields: object) => (await listSpans(platform, ONE, query(fields))).items.map(({ name }) => name);
  assert.equal((await names({ text: "STEP 17" })).length, 13);
  assert.deepEqual(await names({ text: "step.*" }), [], "text is no pattern");
  assert.equal((await names({ sandboxId: "mine-1", kind: "command", limit: 200 })).length, 150);
  assert.deepEqual(await names({ since: "2100-01-01T00:00:00Z" }), []);
  await assert.rejects(listSpans(platform, ONE, query({ after: "x" })), isProblem("invalid_request"));
  await assert.rejects(listSpans(platform, projectOf("p2"), query({ taskId: "mine-1" })), isProblem("task_not_found"));
  assert.equal((await listSpans(platform, ONE, query({ text: "zq ".repeat(3333) }))).items.length, 0);
});

test("what was recorded can be erased; that there was a task and a sandbox stays", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const sandbox = (await platform.tables.get<never>("sandboxes", "p1/mine-1"))?.value ?? assert.fail();
  recordSpan(platform, sandbox, { kind: "command", name: "secret" });
  await eraseTrace(platform, ONE, "mine-1");
  const { spans } = await readTrace(platform, ONE, "mine-1");
  assert.deepEqual(
    spans.map(({ kind }) => kind),
    ["task", "sandbox"],
  );
});

test("a story says in order what was tried, what happened and what came next, and is drawn within 80 columns", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const sandbox = (await platform.tables.get<never>("sandboxes", "p1/mine-1"))?.value ?? assert.fail();
  recordSpan(platform, sandbox, { kind: "command", name: "runCommand", status: "error", statusMessage: "exit 2\n\u001B[2Jgone" });
  recordSpan(platform, sandbox, { kind: "file", name: "writeFile", attributes: { path: `/home/user/${"深".repeat(60)}` } });
  const trace = await readTrace(platform, ONE, "mine-1");
  const steps = storyOf(trace);
  const failed = steps.find(({ tried }) => tried === "runCommand") ?? assert.fail();
  assert.deepEqual([failed.ok, failed.happened.split(",")[0], failed.depth], [false, "failed: exit 2", 2]);
  assert.equal(steps.find(({ spanId }) => spanId === failed.next)?.kind, "file");
  const drawn = drawTrace(trace, await costOfTask(platform, ONE, "mine-1", "CNY"), newStyle(false));
  assert.ok(!drawn.includes("\u001B"));
  for (const line of drawn.split("\n").slice(0, -4)) {
    const wide = Array.from(line).reduce((sum, char) => sum + (/\p{Script=Han}/u.test(char) ? 2 : 1), 0);
    assert.ok(wide <= 80, `${wide}: ${line}`);
  }
});
