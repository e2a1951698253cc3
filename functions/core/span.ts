import type { TraceContext } from "#contract/traceparent.ts";
import type { SpanKind } from "#contract/span.ts";
import { asProblem } from "#contract/problem.ts";
import type { Platform } from "./ports.ts";
import type { SandboxRow } from "./sandbox-rows.ts";
import { newSpanId, type SpanPlace, type SpanRow } from "./span-rows.ts";
import { spanIdOf, type TaskRow, traceIdOf } from "./task-rows.ts";

type OfSandbox = Pick<SandboxRow, "projectId" | "id" | "taskId" | "traceId" | "createdAtMs">;

/** What a span says beside where it belongs: a kind, a name, and whatever is known of it. */
export type SpanFacts = Pick<SpanRow, "kind" | "name"> & Partial<SpanRow>;

/** Where the spans of a sandbox are kept. */
export function placeOf(sandbox: Pick<SandboxRow, "projectId" | "taskId">): SpanPlace {
  return { projectId: sandbox.projectId, taskId: sandbox.taskId };
}

/**
 * The place in a trace of something that is done with a sandbox: below the span that its caller named, or else below the
 * sandbox's own. What goes on inside is told `next`, so that its spans come below this one.
 */
export function spanContext(
  sandbox: OfSandbox,
  caller: TraceContext | undefined,
): { row: Omit<SpanRow, "kind" | "name" | "startMs" | "status">; next: TraceContext } {
  const { projectId, id, taskId, createdAtMs } = sandbox;
  const traceId = caller?.traceId ?? sandbox.traceId ?? traceIdOf(projectId, taskId, createdAtMs);
  const spanId = newSpanId();
  const parentSpanId = caller?.spanId ?? spanIdOf("sandbox", projectId, id);
  return {
    row: { spanId, traceId, parentSpanId, sandboxId: id, source: "platform" },
    next: { traceId, spanId, sampled: caller?.sampled ?? true },
  };
}

/** Kinds of which none is ever dropped, however many there are. */
const CONTROL: ReadonlySet<SpanKind> = new Set(["task", "sandbox", "artifact", "snapshot", "memory"]);

function write(platform: Platform, place: SpanPlace, row: SpanRow): void {
  if (CONTROL.has(row.kind)) platform.traces.recordControl(place, row);
  else platform.traces.record(place, row);
}

/** Records something that was done with a sandbox and is over. Nobody waits for it. */
export function recordSpan(platform: Platform, sandbox: OfSandbox, facts: SpanFacts): void {
  const { row } = spanContext(sandbox, platform.callers.current()?.trace);
  const startMs = facts.startMs ?? platform.traces.now() - (facts.durationMs ?? 0);
  write(platform, placeOf(sandbox), { status: "ok", durationMs: 0, ...row, ...facts, startMs });
}

/** Does something with a sandbox and records it, with how it went; `work` is told its place in the trace. */
export async function span<T>(
  platform: Platform,
  sandbox: OfSandbox,
  facts: SpanFacts,
  work: (context: TraceContext) => Promise<T>,
): Promise<T> {
  const { row, next } = spanContext(sandbox, platform.callers.current()?.trace);
  const startMs = platform.traces.now();
  const begun = performance.now();
  // What is control is written when it begins, so that no crash makes it as if it had never been tried.
  const intent = CONTROL.has(facts.kind)
    ? platform.traces.keep(placeOf(sandbox), { ...row, ...facts, startMs, status: "unknown" })
    : undefined;
  const ended = (how: Pick<SpanRow, "status"> & Partial<SpanRow>) =>
    write(platform, placeOf(sandbox), { ...row, ...facts, startMs, durationMs: performance.now() - begun, ...how });
  try {
    const [value] = await Promise.all([work(next), intent]);
    ended({ status: "ok" });
    return value;
  } catch (error) {
    ended({ status: "error", statusMessage: asProblem(error).code });
    throw error;
  }
}

/** The span that a task is, at whatever point of it. */
export function taskSpan(row: TaskRow): SpanRow {
  const { projectId, id, name, agent, own, requestedBy, outcome, createdAtMs, endedAtMs } = row;
  return {
    spanId: spanIdOf("task", projectId, id),
    traceId: row.traceId,
    ...(row.parentSpanId === undefined ? {} : { parentSpanId: row.parentSpanId }),
    kind: "task",
    name: name ?? agent?.name ?? id,
    source: "platform",
    startMs: createdAtMs,
    ...(endedAtMs === undefined ? {} : { durationMs: Math.max(0, endedAtMs - createdAtMs) }),
    status: outcome === undefined ? "unknown" : outcome.status === "succeeded" ? "ok" : "error",
    ...(outcome?.summary === undefined ? {} : { statusMessage: outcome.summary }),
    attributes: {
      "task.own": own,
      "requested_by.key": requestedBy.accessKeyId,
      ...(requestedBy.onBehalfOf === undefined ? {} : { "requested_by.on_behalf_of": requestedBy.onBehalfOf }),
      ...(agent ? { "agent.name": agent.name } : {}),
      ...(agent?.version === undefined ? {} : { "agent.version": agent.version }),
    },
  };
}

const WELL_ENDED: ReadonlySet<string> = new Set(["deleted", "stopped", "idle", "lifetime"]);

/** The span that a sandbox's life is: its row says all of it, so that no crash can lose it. */
export function sandboxSpan(row: SandboxRow): SpanRow {
  const { projectId, id, taskId, template, endReason, createdAtMs, endedAtMs, usage } = row;
  return {
    spanId: spanIdOf("sandbox", projectId, id),
    traceId: row.traceId ?? traceIdOf(projectId, taskId, createdAtMs),
    parentSpanId: spanIdOf("task", projectId, taskId),
    sandboxId: id,
    kind: "sandbox",
    name: `sandbox ${template}`,
    source: "platform",
    startMs: createdAtMs,
    ...(endedAtMs === undefined ? {} : { durationMs: Math.max(0, endedAtMs - createdAtMs) }),
    status: endReason === undefined ? "unknown" : WELL_ENDED.has(endReason) ? "ok" : "error",
    ...(endReason === undefined ? {} : { statusMessage: endReason }),
    attributes: {
      "sandbox.template": template,
      "sandbox.state": row.state,
      ...(usage ? { "sandbox.cpu_ms": usage.cpuMs, "sandbox.memory_peak_bytes": usage.memoryPeakBytes } : {}),
    },
  };
}
