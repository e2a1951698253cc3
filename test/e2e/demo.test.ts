import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { promisify } from "node:util";
import { Artifacts } from "#client/artifacts.ts";
import type { Receipt } from "#cli/receipt.ts";
import { Memory } from "#client/memory.ts";
import type { TaskCost } from "#contract/cost.ts";
import type { Trace } from "#contract/span.ts";
import { projectDir } from "#infra/config.ts";
import { newTenant, openDoor, type Door } from "#support/door.ts";
import { tempDir } from "#support/temp.ts";

let door: Door;
let client: { url: string; apiKey: string };

before(async () => {
  door = await openDoor();
  client = { url: door.origin, apiKey: (await newTenant(door)).key.apiKey };
});
after(() => door[Symbol.asyncDispose]());

const execute = promisify(execFile);

interface Demo {
  clean: boolean;
  first: Receipt;
  second: Receipt;
  remembered: { found: string[]; noticed?: string; isNew: boolean };
  trace: Trace;
  audit: { records: number; head: number; broken?: string };
  bill: TaskCost;
}

async function demo(...args: string[]): Promise<Demo> {
  const env = { ...process.env, CLEANROOM_URL: client.url, CLEANROOM_API_KEY: client.apiKey };
  const { stdout } = await execute(process.execPath, [join(projectDir(), "demo/main.ts"), "--json", ...args], {
    env,
    maxBuffer: 10_000_000,
  });
  return JSON.parse(stdout) as Demo;
}

async function contentOf(receipt: Receipt, name: string): Promise<Buffer> {
  const kept = receipt.kept.find((one) => one.name === name);
  assert.ok(kept, `${name} was kept`);
  const bytes = Buffer.from(await Artifacts.download(kept.id, client));
  assert.equal(createHash("sha256").update(bytes).digest("hex"), kept.sha256);
  return bytes;
}

const PNG = Buffer.from("89504e470d0a1a0a", "hex");

test("the pipeline: open deals untouched for 14 days are flagged, summary and chart are kept, the next sandbox is clean", async () => {
  const { clean, first, second } = await demo();
  assert.equal(clean, true);
  const summary = String(await contentOf(first, "summary.md"));
  const [, stale = "", open = ""] = /\*\*([\d,]+) of ([\d,]+) open rows have not been touched for 14 days or more/.exec(summary) ?? [];
  assert.deepEqual([stale, open], ["5,417", "14,855"]);
  assert.match(summary, /Today is 2026-06-30: the latest `last_touched`/);
  assert.deepEqual((await contentOf(first, "chart.png")).subarray(0, 8), PNG);
  assert.notEqual(first.sandbox.id, second.sandbox.id);
  assert.match(second.output.stdout, /left-by-the-first-\w+: not here\n/);
  assert.deepEqual([first.destroyed.ended, second.destroyed.ended], [true, true]);
});

test("what it leaves: a memory that the next run finds and uses, a trace of both sandboxes, an audit log that verifies, a bill", async () => {
  await using dir = await tempDir();
  const table = async (id: string, touched: string) => {
    const file = join(dir.path, `${touched}.csv`);
    const others = Array.from({ length: 20 }, (_, n) => `X-${n},Other ${n},Proposal,${n},2026-06-${String(n + 5).padStart(2, "0")}`);
    await writeFile(file, ["id,account,stage,amount,last_touched", `${id},"Acme, Inc.",Proposal,99000,${touched}`, ...others].join("\n"));
    return file;
  };
  const quiet = await demo("--input", await table("A-1", "2026-03-02"));
  assert.equal(quiet.clean, true);
  const noticed = "Acme, Inc. (A-1) has gone quiet since 2026-03-02";
  assert.deepEqual([quiet.remembered.noticed, quiet.remembered.isNew], [noticed, true]);
  const lives = quiet.trace.spans.filter(({ kind, name }) => kind === "sandbox" && name.startsWith("sandbox "));
  assert.deepEqual(
    lives.map(({ status }) => status),
    ["ok", "ok"],
  );
  assert.equal(quiet.trace.task.outcome?.status, "succeeded");
  assert.ok(quiet.trace.spans.some(({ kind }) => kind === "artifact") && quiet.trace.spans.some(({ kind }) => kind === "command"));
  assert.deepEqual([quiet.audit.broken, quiet.audit.records === quiet.audit.head], [undefined, true]);
  assert.deepEqual([quiet.bill.taskId, quiet.bill.sandboxes.length], [quiet.trace.task.id, 2]);
  assert.ok(
    quiet.bill.lines.some(({ quantity }) => quantity > 0),
    "something was used",
  );
  const memory = await Memory.open("demo", client);
  assert.ok((await memory.records()).some(({ text }) => text === noticed));
  const again = await demo("--input", await table("A-1", "2026-06-24"));
  assert.ok(again.remembered.found.includes(noticed), "the next run finds it");
  assert.match(
    again.first.output.stdout,
    /Remembered: Acme, Inc\. \(A-1\) has gone quiet since 2026-03-02: not among the untouched any more/,
  );
  assert.match(String(await contentOf(again.first, "summary.md")), /## Remembered from before\n\n- Acme/, "and uses it");
});

test("a table that nobody made for it, the machine's own packages, is described and nothing is claimed of it", async () => {
  await using dir = await tempDir();
  const fields = ["Package", "Version", "Architecture", "Installed-Size", "Section", "Maintainer"];
  const { stdout } = await execute("dpkg-query", ["-W", "-f", `${fields.map((name) => `\${${name}}`).join("\\t")}\\n`], {
    maxBuffer: 50_000_000,
  });
  const rows = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t"));
  const csv = [fields, ...rows].map((row) => row.map((value) => `"${value.replaceAll('"', '""')}"`).join(",")).join("\n");
  const file = join(dir.path, "packages.csv");
  await writeFile(file, csv);
  const { clean, first } = await demo("--input", file);
  assert.equal(clean, true);
  const summary = String(await contentOf(first, "summary.md"));
  assert.ok(summary.includes(`${rows.length.toLocaleString("en")} rows, 6 columns. No column says when a row was last touched`));
  assert.match(summary, /\| Architecture \| .* \| text \| .*(amd64|arm64|all) \(/);
  assert.match(summary, /\| Installed-Size \| .* \| numbers \|/);
  assert.deepEqual((await contentOf(first, "chart.png")).subarray(0, 8), PNG);
});

test("a table that cannot be analysed ends the demo with its program's error, and the sandbox is destroyed all the same", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "empty.csv");
  await writeFile(file, "");
  const failed = await demo("--input", file).catch((error: { code: number; stdout: string }) => error);
  assert.ok("stdout" in failed && failed.code === 70);
  const { clean, first } = JSON.parse(failed.stdout) as Demo;
  assert.equal(clean, false);
  assert.notEqual(first.outcome.exitCode, 0);
  assert.equal(first.destroyed.ended, true);
});
