import * as z from "zod";
import { Count, Moment, SandboxId, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";
import { Task } from "./task.ts";

export const SpanKind = z.enum([
  "task",
  "sandbox",
  "execute",
  "command",
  "file",
  "terminal",
  "browser",
  "desktop",
  "port",
  "tool",
  "model",
  "artifact",
  "snapshot",
  "memory",
  "program",
]);
export type SpanKind = z.output<typeof SpanKind>;

/** What went in or came out: how much, a keyed digest of it, and its text only where the task's policy asks for that. */
export const SpanContent = z.object({
  bytes: z.number().optional(),
  /** HMAC-SHA256 in hex, by a key of this project that stays with the platform: equal content has equal digests. */
  digest: z.string().optional(),
  text: z.string().optional(),
});
export type SpanContent = z.output<typeof SpanContent>;

export const SpanAttributes = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
export type SpanAttributes = z.output<typeof SpanAttributes>;

/** One thing that was done, with its place in a trace. */
export const Span = z.object({
  spanId: z.string(),
  traceId: z.string(),
  parentSpanId: z.string().optional(),
  taskId: TaskId,
  sandboxId: SandboxId.optional(),
  kind: SpanKind,
  name: z.string(),
  /** `platform` was measured by us where it passed; `sandbox` is what a program inside says of itself. */
  source: z.enum(["platform", "sandbox"]),
  startedAt: Moment,
  /** There once it is over. */
  durationMs: z.number().optional(),
  status: z.enum(["ok", "error", "unknown"]),
  statusMessage: z.string().optional(),
  attributes: SpanAttributes,
  input: SpanContent.optional(),
  output: SpanContent.optional(),
  /** What is not as it was said or should be: `parent_unknown`, `parent_cycle`, `id_taken`, `trace_foreign`, `time_moved`, `truncated`. */
  notes: z.array(z.string()),
});
export type Span = z.output<typeof Span>;

/** A task's spans, oldest first. Every parent that is named is among them, but that of the first, which is the caller's. */
export const Trace = z.object({
  task: Task,
  spans: z.array(Span),
  /** Spans that a flood made too many to keep; control spans are never among them. */
  dropped: z.int(),
  /** Whether there are more than `spans` holds. */
  truncated: z.boolean(),
});
export type Trace = z.output<typeof Trace>;

export const SpanQuery = z.strictObject({
  taskId: z.string().optional(),
  sandboxId: z.string().optional(),
  kind: SpanKind.optional(),
  status: z.enum(["ok", "error"]).optional(),
  /** By when a span ended. */
  since: Moment.optional(),
  until: Moment.optional(),
  /** Spans whose name, message, attributes or kept content hold all of these words, whatever their case. */
  text: z.string().max(LIMITS.queryChars).optional(),
  after: z.string().optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type SpanQuery = z.output<typeof SpanQuery>;

/** One step of a task's story, as a page may show it. */
export const ReplayStep = z.object({
  at: Moment,
  /** Since the task began. */
  offsetMs: z.number(),
  spanId: z.string(),
  depth: z.int(),
  kind: SpanKind,
  tried: z.string(),
  happened: z.string(),
  ok: z.boolean(),
  durationMs: z.number().optional(),
  source: z.enum(["platform", "sandbox"]),
  input: SpanContent.optional(),
  output: SpanContent.optional(),
  /** The step that came next on the same level. */
  next: z.string().optional(),
});
export type ReplayStep = z.output<typeof ReplayStep>;

const params = z.object({ taskId: z.string() });

export const readTrace = operation({
  id: "readTrace",
  method: "get",
  path: "/api/tasks/:taskId/trace",
  summary: "Read everything that a task did, as one tree of spans",
  params,
  status: 200,
  returns: Trace,
  errors: ["task_not_found"],
});

export const eraseTrace = operation({
  id: "eraseTrace",
  method: "delete",
  path: "/api/tasks/:taskId/trace",
  summary: "Erase what was recorded of a task; the audit log keeps its digests and says that it was erased",
  params,
  status: 204,
  errors: ["task_not_found"],
});

export const replayTask = operation({
  id: "replayTask",
  method: "get",
  path: "/api/tasks/:taskId/replay",
  summary: "Read a task as one ordered story: what it tried, what happened, what it tried next",
  params,
  status: 200,
  returns: z.object({ task: Task, steps: z.array(ReplayStep), dropped: z.int(), truncated: z.boolean() }),
  errors: ["task_not_found"],
});

export const listSpans = operation({
  id: "listSpans",
  method: "get",
  path: "/api/spans",
  summary: "Find spans of the project by task, sandbox, kind, time and text, newest first",
  query: SpanQuery,
  status: 200,
  returns: z.object({ items: z.array(Span), next: z.string().optional() }),
  errors: ["invalid_request", "sandbox_not_found", "task_not_found"],
});

export const streamSpans = operation({
  id: "streamSpans",
  method: "get",
  path: "/api/spans/stream",
  summary: "Follow spans as they end: server-sent events `span` and `dropped`",
  query: SpanQuery.omit({ since: true, until: true, after: true, limit: true }),
  status: 200,
  streams: { response: "text/event-stream" },
  errors: ["invalid_request", "rate_limited", "sandbox_not_found", "task_not_found"],
});
