import { asProblem } from "#contract/problem.ts";
import type { TraceContext } from "#contract/traceparent.ts";
import type { Principal } from "#core/projects.ts";
import { rowKey, SANDBOXES, type SandboxRow } from "#core/sandbox-rows.ts";
import { contentDigest, type SpanRow, TEXT_CHARS } from "#core/span-rows.ts";
import { placeOf, spanContext } from "#core/span.ts";
import { TASKS, taskKey, type TaskRow } from "#core/task-rows.ts";
import type { Gateway } from "#gateway/gateway.ts";
import { auditPassage } from "#gateway/passage-audit.ts";
import type { Outcome } from "./tool.ts";

/** What is larger has its size alone. */
const DIGESTED_BYTES = 1024 * 1024;

/** A call of a tool as a span of its sandbox's task; what it asks inside is told its place. Digests are of JSON. */
export async function traced(
  { platform }: Gateway,
  principal: Principal,
  { sandboxId, tool, input }: { sandboxId: string; tool: string; input: object },
  work: (trace: TraceContext | undefined) => Promise<Outcome>,
): Promise<Outcome> {
  const row = await platform.recent.get<SandboxRow>(SANDBOXES, rowKey(principal.project.id, sandboxId));
  if (!row) return work(undefined);
  const sandbox = row.value;
  const caller = platform.callers.current();
  const { row: place, next } = spanContext(sandbox, caller?.trace);
  const task = await platform.recent.get<TaskRow>(TASKS, taskKey(sandbox.projectId, sandbox.taskId));
  const contentOf = (value: object) => {
    const text = JSON.stringify(value);
    const bytes = Buffer.byteLength(text);
    const kept = task?.value.policy.content === "text" ? { text: text.slice(0, TEXT_CHARS) } : {};
    return { bytes, ...(bytes > DIGESTED_BYTES ? {} : { digest: contentDigest(platform, sandbox.projectId, text), ...kept }) };
  };
  const span: SpanRow = {
    ...place,
    kind: "tool",
    name: tool,
    startMs: platform.traces.now(),
    status: "ok",
    attributes: { tool },
    input: contentOf(input),
  };
  const audit = await auditPassage(platform, principal, span, { caller, writes: true });
  const begunMs = performance.now();
  const ended = (how: Partial<SpanRow>) => {
    Object.assign(span, how, { durationMs: performance.now() - begunMs });
    platform.traces.record(placeOf(sandbox), span);
    audit?.ended(span);
    platform.said.soon(sandbox, span.traceId);
  };
  try {
    const outcome = await work(next);
    ended({ ...(outcome.failed ? { status: "error", statusMessage: "failed" } : {}), output: contentOf(outcome.value) });
    return outcome;
  } catch (error) {
    ended({ status: "error", statusMessage: asProblem(error).code });
    throw error;
  }
}
