import assert from "node:assert/strict";
import { test } from "node:test";
import type { SandboxRow } from "#core/sandbox-rows.ts";
import { CreateSandbox } from "#contract/sandbox.ts";
import { createSandbox, endSandbox, listSandboxes } from "#core/sandboxes.ts";
import { judge } from "#soak/judge.ts";
import { type Kill, type Life, newLedger } from "#soak/ledger.ts";
import type { Records } from "#soak/records.ts";
import { CORE_LIMITS, openCore, projectOf } from "#support/core.ts";

const PROJECT = projectOf("p1");

/** What is written down of one life that went as it should: made, used and deleted. */
async function quiet() {
  const { platform } = openCore();
  await createSandbox(platform, CORE_LIMITS, PROJECT, CreateSandbox.parse({ id: "box-1", metadata: { soak: "box-1" } }));
  await endSandbox(platform, PROJECT, "box-1", "deleted");
  const row = await platform.tables.get<SandboxRow>("sandboxes", "p1/box-1");
  assert.ok(row);
  const asked = { deleteAsked: true, stopAsked: false, idleAsked: false };
  const life: Life = { name: "box-1", kind: "named", id: "box-1", createsAsked: 1, unsettled: false, stateLost: false, ...asked };
  const records: Records = {
    sandboxes: [row.value],
    left: { living: 0, due: 0, snapshots: 0 },
    counted: { sandboxes: 0 },
    instances: new Map([["box-1", "c-1"]]),
    sessionsOpen: 0,
    messages: 0,
    snapshotBytes: { counted: 0, held: 0, intents: 0 },
  };
  const { items: listed } = await listSandboxes(platform, PROJECT, { limit: 10 });
  return { life, row: row.value, records, listed, ledger: { ...newLedger(), lives: [life] }, ended: [{ sandboxId: "box-1" }] };
}

type Quiet = Awaited<ReturnType<typeof quiet>>;

const CASES: [promise: string, break_: (it: Quiet) => void, fault: RegExp][] = [
  ["an answered create has a row", ({ records }) => void records.sandboxes.pop(), /answered and has no row/],
  ["a create is made once", ({ life }) => (life.createsAsked = 0), /made 1 times/],
  ["every sandbox was asked for", ({ life }) => Object.assign(life, { name: "other", id: undefined }), /nobody asked for/],
  ["every row ends", ({ row }) => (row.state = "ready"), /stays ready/],
  ["nothing says deleted that nobody deleted", ({ life }) => (life.deleteAsked = false), /ended as deleted/],
  ["nothing says crashed of which nothing was killed", ({ row }) => (row.endReason = "crashed"), /ended as crashed/],
  ["nothing says engine_restarted when none was", ({ row }) => (row.endReason = "engine_restarted"), /ended as engine_restarted/],
  ["what was answered has not failed", ({ row }) => (row.endReason = "failed"), /is said to have failed/],
  ["a client is told what the row says", ({ life }) => (life.told = "idle"), /was told idle/],
  ["no interpreter is lost that nobody killed", ({ life }) => (life.stateLost = true), /interpreter was lost/],
  ["what has a row is listed", ({ listed }) => void listed.pop(), /is not listed/],
  ["what is listed is listed once", ({ listed }) => void listed.push(...listed), /listed more than once/],
  ["an end is settled once", ({ ended }) => void ended.push(...ended), /settled more than once/],
  ["quotas come down", ({ records }) => (records.counted["sandboxes"] = 1), /sandboxes: 1 remain/],
  ["the queue is worked off", ({ records }) => (records.messages = 2), /messages in the queue: 2 remain/],
  ["snapshots count what they hold", ({ records }) => (records.snapshotBytes.counted = 5), /count 5 bytes/],
];

const judged = ({ ledger, records, listed, ended }: Quiet) => judge(ledger, records, listed, ended);

test("a life that went as it should breaks no promise", async () => {
  assert.deepEqual(judged(await quiet()), []);
});

for (const [promise, breakIt, fault] of CASES) {
  test(`the judge of a soak sees it broken that ${promise}`, async () => {
    const it = await quiet();
    breakIt(it);
    assert.match(judged(it).join("\n"), fault);
  });
}

async function faultsOf(endReason: "crashed" | "engine_restarted", kill: Pick<Kill, "victim" | "instance">): Promise<number> {
  const it = await quiet();
  it.row.endReason = endReason;
  it.ledger.kills.push({ ...kill, pid: 1, atMs: it.row.createdAtMs });
  return judged(it).length;
}

test("a kill in the sandbox, of its maker or of its engine is a true cause, and one in another sandbox is none", async () => {
  assert.equal(await faultsOf("crashed", { victim: "init", instance: "c-1" }), 0);
  assert.equal(await faultsOf("crashed", { victim: "maker" }), 0);
  assert.equal(await faultsOf("engine_restarted", { victim: "engine" }), 0);
  assert.equal(await faultsOf("crashed", { victim: "init", instance: "c-2" }), 1);
  assert.equal(await faultsOf("crashed", { victim: "interpreter", instance: "c-1" }), 1);
  assert.equal(await faultsOf("crashed", { victim: "gateway" }), 1);
});
