import { ROOT_CONTEXT, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

/**
 * An agent that tells of itself by OpenTelemetry's own exporter and has no settings beside its environment. Tests bundle it
 * into one file, since a sandbox has no network to install anything from.
 */
const [, traceId = "", spanId = ""] = process.env["TRACEPARENT"]?.split("-") ?? [];
const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })] });
const tracer = provider.getTracer("telling-agent", "1.2.3");

const above = trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
const plan = tracer.startSpan("plan", { attributes: { step: 3, ratio: 0.5, done: true, words: ["a", "b"] } }, above);
plan.addEvent("thought of it");
const call = tracer.startSpan("call", {}, trace.setSpan(above, plan));
call.setStatus({ code: SpanStatusCode.ERROR, message: "it failed" });
call.end();
plan.end();
await provider.forceFlush();
await provider.shutdown();
console.log("told");
