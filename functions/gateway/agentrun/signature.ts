import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { Headers } from "#contract/acs3.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";

/** The header in which AgentRun's data plane carries its own signature scheme. */
export const AGENTRUN_AUTHORIZATION = "agentrun-authorization";

const ALGORITHM = "AGENTRUN4-HMAC-SHA256";
const UNSIGNED = "UNSIGNED-PAYLOAD";
const PRODUCT = "agentrun";
const TERMINATOR = "aliyun_v4_request";
const REQUIRED = ["host", "x-acs-content-sha256", "x-acs-date"];

/** A request as it came over the wire: `url` is path and query undecoded, with the `/k/<apiKey>` prefix when the client used one. */
export interface Agentrun4Request {
  method: string;
  url: string;
  headers: Headers;
}

export interface Agentrun4Verification extends Agentrun4Request {
  secretOf: (accessKeyId: string) => string | undefined;
  now: number;
}

/** Whose key a request names, before anything is believed; undefined when it does not use this scheme. */
export function agentrun4KeyId(headers: Headers): string | undefined {
  return value(headers, AGENTRUN_AUTHORIZATION) === "" ? undefined : readAuthorization(headers).accessKeyId;
}

/**
 * Says whose signature a request carries; refuses one that is altered, by an unknown key or from another time.
 * The scheme signs neither the body nor a nonce, and a client repeats equal calls within one second, so a
 * captured request stays good until its date is too old: only TLS protects against that.
 */
export function verifyAgentrun4(request: Agentrun4Verification): { accessKeyId: string } {
  const claim = readAuthorization(request.headers);
  const secret = request.secretOf(claim.accessKeyId);
  if (secret === undefined) throw new Problem("unauthenticated", { detail: `The access key ${claim.accessKeyId} is not known` });
  const required = value(request.headers, "x-acs-security-token") === "" ? REQUIRED : [...REQUIRED, "x-acs-security-token"];
  for (const name of required) {
    if (!claim.signedHeaders.includes(name)) throw mismatch(`${name} is not among the signed headers`);
  }
  if (value(request.headers, "x-acs-content-sha256") !== UNSIGNED)
    throw mismatch(`x-acs-content-sha256 must be ${UNSIGNED} in this scheme`);
  const expected = signatureOf(request, claim, secret);
  if (!timingSafeEqual(Buffer.from(expected), Buffer.from(claim.signature))) throw mismatch("The signature does not match the request");
  const date = value(request.headers, "x-acs-date");
  if (date.slice(0, 10).replaceAll("-", "") !== claim.day) throw mismatch("x-acs-date is not of the credential's day");
  if (!(Math.abs(request.now - Date.parse(date)) <= LIMITS.clockSkewMs))
    throw mismatch("x-acs-date is more than 15 minutes away from this clock");
  return { accessKeyId: claim.accessKeyId };
}

/** The headers that sign a request in this scheme, `host` among them. `content-type` and a security token are signed when given. */
export function signAgentrun4(
  request: { method: string; url: string; host: string; contentType?: string; securityToken?: string },
  key: { accessKeyId: string; accessKeySecret: string; region: string },
  now: number,
): Record<string, string> {
  const date = new Date(now).toISOString().replace(/\.\d+Z$/, "Z");
  const headers: Record<string, string> = {
    host: request.host,
    "x-acs-date": date,
    "x-acs-content-sha256": UNSIGNED,
    ...(request.securityToken === undefined ? {} : { "x-acs-security-token": request.securityToken }),
    ...(request.contentType === undefined ? {} : { "content-type": request.contentType }),
  };
  const day = date.slice(0, 10).replaceAll("-", "");
  const signedHeaders = Object.keys(headers).toSorted();
  const signature = signatureOf({ ...request, headers }, { day, region: key.region, signedHeaders }, key.accessKeySecret);
  const scope = [key.accessKeyId, day, key.region, PRODUCT, TERMINATOR].join("/");
  headers["Agentrun-Authorization"] = `${ALGORITHM} Credential=${scope},SignedHeaders=${signedHeaders.join(";")},Signature=${signature}`;
  return headers;
}

interface Claim {
  accessKeyId: string;
  day: string;
  region: string;
  signedHeaders: string[];
  signature: string;
}

const AUTHORIZATION =
  /^AGENTRUN4-HMAC-SHA256 Credential=([^,\s/]+)\/(\d{8})\/([^,\s/]+)\/agentrun\/aliyun_v4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/;

function readAuthorization(headers: Headers): Claim {
  const match = AUTHORIZATION.exec(value(headers, AGENTRUN_AUTHORIZATION));
  if (!match) throw new Problem("unauthenticated", { detail: `An Agentrun-Authorization header of the form ${ALGORITHM} is required` });
  const [, accessKeyId = "", day = "", region = "", signed = "", signature = ""] = match;
  return { accessKeyId, day, region, signedHeaders: signed.toLowerCase().split(";"), signature };
}

function signatureOf(request: Agentrun4Request, scope: Pick<Claim, "day" | "region" | "signedHeaders">, secret: string): string {
  const [path, query] = cut(request.url, "?");
  const names = scope.signedHeaders.toSorted();
  const canonical = [
    request.method.toUpperCase(),
    path === "" ? "/" : path,
    canonicalQuery(query),
    ...names.map((name) => `${name}:${value(request.headers, name)}`),
    "",
    names.join(";"),
    UNSIGNED,
  ].join("\n");
  const digest = createHash("sha256").update(canonical).digest("hex");
  const signingKey = [scope.day, scope.region, PRODUCT, TERMINATOR].reduce<Buffer>(hmac, Buffer.from(`aliyun_v4${secret}`));
  return hmac(signingKey, `${ALGORITHM}\n${digest}`).toString("hex");
}

// Every pair is covered, repeated names too, so that nothing can be added to a signed query.
function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair): [string, string] => {
    const [name, text] = cut(pair, "=");
    return [decode(name), decode(text)];
  });
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return pairs.map(([name, text]) => `${encode(name)}=${encode(text)}`).join("&");
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

// The names are the client's words: what every object inherits is no header.
function value(headers: Headers, name: string): string {
  const found = Object.hasOwn(headers, name) ? headers[name] : undefined;
  return (Array.isArray(found) ? found.join(",") : (found ?? "")).trim();
}

function cut(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ""] : [text.slice(0, index), text.slice(index + 1)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", "%20"));
  } catch {
    throw new Problem("invalid_request", { detail: "The query is not percent-encoded UTF-8" });
  }
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function mismatch(detail: string): Problem {
  return new Problem("signature_mismatch", { detail });
}
