import { EXECUTE_TOOL, GENAI, GENAI_REVISION, GENAI_SCHEMA_URL, INVOKE_AGENT } from "./genai.ts";
import type { Span } from "./span.ts";
import { VERSION } from "./version.ts";

type OtlpValue = { stringValue: string } | { intValue: string } | { doubleValue: number } | { boolValue: boolean };
interface OtlpAttribute {
  key: string;
  value: OtlpValue;
}

const INTERNAL = 1;
const SERVER = 2;
const OK = 1;
const ERROR = 2;

/** Spans of one project as OTLP/HTTP carries them in JSON: ids in hex, 64-bit numbers as text. */
export function toOtlp(projectId: string, spans: readonly Span[]): object {
  const groups = [
    { service: "cleanroom", spans: spans.filter(({ source }) => source === "platform") },
    // What sandboxes say of themselves is another service's, wherever it is looked at.
    { service: "cleanroom-sandbox", spans: spans.filter(({ source }) => source === "sandbox") },
  ];
  return { resourceSpans: groups.filter((group) => group.spans.length > 0).map((group) => resourceOf(projectId, group)) };
}

function resourceOf(projectId: string, { service, spans }: { service: string; spans: readonly Span[] }): object {
  const resource = {
    "service.name": service,
    "service.version": VERSION,
    "cleanroom.project": projectId,
    "cleanroom.genai_revision": GENAI_REVISION,
  };
  return {
    resource: { attributes: attributesOf(resource) },
    scopeSpans: [{ scope: { name: service, version: VERSION }, spans: spans.map(spanOf), schemaUrl: GENAI_SCHEMA_URL }],
  };
}

function spanOf(span: Span): object {
  const { traceId, spanId, parentSpanId, name, kind, startedAt, durationMs = 0, status, statusMessage } = span;
  const startNs = BigInt(Date.parse(startedAt)) * 1_000_000n;
  const code = status === "error" ? ERROR : status === "ok" ? OK : 0;
  return {
    traceId,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    name,
    kind: kind === "task" || kind === "sandbox" ? INTERNAL : SERVER,
    startTimeUnixNano: String(startNs),
    endTimeUnixNano: String(startNs + BigInt(Math.round(durationMs * 1_000_000))),
    attributes: attributesOf(factsOf(span)),
    status: { code, ...(statusMessage === undefined ? {} : { message: statusMessage }) },
  };
}

function factsOf({
  taskId,
  sandboxId,
  kind,
  name,
  source,
  attributes,
  input,
  output,
  notes,
}: Span): Record<string, string | number | boolean> {
  return {
    ...attributes,
    ...(source === "sandbox" ? {} : { [GENAI.operation]: kind === "task" ? INVOKE_AGENT : EXECUTE_TOOL }),
    [GENAI.conversation]: taskId,
    ...(kind === "task" || source === "sandbox" ? {} : { [GENAI.toolName]: name }),
    ...(input?.text === undefined ? {} : { [GENAI.toolArguments]: input.text }),
    ...(output?.text === undefined ? {} : { [GENAI.toolResult]: output.text }),
    "cleanroom.kind": kind,
    "cleanroom.source": source,
    "cleanroom.task": taskId,
    ...(sandboxId === undefined ? {} : { "cleanroom.sandbox": sandboxId }),
    ...(input?.digest === undefined ? {} : { "cleanroom.input.digest": input.digest }),
    ...(output?.digest === undefined ? {} : { "cleanroom.output.digest": output.digest }),
    ...(notes.length > 0 ? { "cleanroom.notes": notes.join(",") } : {}),
  };
}

function attributesOf(facts: Record<string, string | number | boolean>): OtlpAttribute[] {
  return Object.entries(facts).map(([key, value]) => ({ key, value: valueOf(value) }));
}

function valueOf(value: string | number | boolean): OtlpValue {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
