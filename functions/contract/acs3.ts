import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { Problem } from "./problem.ts";

const ALGORITHM = "ACS3-HMAC-SHA256";
const SKEW_MS = 15 * 60 * 1000;

export type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** A request as it came over the wire: `url` is path and query, undecoded; `bodySha256` is the hex hash of the bytes received. */
export interface Acs3Request {
  method: string;
  url: string;
  headers: Headers;
  bodySha256: string;
}

export interface Acs3Verification extends Acs3Request {
  secretOf: (accessKeyId: string) => string | undefined;
  nonces: NonceMemory;
  now: number;
}

/** Says whose signature a request carries; refuses one that is altered, too old, replayed, or by an unknown key. */
export function verifyAcs3(request: Acs3Verification): { accessKeyId: string } {
  const { accessKeyId, signedHeaders, signature } = readAuthorization(request.headers);
  const secret = request.secretOf(accessKeyId);
  if (secret === undefined) throw new Problem("unauthenticated", { detail: `The access key ${accessKeyId} is not known` });
  for (const name of REQUIRED) {
    if (!signedHeaders.includes(name)) throw mismatch(`${name} is not among the signed headers`);
  }
  const unsigned = Object.keys(request.headers).find((name) => name.startsWith("x-acs-") && !signedHeaders.includes(name));
  if (unsigned) throw mismatch(`${unsigned} is not among the signed headers`);
  const expected = signatureOf(request, signedHeaders, secret);
  if (!sameText(expected, signature)) throw mismatch("The signature does not match the request");
  if (header(request.headers, "x-acs-content-sha256") !== request.bodySha256) throw mismatch("The body does not match its hash");
  const at = Date.parse(header(request.headers, "x-acs-date"));
  if (!(Math.abs(request.now - at) <= SKEW_MS)) throw mismatch("x-acs-date is more than 15 minutes away from this clock");
  const nonce = header(request.headers, "x-acs-signature-nonce");
  if (!request.nonces.use(`${accessKeyId}/${nonce}`, at + SKEW_MS, request.now)) throw mismatch("This request was received before");
  return { accessKeyId };
}

const REQUIRED = ["host", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce"];

/** What to send with a request so that `verifyAcs3` knows it: the headers given, completed and signed. */
export function signAcs3(
  request: { method: string; url: string; headers: Record<string, string>; body?: string | Uint8Array },
  key: { accessKeyId: string; accessKeySecret: string },
  now: number,
): Record<string, string> {
  const bodySha256 = sha256(request.body ?? "");
  const date = new Date(now).toISOString().replace(/\.\d+Z$/, "Z");
  const headers: Record<string, string> = {
    ...Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value])),
    "x-acs-date": date,
    "x-acs-signature-nonce": randomBytes(16).toString("hex"),
    "x-acs-content-sha256": bodySha256,
  };
  const signed = Object.keys(headers).filter((name) => name === "host" || name === "content-type" || name.startsWith("x-acs-"));
  const signature = signatureOf({ method: request.method, url: request.url, headers, bodySha256 }, signed, key.accessKeySecret);
  const names = signed.toSorted().join(";");
  headers["authorization"] = `${ALGORITHM} Credential=${key.accessKeyId},SignedHeaders=${names},Signature=${signature}`;
  return headers;
}

/** Remembers the nonces of the last half hour, at most `limit` of them, so that a captured request is good for nothing. */
export class NonceMemory {
  readonly #limit: number;
  readonly #expiries = new Map<string, number>();

  constructor(limit = 200_000) {
    this.#limit = limit;
  }

  /** True the first time a nonce is seen. Past the limit the oldest is forgotten: only holders of a key can fill it. */
  use(nonce: string, expiresAt: number, now: number): boolean {
    if (this.#expiries.has(nonce)) return false;
    for (const [oldest, expiry] of this.#expiries) {
      if (expiry >= now && this.#expiries.size < this.#limit) break;
      this.#expiries.delete(oldest);
    }
    this.#expiries.set(nonce, expiresAt);
    return true;
  }

  get size(): number {
    return this.#expiries.size;
  }
}

/** The hex hash that the signature covers in place of the body. */
export function sha256(body: string | Uint8Array): string {
  return createHash("sha256").update(body).digest("hex");
}

function signatureOf(request: Acs3Request, signedHeaders: readonly string[], secret: string): string {
  const names = signedHeaders.toSorted();
  const [path, query = ""] = split(request.url, "?");
  const lines = [
    request.method.toUpperCase(),
    path.replaceAll("+", "%20").replaceAll("*", "%2A").replaceAll("%7E", "~"),
    canonicalQuery(query),
    ...names.map((name) => `${name}:${header(request.headers, name)}`),
    "",
    names.join(";"),
    header(request.headers, "x-acs-content-sha256"),
  ];
  return createHmac("sha256", secret)
    .update(`${ALGORITHM}\n${sha256(lines.join("\n"))}`)
    .digest("hex");
}

function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair) => split(pair, "=").map(decode) as [string, string?]);
  pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return pairs.map(([key, value = ""]) => `${encode(key)}=${encode(value)}`).join("&");
}

function readAuthorization(headers: Headers): { accessKeyId: string; signedHeaders: string[]; signature: string } {
  const match = /^ACS3-HMAC-SHA256 Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/.exec(
    header(headers, "authorization"),
  );
  if (!match) throw new Problem("unauthenticated", { detail: `An Authorization header of the form ${ALGORITHM} is required` });
  const [, accessKeyId = "", signedHeaders = "", signature = ""] = match;
  return { accessKeyId, signedHeaders: signedHeaders.toLowerCase().split(";"), signature };
}

// The names are the client's words: what every object inherits is no header.
function header(headers: Headers, name: string): string {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
  return (Array.isArray(value) ? value.toSorted().join(",") : (value ?? "")).trim();
}

function split(text: string, at: string): [string, string?] {
  const index = text.indexOf(at);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}

function decode(text: string | undefined): string {
  try {
    return decodeURIComponent((text ?? "").replaceAll("+", "%20"));
  } catch {
    throw new Problem("invalid_request", { detail: "The query is not percent-encoded UTF-8" });
  }
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

function mismatch(detail: string): Problem {
  return new Problem("signature_mismatch", { detail });
}
