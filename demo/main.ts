import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Artifacts } from "#client/artifacts.ts";
import { call, newClient } from "#client/client.ts";
import { asProblem } from "#contract/problem.ts";
import { createTask, finishTask } from "#contract/task.ts";
import { EXIT, exitCodeOf, refusal } from "#cli/exit.ts";
import { inBytes } from "#cli/figures.ts";
import { harmless } from "#cli/filter.ts";
import { runJob } from "#cli/job.ts";
import { findProgram } from "#cli/program.ts";
import { renderReceipt, type Receipt } from "#cli/receipt.ts";
import { watch } from "#cli/run.ts";
import { newScreen, type Screen } from "#cli/screen.ts";
import { clientConfig, projectDir } from "#infra/config.ts";
import { PIPELINE_DEALS, PIPELINE_SEED, pipelineLines } from "./pipeline.ts";
import { auditLeft, billLeft, leftPage, recall, remember, traceLeft } from "./left.ts";
import { aServer } from "./server.ts";

const SUMMARY_LINES = 24;

/**
 * What Cleanroom is for, in two sandboxes of one task. In the first a program reads a table, and its summary and chart are
 * kept. The second looks for what the first left behind. What is left when both are gone fills a page: artifacts, what is
 * remembered for the next run, the trace, the audit log, and the bill. Any CSV can take the place of the generated pipeline.
 */
async function demo(input: string | undefined, json: boolean, screen: Screen, signal: AbortSignal): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "cleanroom-demo-"));
  try {
    await using server = await aServer(screen, signal);
    const table = input === undefined ? await generated(dir, screen) : resolve(input);
    const mark = `/tmp/left-by-the-first-${randomBytes(4).toString("hex")}`;
    const client = newClient(server.client);
    const { id: taskId } = await call(client, createTask, { body: { name: "pipeline demo", agent: { name: "demo" } }, signal });
    const found = await recall(server.client, signal);
    const given = ["--marker", mark, ...found.flatMap((text) => ["--remembered", text])];
    const first = await inSandbox({ program: "analyse.py", args: given, table, taskId }, screen, json, signal);
    const summary = first.kept.find((kept) => kept.name === "summary.md");
    if (summary && !json) await showSummary(await Artifacts.download(summary.id, { ...server.client, format: "text" }), screen);
    const look = { program: "clean_slate.py", args: [mark, "/home/user/summary.md"], table: undefined, taskId };
    const second = await inSandbox(look, screen, json, signal);
    const worked = first.outcome.exitCode === 0 && first.kept.length === 2 && second.outcome.exitCode === 0;
    const remembered = await remember(server.client, found, first);
    await call(client, finishTask, { params: { taskId }, body: { outcome: { status: worked ? "succeeded" : "failed" } }, signal });
    const [trace, bill] = [await traceLeft(server.client, taskId), await billLeft(server.client, taskId)];
    const left = { remembered, trace, bill, audit: await auditLeft(server.client, signal) };
    const clean = worked && left.audit.broken === undefined;
    if (json) await screen.answer(`${JSON.stringify({ clean, first, second, ...left }, undefined, 2)}\n`);
    else {
      await screen.answer(`\n${leftPage(left, first, screen.style)}`);
      screen.note(closing(clean, screen));
    }
    return clean ? EXIT.ok : EXIT.failed;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function generated(dir: string, screen: Screen): Promise<string> {
  const path = join(dir, "pipeline.csv");
  await writeFile(path, pipelineLines());
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const about = `${PIPELINE_DEALS.toLocaleString("en")} deals, seed ${PIPELINE_SEED}, sha256 ${hash.digest("hex").slice(0, 16)}…`;
  screen.note(screen.stderrStyle.faint(`pipeline.csv: ${about}\n`));
  return path;
}

async function inSandbox(
  { program, args, table, taskId }: { program: string; args: string[]; table: string | undefined; taskId: string },
  screen: Screen,
  json: boolean,
  signal: AbortSignal,
): Promise<Receipt> {
  const job = {
    program: await findProgram(join(projectDir(), "demo", program)),
    args: table === undefined ? args : [basename(table), ...args],
    inputs: table === undefined ? [] : [table],
    keep: table === undefined ? [] : ["summary.md", "chart.png"],
    taskId,
    timeoutMs: 300_000,
    environment: {},
  };
  const title = table === undefined ? "A second sandbox looks for what the first one left" : "A fresh sandbox reads the table";
  screen.note(`\n${screen.stderrStyle.strong(title)}\n`);
  const receipt = await runJob({}, job, watch(screen, json), signal);
  await screen.endOutput();
  screen.note(renderReceipt(receipt, screen.stderrStyle));
  return receipt;
}

/** The summary was written inside a sandbox: it is shown as harmless text, and not all of it. */
async function showSummary(summary: string, screen: Screen): Promise<void> {
  const lines = summary.split("\n");
  const shown = lines.slice(0, SUMMARY_LINES).map((line) => `  ${harmless(line)}`);
  const more =
    lines.length > SUMMARY_LINES
      ? [screen.style.faint(`  … ${lines.length - SUMMARY_LINES} more lines (${inBytes(Buffer.byteLength(summary))} in all)`)]
      : [];
  await screen.answer(`\n${[screen.style.strong("summary.md"), ...shown, ...more].join("\n")}\n`);
}

function closing(clean: boolean, { stderrStyle: style }: Screen): string {
  if (!clean) return `\n${style.bad("✗")} This did not go as it should: see the receipts above.\n`;
  return `\n${style.good("✓")} Kept: a summary, a chart, and what is above. Gone: everything else. The second sandbox started from a clean slate.\n`;
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => stop.abort(new Error(signal)));
const screen = newScreen(process.stdout, process.stderr, clientConfig().noColor);
try {
  const { values } = (() => {
    try {
      return parseArgs({ options: { input: { type: "string" }, json: { type: "boolean", default: false } }, strict: true });
    } catch (error) {
      throw refusal(EXIT.usage, error instanceof Error ? error.message : "not understood", "npm run demo [-- --input other.csv] [--json]");
    }
  })();
  process.exitCode = await demo(values.input, values.json, screen, stop.signal);
} catch (error) {
  if (!stop.signal.aborted)
    screen.note(`demo: ${harmless(String(error instanceof Error ? error.message : error))}\n${asProblem(error).next}\n`);
  process.exitCode = stop.signal.aborted ? EXIT.interrupted : exitCodeOf(asProblem(error));
}
