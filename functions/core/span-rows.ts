import { randomFillSync } from "node:crypto";
import type { Span, SpanAttributes, SpanContent, SpanKind } from "#contract/span.ts";
import type { Platform } from "./ports.ts";

/** A span on its way to be kept, and as it is kept. `startMs` is of the clock that never goes back. */
export interface SpanRow {
  spanId: string;
  traceId: string;
  parentSpanId?: string;
  sandboxId?: string;
  kind: SpanKind;
  name: string;
  source: "platform" | "sandbox";
  startMs: number;
  /** Missing while it is only begun. */
  durationMs?: number;
  status: "ok" | "error" | "unknown";
  statusMessage?: string;
  attributes?: SpanAttributes;
  input?: SpanContent;
  output?: SpanContent;
  notes?: string[];
}

/** Which project's and task's it is. */
export interface SpanPlace {
  projectId: string;
  taskId: string;
}

/** Spans that were written at once: one row, so that all of them are there or none. */
export interface Segment {
  spans: SpanRow[];
  dropped?: number;
}

export const SPANS = "spans";
/** Which tasks have spans that were written in a minute: `<project>/<minute>/<task>`. */
export const SPAN_TIMES = "span-times";
export const MINUTE_MS = 60_000;

const NAME_CHARS = 256;
const ATTRIBUTES = 64;
const VALUE_CHARS = 1024;
export const TEXT_CHARS = 8192;

export function segmentPrefix({ projectId, taskId }: SpanPlace): string {
  return `${projectId}/${taskId}/`;
}

export function timeText(atMs: number): string {
  return String(Math.floor(atMs)).padStart(15, "0");
}

export function minuteKey({ projectId, taskId }: SpanPlace, atMs: number): string {
  return `${projectId}/${timeText(Math.floor(atMs / MINUTE_MS) * MINUTE_MS)}/${taskId}`;
}

const pool = new Uint8Array(8 * 512);
let used = pool.length;

/** Eight random bytes in hex, drawn by the hundred. */
export function newSpanId(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 8;
  return Buffer.from(pool.buffer, used - 8, 8).toString("hex");
}

/** Cuts what is too long; text that was cut says so. */
export function bounded(span: SpanRow): SpanRow {
  let cut = false;
  const short = (text: string, most: number) => {
    if (text.length <= most) return text;
    cut = true;
    return text.slice(0, most).toWellFormed();
  };
  const content = (one: SpanContent | undefined) => (one?.text === undefined ? one : { ...one, text: short(one.text, TEXT_CHARS) });
  const entries = Object.entries(span.attributes ?? {});
  if (entries.length > ATTRIBUTES) cut = true;
  const kept = entries
    .slice(0, ATTRIBUTES)
    .map(([key, value]) => [short(key, NAME_CHARS), typeof value === "string" ? short(value, VALUE_CHARS) : value] as const);
  const [input, output] = [content(span.input), content(span.output)];
  const row: SpanRow = {
    ...span,
    name: short(span.name, NAME_CHARS),
    ...(kept.length > 0 ? { attributes: Object.fromEntries(kept) } : {}),
    ...(span.statusMessage === undefined ? {} : { statusMessage: short(span.statusMessage, VALUE_CHARS) }),
    ...(input ? { input } : {}),
    ...(output ? { output } : {}),
  };
  if (cut) row.notes = [...(span.notes ?? []), "truncated"];
  return row;
}

/** A span as its owner sees it. */
export function toSpan(taskId: string, row: SpanRow): Span {
  const { spanId, traceId, parentSpanId, sandboxId, kind, name, source, startMs, durationMs, status, statusMessage } = row;
  return {
    spanId,
    traceId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    taskId,
    ...(sandboxId === undefined ? {} : { sandboxId }),
    kind,
    name,
    source,
    startedAt: new Date(startMs).toISOString(),
    ...(durationMs === undefined ? {} : { durationMs: Math.round(durationMs * 1000) / 1000 }),
    status,
    ...(statusMessage === undefined ? {} : { statusMessage }),
    attributes: row.attributes ?? {},
    ...(row.input ? { input: row.input } : {}),
    ...(row.output ? { output: row.output } : {}),
    notes: row.notes ?? [],
  };
}

/** A keyed digest of content: equal content of one project has equal digests, and who has none of the key learns nothing by guessing. */
export function contentDigest(platform: Pick<Platform, "vault">, projectId: string, bytes: Uint8Array | string): string {
  return platform.vault.digest(`content/${projectId}`, bytes);
}
