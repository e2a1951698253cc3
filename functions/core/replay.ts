import type { ReplayStep, Span, Trace } from "#contract/span.ts";

/** A trace as one ordered story: each step says what was tried, what happened, and which came next beside it. */
export function storyOf(trace: Trace): ReplayStep[] {
  const byId = new Map(trace.spans.map((span) => [span.spanId, span]));
  const depths = new Map<string, number>();
  const begun = Date.parse(trace.task.createdAt);
  const last = new Map<string, ReplayStep>();
  return trace.spans.map((span) => {
    const step = stepOf(span, depthOf(byId, depths, span), begun);
    const beside = span.parentSpanId ?? "";
    const before = last.get(beside);
    if (before) before.next = span.spanId;
    last.set(beside, step);
    return step;
  });
}

function stepOf(span: Span, depth: number, begunMs: number): ReplayStep {
  const { startedAt, spanId, kind, durationMs, source, input, output } = span;
  return {
    at: startedAt,
    offsetMs: Math.max(0, Date.parse(startedAt) - begunMs),
    spanId,
    depth,
    kind,
    tried: triedOf(span),
    happened: happenedOf(span),
    ok: span.status !== "error",
    ...(durationMs === undefined ? {} : { durationMs }),
    source,
    ...(input ? { input } : {}),
    ...(output ? { output } : {}),
  };
}

function triedOf({ name, attributes, input }: Span): string {
  const what = attributes["path"] ?? attributes["language"] ?? attributes["tool"];
  const said = input?.text === undefined ? "" : `: ${firstLine(input.text)}`;
  return `${name}${what === undefined ? "" : ` (${what})`}${said}`;
}

function happenedOf({ status, statusMessage, durationMs, output }: Span): string {
  if (durationMs === undefined) return "It goes on, or nobody saw it end";
  const how =
    status === "error" ? `failed${statusMessage === undefined ? "" : `: ${firstLine(statusMessage)}`}` : (statusMessage ?? "went well");
  const bytes = output?.bytes === undefined ? "" : `, ${output.bytes} bytes came out`;
  return `${how}${bytes}`;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]?.slice(0, 200) ?? "";
}

function depthOf(byId: ReadonlyMap<string, Span>, known: Map<string, number>, span: Span): number {
  const way: Span[] = [];
  let at: Span | undefined = span;
  while (at && !known.has(at.spanId) && way.length <= byId.size) {
    way.push(at);
    at = byId.get(at.parentSpanId ?? "");
  }
  let depth = at ? (known.get(at.spanId) ?? 0) + 1 : 0;
  for (const one of way.toReversed()) known.set(one.spanId, depth++);
  return known.get(span.spanId) ?? 0;
}
