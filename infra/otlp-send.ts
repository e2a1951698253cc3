import type { Collector } from "#core/trace-export.ts";
import { post } from "./outside.ts";

/** Sends one OTLP/HTTP request. A project's collector must be outside; the operator's own may be anywhere. */
export function sendTraces({ endpoint, headers, trusted }: Collector, body: string, allowInside: boolean): Promise<number> {
  return post(endpoint, { ...headers, "content-type": "application/json" }, body, trusted || allowInside);
}
