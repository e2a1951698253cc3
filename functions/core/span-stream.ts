import { setTimeout as delay } from "node:timers/promises";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Span, SpanQuery } from "#contract/span.ts";
import type { Platform } from "./ports.ts";
import { MINUTE_MS, minuteKey, type Segment, segmentPrefix, SPAN_TIMES, SPANS, timeText, toSpan } from "./span-rows.ts";
import { matches, taskOf } from "./trace.ts";

type Followed = Pick<SpanQuery, "taskId" | "sandboxId" | "kind" | "status" | "text">;
export type SpanNews = { span: Span } | { dropped: number; taskId: string } | { quiet: true };

const LOOK_MS = 250;
const QUIET_MS = 15_000;
/** Writers' clocks and turns differ by less: what comes late is still met, and what was met is remembered for as long. */
const OVERLAP_MS = 3000;
const PAGE = 50;
const TASKS = 200;

const followers = new WeakMap<Platform, Map<string, number>>();

/**
 * Spans as they are written, whichever process writes them, until the signal aborts. Who reads slowly is told later, from
 * the tables: nothing waits in memory.
 */
export async function followSpans(
  platform: Platform,
  project: Pick<Project, "id">,
  query: Followed,
  signal: AbortSignal,
): Promise<AsyncGenerator<SpanNews>> {
  const taskId = await taskOf(platform, project, query);
  signal.throwIfAborted();
  const counts = followers.get(platform) ?? new Map<string, number>();
  followers.set(platform, counts);
  const count = counts.get(project.id) ?? 0;
  if (count >= LIMITS.spanStreams)
    throw new Problem("rate_limited", { detail: `A project follows its spans ${LIMITS.spanStreams} times at once`, retryAfterMs: 1000 });
  counts.set(project.id, count + 1);
  signal.addEventListener("abort", () => counts.set(project.id, (counts.get(project.id) ?? 1) - 1), { once: true });
  return follow(platform, project.id, taskId, query, signal);
}

async function* follow(
  platform: Platform,
  projectId: string,
  taskId: string | undefined,
  query: Followed,
  signal: AbortSignal,
): AsyncGenerator<SpanNews> {
  const met = new Map<string, number>();
  let fromMs = platform.traces.now();
  let quietSinceMs = fromMs;
  yield { quiet: true };
  while (!signal.aborted) {
    await delay(LOOK_MS, undefined, { signal }).catch(() => {});
    const now = platform.traces.now();
    for (const id of taskId === undefined ? await tasksLately(platform, projectId, now) : [taskId]) {
      for (const [key, segment] of await segmentsSince(platform, { projectId, taskId: id }, fromMs - OVERLAP_MS)) {
        if (met.has(key) || keyTime(key) < fromMs - OVERLAP_MS) continue;
        met.set(key, now);
        quietSinceMs = now;
        if (segment.dropped) yield { dropped: segment.dropped, taskId: id };
        for (const row of segment.spans) if (row.durationMs !== undefined && matches(row, query)) yield { span: toSpan(id, row) };
      }
    }
    fromMs = Math.max(fromMs, now - OVERLAP_MS);
    for (const [key, atMs] of met) if (atMs < now - 4 * OVERLAP_MS) met.delete(key);
    if (now - quietSinceMs < QUIET_MS) continue;
    quietSinceMs = now;
    yield { quiet: true };
  }
}

function keyTime(key: string): number {
  return Number(key.split("/").at(-2));
}

/** Tasks of which something was written in this minute or the one before. */
async function tasksLately(platform: Platform, projectId: string, now: number): Promise<Set<string>> {
  const after = minuteKey({ projectId, taskId: "" }, now - MINUTE_MS);
  const rows = await platform.tables.range<{ taskId: string }>(SPAN_TIMES, `${projectId}/`, { limit: TASKS, after });
  return new Set(rows.map(({ value }) => value.taskId));
}

async function segmentsSince(
  platform: Platform,
  place: { projectId: string; taskId: string },
  sinceMs: number,
): Promise<[string, Segment][]> {
  const prefix = segmentPrefix(place);
  const rows = await platform.tables.range<Segment>(SPANS, prefix, { limit: PAGE, after: `${prefix}${timeText(sinceMs)}` });
  return rows.map(({ key, value }) => [key, value]);
}
