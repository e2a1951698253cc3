import assert from "node:assert/strict";
import { test } from "node:test";
import { verifyChain } from "#contract/audit-chain.ts";
import { Records } from "#contract/records.ts";
import { listActions, recordAction } from "#core/actions.ts";
import type { AuditFacts } from "#core/audit.ts";
import { exportAudit, signedHead } from "#core/audit-log.ts";
import { recordsOf } from "#core/records.ts";
import { costOfTask, reportUsage } from "#core/usage/reports.ts";
import { sumHours } from "#core/usage/sums.ts";
import { UsageQuery } from "#contract/usage.ts";
import { pruneRecords } from "#core/retention.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { listSpans, readTrace } from "#core/trace.ts";
import { SpanQuery } from "#contract/span.ts";
import { ActionQuery } from "#contract/action.ts";
import { keepLog } from "#core/actions.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, spec } from "#support/core.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const keeping = (records: Partial<Records>) => ({ ...projectOf("p1"), records: Records.parse(records) });
const FACTS: AuditFacts = { actor: { kind: "key", id: "k" }, action: "createTask", phase: "begun", decision: "allow", policy: "project" };

async function exported({ platform }: Core): Promise<string[]> {
  const lines: string[] = [];
  for await (const text of exportAudit(platform, projectOf("p1"))) lines.push(...text.split("\n").slice(0, -1));
  return lines;
}

/** Records of `days` days, some each day. */
async function logOf(core: Core, days: number): Promise<void> {
  for (let day = 0; day < days; day += 1) {
    for (let n = 0; n < 3; n += 1) await core.platform.audit.append("p1", FACTS);
    core.clock.advance(DAY_MS);
  }
}

async function pruned(core: Core, records: Partial<Records>): Promise<void> {
  for (let run = 0; run < 60; run += 1) {
    await pruneRecords(core.platform, keeping(records));
    core.clock.advance(11 * 60_000);
  }
}

test("audit records that are let go leave a chain that verifies from a signed base on, with heads from before and after", async () => {
  const core = openCore();
  await logOf(core, 100);
  const early = await signedHead(core.platform, projectOf("p1"));
  await logOf(core, 200);
  const late = await signedHead(core.platform, projectOf("p1"));
  await pruned(core, { auditDays: 183 });
  const lines = await exported(core);
  const key = core.platform.vault.publicKey();
  const verdict = verifyChain(lines, key, [early, late]);
  assert.equal(verdict.broken, undefined);
  assert.ok(verdict.base > 300 && verdict.base < 400, `let go up to ${verdict.base}`);
  assert.ok(lines.length < 620, `${lines.length} lines are left`);
  assert.match(lines.at(-2) ?? "", /"action":"auditPruned"/);
  assert.equal(verifyChain(lines.slice(1), key).broken?.seq, 1, "without its base it is no whole chain");
});

test("nobody without the platform's key makes records look let go: not by a head, nor by a base of their own", async () => {
  const core = openCore();
  await logOf(core, 20);
  const key = core.platform.vault.publicKey();
  const { head, signature } = await signedHead(core.platform, projectOf("p1"));
  await logOf(core, 20);
  const lines = await exported(core);
  const rest = lines.slice(head.seq);
  const forged = JSON.stringify({ base: head, signature });
  assert.match(verifyChain([forged, ...rest], key).broken?.why ?? "", /missing/);
  const stranger = openCore();
  const own = stranger.platform.vault.sign("cleanroom-audit-base\n{}");
  assert.match(verifyChain([JSON.stringify({ base: head, signature: own }), ...rest], key).broken?.why ?? "", /missing/);
  assert.ok(verifyChain([...lines.slice(0, 3), forged, ...lines.slice(3)], key).broken, "a base in the middle");
  assert.ok(verifyChain([`{"base":1}`, ...rest], key).broken);
});

test("whatever write pruning dies at, the chain verifies and the next run finishes it", async () => {
  for (let dies = 0; dies < 12; dies += 1) {
    const core = openCore();
    await logOf(core, 30);
    core.clock.advance(200 * DAY_MS);
    await core.platform.audit.append("p1", FACTS);
    let writes = 0;
    core.tables.before = () => {
      writes += 1;
      if (writes > dies && writes < dies + 3) throw new Error("killed");
    };
    for (let run = 0; run < 3; run += 1) {
      await pruneRecords(core.platform, keeping({ auditDays: 183 })).catch(() => {});
      core.clock.advance(11 * 60_000);
      assert.equal(verifyChain(await exported(core), core.platform.vault.publicKey()).broken, undefined, `died at ${dies}, run ${run}`);
    }
    core.tables.before = () => {};
    await pruned(core, { auditDays: 183 });
    const verdict = verifyChain(await exported(core), core.platform.vault.publicKey());
    assert.deepEqual([verdict.broken, verdict.base > 0], [undefined, true]);
  }
});

test("use older than its project keeps it goes from the reports, in whole hours, and from no bill", async () => {
  const core = openCore();
  const { platform, clock } = core;
  const live = async (id: string) => {
    await createSandbox(platform, LIMITS, projectOf("p1"), spec({ id }));
    clock.advance(HOUR_MS / 2);
    await endSandbox(platform, projectOf("p1"), id, "deleted");
    clock.advance(2 * HOUR_MS);
    await sumHours(platform, "p1");
  };
  await createSandbox(platform, LIMITS, projectOf("p2"), spec({ id: "another" }));
  await endSandbox(platform, projectOf("p2"), "another", "deleted");
  await live("old-one");
  const bill = await costOfTask(platform, projectOf("p1"), "old-one", "USD");
  assert.ok(Number(bill.total) > 0);
  clock.advance(70 * DAY_MS);
  await live("young-one");
  const seen = async () => {
    const from = new Date(clock.now() - 100 * DAY_MS).toISOString();
    const { items } = await reportUsage(platform, projectOf("p1"), UsageQuery.parse({ from, groupBy: "task" }));
    return items.map(({ taskId }) => taskId);
  };
  const rows = async () => {
    const tables = ["usage", "usage-marks", "usage-hours", "usage-task-hours", "usage-summed"];
    return Promise.all(tables.map(async (table) => (await platform.tables.range(table, "p1/", { limit: 100 })).length));
  };
  const all = await rows();
  assert.deepEqual(await seen(), ["old-one", "young-one"]);
  await pruneRecords(platform, keeping({ usageDays: null }));
  await pruneRecords(platform, projectOf("p1"));
  assert.deepEqual(await rows(), all, "nothing is that old");
  let writes = 0;
  core.tables.before = () => {
    writes += 1;
    if (writes > 2) throw new Error("killed");
  };
  await pruneRecords(platform, keeping({ usageDays: 62 })).catch(() => {});
  core.tables.before = () => {};
  assert.ok((await rows())[1] === all[1], "an hour that is cut short is known by its mark");
  await pruneRecords(platform, keeping({ usageDays: 62 }));
  assert.deepEqual(await seen(), ["young-one"]);
  assert.deepEqual(
    await rows(),
    all.map((count) => count / 2),
  );
  assert.deepEqual((await costOfTask(platform, projectOf("p1"), "old-one", "USD")).total, bill.total);
  assert.equal((await platform.tables.range("usage", "p2/", { limit: 10 })).length, 1, "another project has its own rule");
  await pruneRecords(platform, keeping({ usageDays: 62 }));
  assert.deepEqual(await seen(), ["young-one"]);
});

test("a rule that was set before use had one keeps it for as long as where none is set", () => {
  const { usageDays: _none, ...before } = Records.parse({ spanDays: 7 });
  assert.deepEqual(recordsOf({ records: before as Records }), { ...before, usageDays: 400 });
});

test("spans and actions older than their project keeps them go, younger ones stay, and nothing goes where it is kept for ever", async () => {
  const core = openCore();
  const { platform, clock } = core;
  const live = async (id: string) => {
    await createSandbox(platform, LIMITS, projectOf("p1"), spec({ id }));
    const whose = { projectId: "p1", sandboxId: id, taskId: id };
    await recordAction(platform, whose, { kind: "control", by: "person", summary: "took control" });
    await endSandbox(platform, projectOf("p1"), id, "deleted");
    clock.advance(60_000);
    assert.equal(await keepLog(platform, `p1/${id}`), true);
  };
  await live("old-one");
  await platform.traces.flush();
  clock.advance(40 * DAY_MS);
  await live("young-one");
  await platform.traces.flush();
  const counts = async () => {
    const spans = (await listSpans(platform, projectOf("p1"), SpanQuery.parse({}))).items;
    const actions = async (id: string) => (await listActions(platform, projectOf("p1"), id, ActionQuery.parse({}))).items.length;
    return [new Set(spans.map(({ sandboxId }) => sandboxId)), await actions("old-one"), await actions("young-one")];
  };
  const all = await counts();
  await pruneRecords(platform, keeping({ spanDays: null, actionDays: null }));
  assert.deepEqual(await counts(), all);
  await pruneRecords(platform, keeping({ spanDays: 30, actionDays: 30 }));
  assert.deepEqual(await counts(), [new Set(["young-one"]), 0, 1]);
  const left = await readTrace(platform, projectOf("p1"), "old-one");
  assert.deepEqual(
    left.spans.map(({ kind }) => kind),
    ["task", "sandbox"],
    "rows tell their own spans",
  );
});
