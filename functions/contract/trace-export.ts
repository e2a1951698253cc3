import * as z from "zod";
import { operation } from "./operation.ts";

/** Where a project's spans go besides: the address of any OTLP/HTTP collector that takes JSON. */
export const TraceExport = z.object({ endpoint: z.string(), headers: z.array(z.string()) });
export type TraceExport = z.output<typeof TraceExport>;

export const SetTraceExport = z.strictObject({
  /** The whole address, `/v1/traces` included. */
  endpoint: z.url({ protocol: /^https?$/ }).max(2048),
  /** Sent along; kept sealed, and never shown again. */
  headers: z
    .record(z.string().regex(/^[A-Za-z0-9-]{1,64}$/, "is a header's name"), z.string().regex(/^[\x20-\x7e]{0,4096}$/, "is printable ASCII"))
    .refine((headers) => Object.keys(headers).length <= 16, "holds at most 16 headers")
    .default({}),
});
export type SetTraceExport = z.output<typeof SetTraceExport>;

export const setTraceExport = operation({
  id: "setTraceExport",
  method: "put",
  path: "/api/trace-export",
  summary: "Send the project's spans to an OpenTelemetry collector, from now on",
  body: SetTraceExport,
  status: 200,
  returns: TraceExport,
  errors: ["invalid_request"],
});

export const getTraceExport = operation({
  id: "getTraceExport",
  method: "get",
  path: "/api/trace-export",
  summary: "Where the project's spans go besides; of the headers only the names",
  status: 200,
  returns: z.object({ export: TraceExport.optional() }),
  errors: [],
});

export const deleteTraceExport = operation({
  id: "deleteTraceExport",
  method: "delete",
  path: "/api/trace-export",
  summary: "Send the project's spans nowhere besides",
  status: 204,
  errors: [],
});
