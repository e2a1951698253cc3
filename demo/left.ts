import { call, type ClientOptions, newClient, open, chunksOf } from "#client/client.ts";
import { Memory } from "#client/memory.ts";
import { Usage } from "#client/usage.ts";
import { exportAudit, getAuditKey } from "#contract/audit.ts";
import { verifyChain } from "#contract/audit-chain.ts";
import type { TaskCost } from "#contract/cost.ts";
import { readTrace, type Trace } from "#contract/span.ts";
import { inBytes } from "#cli/figures.ts";
import { harmless } from "#cli/filter.ts";
import type { Receipt } from "#cli/receipt.ts";
import type { Style } from "#cli/style.ts";
import { drawTrace } from "#cli/trace.ts";

/** What an earlier run has left in memory, and what this one adds. */
export interface Remembered {
  found: string[];
  noticed: string | undefined;
  isNew: boolean;
}

export interface AuditLeft {
  records: number;
  head: number;
  broken: string | undefined;
}

export interface Left {
  remembered: Remembered;
  trace: Trace;
  audit: AuditLeft;
  bill: TaskCost;
}

const COLLECTION = "demo";
const AGENT = "pipeline-demo";
const TEXT_CHARS = 300;
const FOUND_MOST = 3;
const WIDTH = 76;

/** What earlier runs remembered of accounts that went quiet. */
export async function recall(client: ClientOptions, signal: AbortSignal): Promise<string[]> {
  const memory = await Memory.open(COLLECTION, { ...client, signal });
  const hits = await memory.search("which account has gone quiet?", { filter: { agent: AGENT }, limit: FOUND_MOST });
  return hits.map(({ record }) => record.text);
}

/** Remembers what the program noticed, in its words: a sandbox's output is data, whatever it says. */
export async function remember(client: ClientOptions, found: string[], { output }: Receipt): Promise<Remembered> {
  const noticed = /^Noticed: (.+)$/m.exec(output.stdout)?.[1]?.slice(0, TEXT_CHARS).toWellFormed();
  const isNew = noticed !== undefined && !found.includes(noticed);
  if (isNew) await (await Memory.open(COLLECTION, client)).add(noticed, { agent: AGENT, type: "fact" });
  return { found, noticed, isNew };
}

export async function traceLeft(client: ClientOptions, taskId: string): Promise<Trace> {
  return call(newClient(client), readTrace, { params: { taskId } });
}

/** What both sandboxes cost. They are over, and so is the bill. */
export async function billLeft(client: ClientOptions, taskId: string): Promise<TaskCost> {
  return Usage.costOf(taskId, client);
}

/** Exports the project's audit log and checks it as anybody would who has the key. */
export async function auditLeft(client: ClientOptions, signal: AbortSignal): Promise<AuditLeft> {
  const asked = newClient(client);
  const { publicKey } = await call(asked, getAuditKey, { signal });
  const chunks: Uint8Array[] = [];
  const response = await open(asked, exportAudit, { accept: "application/jsonl", signal });
  for await (const chunk of chunksOf(asked, response, signal)) chunks.push(chunk);
  const { records, head, broken } = verifyChain(Buffer.concat(chunks).toString("utf8").split("\n"), publicKey);
  return { records, head: head?.seq ?? 0, broken: broken?.why };
}

/** One page of what two sandboxes that are gone have left. */
export function leftPage({ remembered, trace, audit, bill }: Left, first: Receipt, style: Style): string {
  const { task } = trace;
  const row = (name: string, text: string) => `  ${style.strong(name.padEnd(10))} ${text}`;
  const hint = (text: string) => row("", style.faint(text));
  const kept = first.kept.map(({ name, sizeBytes }) => `${harmless(name)} ${style.faint(inBytes(sizeBytes))}`).join(" · ");
  const { found, noticed, isNew } = remembered;
  const spans = trace.spans.filter(({ kind }) => kind !== "task");
  const failed = spans.filter(({ status }) => status === "error").length;
  return [
    `${style.faint("──")} ${style.strong("what is left")} ${style.faint("─".repeat(WIDTH - 16))}`,
    row("artifacts", kept),
    ...first.kept.slice(0, 1).map(({ id }) => hint(`npx cleanroom artifact get ${id}`)),
    row("memory", noticed === undefined ? "nothing was noticed" : harmless(noticed)),
    hint(isNew ? "new: the next run finds it, and looks whether it is still so" : "it was remembered by an earlier run, and is still so"),
    ...found.filter((text) => text !== noticed).map((text) => hint(`remembered before: ${harmless(text)}`)),
    hint('npx cleanroom memory search "who has gone quiet?" -c demo'),
    row("trace", `${spans.length} spans of task ${task.id}, ${failed === 0 ? "none failed" : `${failed} failed`}`),
    hint(`npx cleanroom trace ${task.id}`),
    row(
      "audit",
      audit.broken === undefined
        ? `${audit.records} records verify, up to the signed head at ${audit.head}`
        : style.bad(`BROKEN: ${harmless(audit.broken)}`),
    ),
    hint("npx cleanroom audit export > audit.jsonl; npx cleanroom audit verify audit.jsonl"),
    row("bill", `${bill.total} ${bill.currency} for ${bill.sandboxes.length} sandboxes${bill.final ? "" : " so far"}`),
    hint(`npx cleanroom cost ${task.id}`),
    "",
    drawTrace(trace, bill, style),
  ].join("\n");
}
