import { verifyAcs3 } from "#contract/acs3.ts";
import { LIMITS } from "#contract/limits.ts";
import { readBytes } from "#contract/operation.ts";
import { Problem } from "#contract/problem.ts";
import { anonymousPrincipal, findByApiKey, findSecret, type Principal } from "#core/projects.ts";
import { getSandbox } from "#core/sandboxes.ts";
import { useTicket } from "#core/tickets.ts";
import { findByToken } from "#core/tokens.ts";
import { createHash } from "node:crypto";
import { auditRefusal } from "./audited.ts";
import { AGENTRUN_AUTHORIZATION, agentrun4KeyId, verifyAgentrun4 } from "./agentrun/signature.ts";
import { type Arrival, splitKey } from "./arrival.ts";
import type { Gateway } from "./gateway.ts";
import { purposesOf } from "./tickets.ts";

/** Who sends a request, and its body once a signature that covers it was checked against it. */
export interface Caller {
  principal: Principal;
  request: Request;
}

/** Says who sends a request. The first credential that is there counts; one that is wrong is refused, not passed over. */
export async function authenticate(gateway: Gateway, arrival: Arrival, request: Request): Promise<Caller> {
  if (isAcs3(arrival)) return bySignature(gateway, arrival, request);
  return { principal: await identify(gateway, arrival), request };
}

/** Whether a request is signed in the way that covers its body. */
export function isAcs3(arrival: Arrival): boolean {
  return header(arrival, "authorization").startsWith("ACS3-HMAC-SHA256 ") && splitKey(arrival.url).apiKey === undefined;
}

/** The same for a request without a body to sign, such as a WebSocket's upgrade. */
export async function identify(gateway: Gateway, arrival: Arrival): Promise<Principal> {
  const { platform } = gateway;
  const { apiKey: inPath } = splitKey(arrival.url);
  if (inPath !== undefined) return known(await findByApiKey(platform, decodeURIComponentSafe(inPath)));
  // mem0's clients say `Token` for the same.
  const bearer = /^(?:Bearer|Token) +(\S+)$/i.exec(header(arrival, "authorization"))?.[1];
  if (bearer !== undefined) return known(await findByAny(gateway, bearer));
  if (header(arrival, AGENTRUN_AUTHORIZATION) !== "") return byAgentrun4(gateway, arrival);
  const given =
    header(arrival, "x-api-key") || header(arrival, "agentrun-access-token") || (arrival.upgrade ? queryCredential(arrival.url) : "");
  if (given !== "") return known(await findByAny(gateway, given));
  const anonymous = isAnonymousAllowed(gateway, arrival) ? await anonymousPrincipal(platform) : undefined;
  return known(anonymous);
}

/**
 * Says who wants to go into a sandbox, and that they may: by a ticket, where one came and the path is one that tickets are
 * for, else by any other credential.
 */
export async function admit(gateway: Gateway, arrival: Arrival, target: { sandboxId: string; path: string }): Promise<Principal> {
  const purposes = purposesOf(target.path);
  const ticket = purposes.length > 0 ? queryValue(arrival.url, "ticket") : undefined;
  if (ticket !== undefined) return useTicket(gateway.platform, ticket, { sandboxId: target.sandboxId, purposes });
  const principal = await identify(gateway, arrival);
  await permitSandbox(gateway, principal, target.sandboxId);
  return principal;
}

/** Refuses a scoped credential outside its scope; to who has one, what lies outside does not exist. */
export async function permitSandbox(gateway: Gateway, principal: Principal, sandboxId: string): Promise<void> {
  const { scope } = principal;
  if (!scope) return;
  const refuse = () => {
    auditRefusal(gateway.platform, principal, { action: "reachSandbox", resource: { kind: "sandbox", id: sandboxId } });
    return new Problem("sandbox_not_found", { detail: `No such sandbox: ${sandboxId}`, sandboxId });
  };
  if ("sandboxId" in scope) {
    if (scope.sandboxId !== sandboxId) throw refuse();
    return;
  }
  const sandbox = await getSandbox(gateway.platform, principal.project, sandboxId);
  if (sandbox.template !== scope.template) throw refuse();
}

/** Refuses a scoped credential where only a whole project may act. */
export function requireProject(principal: Principal): void {
  if (principal.scope)
    throw new Problem("forbidden", {
      detail: "This token is for one sandbox or template; use a key of the project",
      permission: "project",
    });
}

function findByAny(gateway: Gateway, credential: string): Promise<Principal | undefined> {
  return credential.startsWith("cr_") ? findByApiKey(gateway.platform, credential) : findByToken(gateway.platform, credential);
}

/** The signature is checked before the body is read, and the body against the hash that was signed before anybody uses it. */
async function bySignature(gateway: Gateway, arrival: Arrival, request: Request): Promise<Caller> {
  const { platform, nonces } = gateway;
  const accessKeyId = /Credential=([^,\s]+)/.exec(header(arrival, "authorization"))?.[1] ?? "";
  const found = await findSecret(platform, accessKeyId);
  const bodySha256 = header(arrival, "x-acs-content-sha256");
  verifyAcs3({ ...arrival, bodySha256, secretOf: () => found?.secret, nonces, now: platform.clock.now() });
  const bytes = request.body ? await readBytes(request, LIMITS.contentBodyBytes) : new Uint8Array();
  if (createHash("sha256").update(bytes).digest("hex") !== bodySha256)
    throw new Problem("signature_mismatch", { detail: "The body does not match its hash" });
  const init: RequestInit = {
    method: request.method,
    headers: request.headers,
    signal: request.signal,
    ...(bytes.byteLength > 0 ? { body: Buffer.from(bytes) } : {}),
  };
  return { principal: known(found?.principal), request: new Request(request.url, init) };
}

async function byAgentrun4(gateway: Gateway, arrival: Arrival): Promise<Principal> {
  const { platform } = gateway;
  const found = await findSecret(platform, agentrun4KeyId(arrival.headers) ?? "");
  verifyAgentrun4({ ...arrival, secretOf: () => found?.secret, now: platform.clock.now() });
  return known(found?.principal);
}

// A page of another site can make a browser send requests to this machine, so its own name and origin must be the door's.
function isAnonymousAllowed(gateway: Gateway, arrival: Arrival): boolean {
  if (!gateway.allowAnonymous || !isLoopback(arrival.remoteAddress)) return false;
  if (header(arrival, "x-forwarded-for") !== "" || header(arrival, "forwarded") !== "") return false;
  return /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i.test(header(arrival, "host")) && isSameOrigin(arrival);
}

/** Whether a browser sent the request from a page of this very door; programs that are no browser send no origin. */
export function isSameOrigin(arrival: Arrival): boolean {
  const origin = header(arrival, "origin");
  if (origin === "") return true;
  return /^https?:\/\/(.+)$/.exec(origin)?.[1]?.toLowerCase() === header(arrival, "host").toLowerCase();
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(127\.|::1$|::ffff:127\.)/.test(address);
}

function queryCredential(url: string): string {
  return (queryValue(url, "Authorization") ?? "").replace(/^Bearer +/i, "");
}

function queryValue(url: string, name: string): string | undefined {
  const at = url.indexOf("?");
  return at < 0 ? undefined : (new URLSearchParams(url.slice(at + 1)).get(name) ?? undefined);
}

function known(principal: Principal | undefined): Principal {
  if (!principal) throw new Problem("unauthenticated");
  return principal;
}

function header(arrival: Arrival, name: string): string {
  const value = arrival.headers[name];
  return (Array.isArray(value) ? value.join(",") : (value ?? "")).trim();
}

function decodeURIComponentSafe(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
