import { ISOLATION_HEADER } from "#contract/sandbox.ts";
import type { Gateway } from "./gateway.ts";

const SECURITY_HEADERS = { "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY" };

/** A request that is being answered. */
export interface Asked {
  requestId: string;
  method: string;
  /** The path that is routed, so that no credential and no query is ever written down. */
  path: string;
  startedAtMs: number;
}

/** Writes a request down with its answer, and gives the answer the headers that every one has. */
export function answered(
  { platform, isolation }: Gateway,
  { requestId, method, path, startedAtMs }: Asked,
  status: number,
  headers: Headers,
): void {
  const tookMs = Math.round((performance.now() - startedAtMs) * 10) / 10;
  platform.log.event("request", { requestId, method, path, status, tookMs });
  headers.set("x-request-id", requestId);
  headers.set(ISOLATION_HEADER, isolation.strength);
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) headers.set(name, value);
  if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
}
