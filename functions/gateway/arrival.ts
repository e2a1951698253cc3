import type { IncomingMessage } from "node:http";
import type { Headers as RawHeaders } from "#contract/acs3.ts";

/** A request as it came over the wire, before anything was stripped or decoded. */
export interface Arrival {
  method: string;
  /** Path and query, undecoded, with the key prefix if there was one. */
  url: string;
  headers: RawHeaders;
  remoteAddress: string | undefined;
  upgrade: boolean;
}

export function arrivalOf(incoming: IncomingMessage, upgrade = false): Arrival {
  const { method = "GET", url = "/", headers } = incoming;
  return { method, url, headers, remoteAddress: incoming.socket.remoteAddress, upgrade };
}

/** The same from a Request that no socket carried, as tests send them. */
export function arrivalOfRequest(request: Request): Arrival {
  const { pathname, search } = new URL(request.url);
  return {
    method: request.method,
    url: pathname + search,
    headers: Object.fromEntries(request.headers),
    remoteAddress: undefined,
    upgrade: false,
  };
}

/** The path as it may be written down: without its query, and without what opens the door. */
export function shownPath(url: string): string {
  const path = splitKey(url.split("?", 1)[0] ?? "/").path;
  return path.startsWith("/p/") ? path.replace(/^\/p\/[^/]*/, "/p/-") : path;
}

const KEY_PREFIX = /^\/k\/([^/?]*)(?=[/?]|$)/;

/** Splits `/k/<apiKey>` off a path: AgentRun's clients can carry their key only there. */
export function splitKey(path: string): { apiKey: string | undefined; path: string } {
  const match = KEY_PREFIX.exec(path);
  if (!match) return { apiKey: undefined, path };
  const rest = path.slice(match[0].length);
  return { apiKey: match[1] ?? "", path: rest.startsWith("/") ? rest : `/${rest}` };
}
