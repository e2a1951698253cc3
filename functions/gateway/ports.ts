import { Problem } from "#contract/problem.ts";
import type { Passed } from "#core/ports.ts";
import type { Principal } from "#core/projects.ts";
import { usePortTicket } from "#core/tickets.ts";
import type { Arrival } from "./arrival.ts";
import { admit, isSameOrigin } from "./auth.ts";
import { targetOf } from "./data.ts";
import type { Gateway } from "./gateway.ts";
import type { PortPlace } from "./served.ts";

/** Who goes where inside a sandbox; `port` is there for what a program inside answers itself. */
export interface Entry {
  principal: Principal;
  target: { sandboxId: string; path: string };
  port?: PortPlace;
}

const BY_TICKET = /^\/p\/([^/?]+)(\/[^?]*)?(\?.*)?$/s;
const INSIDE = /^\/ports\/([1-9]\d{0,4})(?=\/|\?|$)/;

/** Whether a request came by the address that a port's ticket is. */
export function isByTicket(url: string): boolean {
  return url.startsWith("/p/");
}

/** Finds out where a request goes, and lets it: by the ticket that is its address, or by what it carries. */
export async function enter(gateway: Gateway, arrival: Arrival): Promise<Entry> {
  const [, ticket, rest = "/", query = ""] = BY_TICKET.exec(arrival.url) ?? [];
  if (ticket === undefined) {
    const target = targetOf(arrival.url);
    const principal = await admit(gateway, arrival, target);
    const number = INSIDE.exec(target.path)?.[1];
    const base = `/sandboxes/${target.sandboxId}/ports/${number}`;
    return { principal, target, ...(number === undefined ? {} : { port: { number, base, shared: false } }) };
  }
  const { principal, sandboxId, number } = await usePortTicket(gateway.platform, ticket);
  const target = targetOf(`/sandboxes/${sandboxId}/ports/${number}${rest}${query}`);
  return { principal, target, port: { number, base: `/p/${ticket}`, shared: true } };
}

/** Only this door's own pages may open a WebSocket, and by a port's address what that port served, whose origin is none. */
export function refuseForeignOrigin(arrival: Arrival): void {
  if (isSameOrigin(arrival) || (isByTicket(arrival.url) && arrival.headers["origin"] === "null")) return;
  throw new Problem("forbidden", { detail: "WebSockets are not for pages of other origins", permission: "origin" });
}

/** Whether a browser asks if a page that was served here may ask its own port something. */
export function isPreflight({ method, headers }: Arrival, { port }: Entry): boolean {
  return method === "OPTIONS" && port?.shared === true && headers["access-control-request-method"] !== undefined;
}

export function preflight(): Passed {
  const headers = new Headers({
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "*",
    "access-control-allow-headers": "*",
    "access-control-max-age": "600",
  });
  return { status: 204, headers, body: null };
}
