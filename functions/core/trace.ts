import { createHash } from "node:crypto";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Span, SpanQuery, Trace } from "#contract/span.ts";
import type { Platform, Row } from "./ports.ts";
import { ownRow } from "./sandbox-rows.ts";
import { SAID_COUNTS } from "./said.ts";
import { sandboxSpan, taskSpan } from "./span.ts";
import { MINUTE_MS, type Segment, segmentPrefix, SPAN_TIMES, type SpanPlace, type SpanRow, SPANS, timeText, toSpan } from "./span-rows.ts";
import { ownTask } from "./task-rows.ts";
import { sandboxesOf, toTask } from "./tasks.ts";

/** Spans that one trace shows at most. */
const TRACE_SPANS = 10_000;
/** Spans of one minute that a search looks at. */
const MINUTE_SPANS = 20_000;
const SEARCHED_SPANS = 50_000;
/** Spans that are read of one task before what comes after is left out. */
const READ_SPANS = 100_000;
/** Sandboxes that are asked what their programs have to say when a trace is read: the newest that run. */
const SANDBOXES_ASKED = 16;
const PAGE = 50;
const MINUTES = 100;

type Owner = Pick<Project, "id">;

/** Everything that a task did, as one tree. Its own span and its sandboxes' come from their rows, the rest from what was recorded. */
export async function readTrace(platform: Platform, project: Owner, taskId: string): Promise<Trace> {
  const { value: task } = await ownTask(platform, project.id, taskId);
  const sandboxes = await sandboxesOf(platform, project.id, taskId, TRACE_SPANS);
  // What is on its way is part of the answer: what waits in sandboxes that run, and what this process still holds.
  const running = sandboxes.filter(({ value }) => value.state === "ready").slice(-SANDBOXES_ASKED);
  await Promise.all(running.map(({ value }) => platform.said.fetch(value)));
  await platform.traces.flush();
  const kept = await readSegments(platform, { projectId: project.id, taskId }, TRACE_SPANS);
  const own = [taskSpan(task), ...sandboxes.map(({ value }) => sandboxSpan(value))];
  const spans = assemble(own, kept.spans);
  return {
    task: toTask(task),
    spans: spans.slice(0, TRACE_SPANS).map((span) => toSpan(taskId, span)),
    dropped: kept.dropped,
    truncated: kept.truncated || spans.length > TRACE_SPANS,
  };
}

/** Erases what was recorded of a task. Its rows, and the audit log's digests, stay. */
export async function eraseTrace(platform: Platform, project: Owner, taskId: string): Promise<void> {
  await ownTask(platform, project.id, taskId);
  await platform.traces.flush();
  const prefix = segmentPrefix({ projectId: project.id, taskId });
  for (;;) {
    const rows = await platform.tables.range(SPANS, prefix, { limit: PAGE });
    await Promise.all(rows.map(({ key }) => platform.tables.remove(SPANS, key)));
    if (rows.length < PAGE) break;
  }
  const counts = await platform.tables.range(SAID_COUNTS, prefix, { limit: TRACE_SPANS });
  await Promise.all(counts.map(({ key }) => platform.tables.remove(SAID_COUNTS, key)));
}

/**
 * Makes one tree of what was recorded. What a sandbox says never takes the place of what was measured, hangs only below
 * something of its own sandbox, and leads up to the task, whatever it claims.
 */
export function assemble(own: readonly SpanRow[], recorded: readonly SpanRow[]): SpanRow[] {
  const [root] = own;
  const spans = new Map<string, SpanRow>(own.map((span) => [span.spanId, span]));
  const derived = new Set(spans.keys());
  for (const span of recorded.toSorted((a, b) => Number(a.source === "sandbox") - Number(b.source === "sandbox"))) {
    const known = spans.get(span.spanId);
    if (!known) spans.set(span.spanId, { ...span });
    else if (span.source === "sandbox" && !isSame(known, span)) keepLiar(spans, span);
    // Of one that was written when it began and when it ended the ending counts; of rows their own word.
    else if (span.source === "platform" && !derived.has(span.spanId) && known.source === "platform" && span.durationMs !== undefined)
      spans.set(span.spanId, { ...span });
  }
  const fallback = (span: SpanRow) => own.find(({ sandboxId }) => sandboxId !== undefined && sandboxId === span.sandboxId) ?? root;
  const settled = new Set<string>();
  for (const span of spans.values()) {
    if (span.spanId !== root?.spanId) settleParent(spans, span, fallback(span), settled);
  }
  return [...spans.values()].toSorted((a, b) => Number(b === root) - Number(a === root) || a.startMs - b.startMs);
}

/** Whether a sandbox has said the same twice, or was heard twice because a gateway died before it could say that it had heard. */
function isSame(known: SpanRow, span: SpanRow): boolean {
  return known.source === "sandbox" && known.sandboxId === span.sandboxId && known.name === span.name && known.startMs === span.startMs;
}

function keepLiar(spans: Map<string, SpanRow>, span: SpanRow): void {
  const spanId = createHash("sha256").update(`${span.sandboxId}\n${span.spanId}\n${span.name}\n${span.startMs}`).digest("hex").slice(0, 16);
  if (!spans.has(spanId)) spans.set(spanId, { ...span, spanId, notes: [...(span.notes ?? []), "id_taken"] });
}

function settleParent(spans: ReadonlyMap<string, SpanRow>, span: SpanRow, fallback: SpanRow | undefined, settled: Set<string>): void {
  const parent = spans.get(span.parentSpanId ?? "");
  const believed = parent && (span.source === "platform" || parent.sandboxId === span.sandboxId);
  const cyclic = believed && isCyclic(spans, span, settled);
  if (believed && !cyclic) return;
  if (span.source === "sandbox") {
    // A program that names no parent does not lie about one.
    if (span.parentSpanId !== undefined) span.notes = [...(span.notes ?? []), cyclic ? "parent_cycle" : "parent_unknown"];
  } else if (span.parentSpanId !== undefined) span.attributes = { ...span.attributes, "caller.span_id": span.parentSpanId };
  if (fallback) span.parentSpanId = fallback.spanId;
}

/** Whether the way up from a span leads back to it. A way that was walked once is known to lead up. */
function isCyclic(spans: ReadonlyMap<string, SpanRow>, span: SpanRow, settled: Set<string>): boolean {
  const walked = new Set<string>();
  for (let at: SpanRow | undefined = span; at && !settled.has(at.spanId); at = spans.get(at.parentSpanId ?? "")) {
    if (walked.has(at.spanId)) return true;
    walked.add(at.spanId);
  }
  for (const id of walked) settled.add(id);
  return false;
}

/**
 * What is kept of a task's spans, in the order in which it was written. Of what sandboxes say of themselves there is as
 * much as what was measured leaves room for: no flood of theirs hides what was done.
 */
export async function readSegments(
  platform: Platform,
  place: SpanPlace,
  most: number,
): Promise<{ spans: SpanRow[]; dropped: number; truncated: boolean }> {
  const prefix = segmentPrefix(place);
  const measured: SpanRow[] = [];
  const said: SpanRow[] = [];
  let dropped = 0;
  let last: string | undefined;
  let isWhole = true;
  for (let read = 0; measured.length <= most && read <= READ_SPANS;) {
    const rows: Row<Segment>[] = await platform.tables.range<Segment>(SPANS, prefix, {
      limit: PAGE,
      ...(last === undefined ? {} : { after: last }),
    });
    for (const { key, value } of rows) {
      for (const span of value.spans) {
        if (span.source === "platform") measured.push(span);
        else if (said.length <= most) said.push(span);
      }
      read += value.spans.length;
      dropped += value.dropped ?? 0;
      last = key;
    }
    isWhole = rows.length < PAGE;
    if (isWhole) break;
  }
  const spans = [...measured, ...said].slice(0, most);
  return { spans, dropped, truncated: !isWhole || measured.length + said.length > most };
}

/** A page of the project's spans, newest first by when they ended. A search that reads much and finds little answers a short page with `next`. */
export async function listSpans(platform: Platform, project: Owner, query: SpanQuery): Promise<{ items: Span[]; next?: string }> {
  await platform.traces.flush();
  const taskId = await taskOf(platform, project, query);
  const since = query.since === undefined ? 0 : Date.parse(query.since);
  const until = query.until === undefined ? Number.MAX_SAFE_INTEGER / 16 : Date.parse(query.until);
  const cursor = parseCursor(query.after);
  const items: Span[] = [];
  let looked = 0;
  for await (const [minute, tasks] of minutesOf(platform, project.id, taskId, Math.min(until, cursor?.minute ?? until))) {
    if (minute + MINUTE_MS <= since) break;
    const found: { span: Span; endMs: number }[] = [];
    for (const id of tasks) {
      for (const span of await spansOfMinute(platform, { projectId: project.id, taskId: id }, minute)) {
        looked += 1;
        const endMs = span.startMs + (span.durationMs ?? 0);
        // What has only begun is told by its task's trace.
        if (span.durationMs === undefined || endMs < since || endMs >= until || !matches(span, query)) continue;
        found.push({ span: toSpan(id, span), endMs });
      }
    }
    const ordered = found.toSorted((a, b) => b.endMs - a.endMs || (a.span.spanId < b.span.spanId ? -1 : 1));
    const skipped = cursor?.minute === minute ? cursor.index : 0;
    for (const [at, { span }] of ordered.entries()) {
      if (at < skipped) continue;
      if (items.length === query.limit) return { items, next: `${minute}-${at}` };
      items.push(span);
    }
    if (looked > SEARCHED_SPANS) return { items, next: `${minute}-${ordered.length}` };
  }
  return { items };
}

/** Which task a query is about: it names one, or a sandbox whose task it is. Both must be the project's. */
export async function taskOf(
  platform: Platform,
  project: Owner,
  query: Pick<SpanQuery, "taskId" | "sandboxId">,
): Promise<string | undefined> {
  const { taskId, sandboxId } = query;
  const own = sandboxId === undefined ? undefined : (await ownRow(platform, project, sandboxId)).value.taskId;
  if (taskId === undefined) return own;
  await ownTask(platform, project.id, taskId);
  return taskId;
}

/** Whether a span is one that is looked for. Text is compared as text: nothing in it is a pattern. */
export function matches(span: SpanRow, query: Pick<SpanQuery, "sandboxId" | "kind" | "status" | "text">): boolean {
  if (query.sandboxId !== undefined && span.sandboxId !== query.sandboxId) return false;
  if (query.kind !== undefined && span.kind !== query.kind) return false;
  if (query.status !== undefined && span.status !== query.status) return false;
  if (query.text === undefined) return true;
  const { name, statusMessage = "", attributes = {}, input, output } = span;
  const said = [name, statusMessage, ...Object.entries(attributes).flat(), input?.text ?? "", output?.text ?? ""].join("\n").toLowerCase();
  return query.text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => said.includes(word));
}

/** The minutes in which something was written, latest first, each with its tasks. */
async function* minutesOf(
  platform: Platform,
  projectId: string,
  taskId: string | undefined,
  until: number,
): AsyncGenerator<[number, string[]]> {
  const prefix = `${projectId}/`;
  let after = `${prefix}${timeText(until + MINUTE_MS)}`;
  let open: [number, string[]] | undefined;
  for (;;) {
    const rows = await platform.tables.range<{ taskId: string }>(SPAN_TIMES, prefix, { limit: MINUTES, descending: true, after });
    for (const { key, value } of rows) {
      const minute = Number(key.slice(prefix.length).split("/", 1)[0]);
      if (open && open[0] !== minute) {
        yield open;
        open = undefined;
      }
      if (taskId === undefined || value.taskId === taskId) {
        open ??= [minute, []];
        open[1].push(value.taskId);
      }
      after = key;
    }
    if (rows.length < MINUTES) break;
  }
  if (open) yield open;
}

async function spansOfMinute(platform: Platform, place: SpanPlace, minute: number): Promise<SpanRow[]> {
  const prefix = segmentPrefix(place);
  const end = `${prefix}${timeText(minute + MINUTE_MS)}`;
  const spans: SpanRow[] = [];
  let after = `${prefix}${timeText(minute)}`;
  for (;;) {
    const rows = await platform.tables.range<Segment>(SPANS, prefix, { limit: PAGE, after });
    for (const { key, value } of rows) {
      if (key >= end || spans.length >= MINUTE_SPANS) return spans;
      spans.push(...value.spans);
      after = key;
    }
    if (rows.length < PAGE) return spans;
  }
}

function parseCursor(text: string | undefined): { minute: number; index: number } | undefined {
  if (text === undefined) return undefined;
  const [, minute, index] = /^(\d{1,15})-(\d{1,6})$/.exec(text) ?? [];
  if (minute === undefined) {
    const issues = [{ field: "query.after", problem: "is `next` of an earlier answer" }];
    throw new Problem("invalid_request", { detail: "query.after: is `next` of an earlier answer", issues });
  }
  return { minute: Number(minute), index: Number(index) };
}
