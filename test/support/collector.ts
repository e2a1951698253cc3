import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import * as z from "zod";

const hex = (digits: number) => z.string().regex(new RegExp(`^(?!0+$)[0-9a-f]{${digits}}$`));
const Uint64 = z.string().regex(/^(0|[1-9]\d{0,19})$/);
const Value = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ intValue: z.string().regex(/^-?\d{1,19}$/) }),
  z.strictObject({ doubleValue: z.number() }),
  z.strictObject({ boolValue: z.boolean() }),
]);
const Attributes = z
  .array(z.strictObject({ key: z.string().min(1), value: Value }))
  .refine((all) => new Set(all.map(({ key }) => key)).size === all.length);

/** A span by opentelemetry-proto's `trace.proto`, in the JSON that OTLP/HTTP's specification gives it; nothing else may be there. */
export const OtlpSpan = z
  .strictObject({
    traceId: hex(32),
    spanId: hex(16),
    parentSpanId: hex(16).optional(),
    name: z.string().min(1),
    kind: z.int().min(1).max(5),
    startTimeUnixNano: Uint64,
    endTimeUnixNano: Uint64,
    attributes: Attributes,
    status: z.strictObject({ code: z.int().min(0).max(2), message: z.string().optional() }),
  })
  .refine(({ startTimeUnixNano, endTimeUnixNano }) => BigInt(endTimeUnixNano) >= BigInt(startTimeUnixNano));

const ExportTraceServiceRequest = z.strictObject({
  resourceSpans: z
    .array(
      z.strictObject({
        resource: z.strictObject({ attributes: Attributes }),
        scopeSpans: z.array(
          z.strictObject({
            scope: z.strictObject({ name: z.string(), version: z.string() }),
            spans: z.array(OtlpSpan).min(1),
            schemaUrl: z.url(),
          }),
        ),
      }),
    )
    .min(1),
});

export interface Collector extends AsyncDisposable {
  endpoint: string;
  spans: z.output<typeof OtlpSpan>[];
  requests: { path: string; headers: IncomingHttpHeaders }[];
  /** What was sent and is no OTLP. */
  refused: string[];
  /** Statuses to answer first. */
  moods: number[];
}

/** An OTLP/HTTP collector that takes JSON, and only what the specification lets through. */
export async function openCollector(): Promise<Collector> {
  const spans: Collector["spans"] = [];
  const requests: Collector["requests"] = [];
  const refused: string[] = [];
  const moods: number[] = [];
  async function take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of incoming) text += String(chunk);
    const mood = moods.shift();
    if (mood !== undefined) {
      outgoing.writeHead(mood).end();
      return;
    }
    requests.push({ path: incoming.url ?? "", headers: incoming.headers });
    const parsed = ExportTraceServiceRequest.safeParse(JSON.parse(text));
    if (!parsed.success || incoming.method !== "POST" || incoming.headers["content-type"] !== "application/json") {
      refused.push(parsed.error?.message ?? "method or media type");
      outgoing.writeHead(400).end();
      return;
    }
    spans.push(...parsed.data.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
    outgoing.writeHead(200, { "content-type": "application/json" }).end("{}");
  }
  const server = createServer((incoming, outgoing) => void take(incoming, outgoing));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    endpoint: `http://127.0.0.1:${port}/v1/traces`,
    spans,
    requests,
    refused,
    moods,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
