import { Readable } from "node:stream";
import { CLIENT_HEADER, INNER_HEADER, SERVED_HEADER } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { readBytes } from "#contract/operation.ts";
import { PROOF_HEADER } from "#contract/workspace.ts";
import type { Passage, Passed, Platform } from "./ports.ts";

const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "expect",
]);
const WITHHELD = new Set([
  "authorization",
  "cookie",
  "cookie2",
  "x-api-key",
  "x-access-token",
  "forwarded",
  "via",
  "x-real-ip",
  "true-client-ip",
  "cf-connecting-ip",
  "host",
]);
const WITHHELD_PREFIXES = [
  "agentrun-",
  "x-agentrun-",
  "x-acs-",
  "x-fc-",
  "x-forwarded-",
  "x-original-",
  "cleanroom-",
  "x-cleanroom-",
  "proxy-",
  "sec-fetch-",
];
const WITHHELD_QUERY = new Set(["authorization", "tenantid", "ticket"]);
const UPGRADE = new Set(["connection", "upgrade"]);

const REFUSED_ANSWERS = new Set([
  "set-cookie",
  "set-cookie2",
  "clear-site-data",
  "strict-transport-security",
  "service-worker-allowed",
  "alt-svc",
  "public-key-pins",
  "www-authenticate",
  "nel",
  "report-to",
  "reporting-endpoints",
  "server",
  "date",
  "content-security-policy",
  "x-request-id",
]);
const REFUSED_ANSWER_PREFIXES = ["access-control-", "x-fc-", "x-cleanroom-", "cleanroom-", "x-acs-", "proxy-", "cross-origin-"];

/** A request that can be sent a second time, if its body says that it is small enough to be held for that. */
export async function twice(request: Passage): Promise<[first: Passage, again: Passage | undefined]> {
  const { method, url, headers, body, inner, client } = request;
  if (!body) return [request, request];
  const length = headers.get("content-length");
  if (length === null || Number(length) > LIMITS.jsonBodyBytes) return [request, undefined];
  const bytes = await readBytes({ url, headers, body }, LIMITS.jsonBodyBytes);
  const copy = () => ({ method, url, headers, body: Readable.from([bytes]), ...(inner ? { inner } : {}), ...(client ? { client } : {}) });
  return [copy(), copy()];
}

/** The request as it enters a sandbox: without any credential of the platform's, and with the proof that the gateway sends it. */
export function inward(platform: Pick<Platform, "vault">, sessionId: string, request: Passage, upgrade = false): Passage {
  const named = namedByConnection(request.headers);
  const headers = new Headers();
  for (const [name, value] of request.headers) {
    // A length without its body would be taken from the next request on the connection.
    if (name === "content-length" && request.body === null) continue;
    if (upgrade && UPGRADE.has(name)) headers.append(name, value);
    else if (!HOP_BY_HOP.has(name) && !WITHHELD.has(name) && !named.has(name) && !startsWithAny(name, WITHHELD_PREFIXES))
      headers.append(name, value);
  }
  headers.set(PROOF_HEADER, platform.vault.proof(sessionId));
  if (request.inner) headers.set(INNER_HEADER, "1");
  if (request.client) headers.set(CLIENT_HEADER, "1");
  return { method: request.method, url: withoutCredentials(request.url), headers, body: request.body };
}

/**
 * Makes a sandbox's answer fit to reach a client: it cannot set cookies, open origins or run script at the gateway's.
 * The answer is changed in place, because another one around its body would have to stream what is at hand whole.
 */
export function outward<Answer extends { headers: Headers }>(answer: Answer): Answer {
  const { headers } = answer;
  const named = namedByConnection(headers);
  const refused: string[] = [];
  for (const name of headers.keys()) {
    if (HOP_BY_HOP.has(name) || REFUSED_ANSWERS.has(name) || named.has(name) || startsWithAny(name, REFUSED_ANSWER_PREFIXES))
      refused.push(name);
  }
  for (const name of refused) headers.delete(name);
  headers.set("x-content-type-options", "nosniff");
  headers.set("content-security-policy", "sandbox");
  return answer;
}

/** The port inside where a program answered, by an answer that is not yet fit for clients. */
export function servedBy({ headers }: { headers: Headers }): Pick<Passed, "served"> {
  const served = headers.get(SERVED_HEADER);
  return served === null ? {} : { served };
}

function namedByConnection(headers: Headers): Set<string> {
  const value = headers.get("connection");
  return value === null
    ? EMPTY
    : new Set(
        value
          .toLowerCase()
          .split(",")
          .map((name) => name.trim()),
      );
}

const EMPTY = new Set<string>();

function startsWithAny(name: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix));
}

function withoutCredentials(url: string): string {
  const at = url.indexOf("?");
  if (at < 0) return url;
  const kept = url
    .slice(at + 1)
    .split("&")
    .filter((pair) => !WITHHELD_QUERY.has(nameOf(pair)));
  return kept.length === 0 ? url.slice(0, at) : `${url.slice(0, at)}?${kept.join("&")}`;
}

function nameOf(pair: string): string {
  try {
    return decodeURIComponent((pair.split("=", 1)[0] ?? "").replaceAll("+", " ")).toLowerCase();
  } catch {
    return pair;
  }
}
