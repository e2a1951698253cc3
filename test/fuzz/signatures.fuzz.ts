import assert from "node:assert/strict";
import * as fc from "fast-check";
import { NonceMemory, sha256, signAcs3, verifyAcs3 } from "#contract/acs3.ts";
import { Problem } from "#contract/problem.ts";
import { agentrun4KeyId, signAgentrun4, verifyAgentrun4 } from "#gateway/agentrun/signature.ts";
import { altered, texts } from "./hostile.ts";
import { hold, property } from "./property.ts";

const KEY = { accessKeyId: "CRKEY", accessKeySecret: "secret", region: "cn-hangzhou" };
const NOW = Date.parse("2026-11-22T22:09:16Z");
const HOST = "127.0.0.1:7070";
const secretOf = (id: string) => (id === KEY.accessKeyId ? KEY.accessKeySecret : undefined);

interface Request {
  method: string;
  url: string;
  headers: Record<string, string | string[]>;
  bodySha256: string;
}

/** Requests as clients send them: their paths and queries are percent-encoded. */
const plain = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "DELETE"),
  path: fc.array(fc.string({ minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 4 }),
  query: fc.array(fc.tuple(fc.string({ maxLength: 6 }), fc.string({ maxLength: 6 })), { maxLength: 4 }),
  body: fc.string({ maxLength: 20 }),
  contentType: fc.option(fc.constantFrom("application/json", "text/plain; charset=utf-8"), { nil: undefined }),
});
type Plain = typeof plain extends fc.Arbitrary<infer T> ? T : never;

const urlOf = ({ path, query }: Plain) =>
  `/${path.map(encodeURIComponent).join("/")}${query.length > 0 ? `?${query.map((pair) => pair.map(encodeURIComponent).join("=")).join("&")}` : ""}`;

function byAcs3(request: Plain): Request {
  const { method, body, contentType } = request;
  const headers = { host: HOST, ...(contentType === undefined ? {} : { "content-type": contentType }) };
  const url = urlOf(request);
  return { method, url, headers: signAcs3({ method, url, headers, body }, KEY, NOW), bodySha256: sha256(body) };
}

function byAgentrun4(request: Plain): Request {
  const { method, contentType } = request;
  const url = urlOf(request);
  const signed = signAgentrun4({ method, url, host: HOST, ...(contentType === undefined ? {} : { contentType }) }, KEY, NOW);
  const headers = Object.fromEntries(Object.entries(signed).map(([name, value]) => [name.toLowerCase(), value]));
  return { method, url, headers, bodySha256: "" };
}

const acs3 = (request: Request) => verifyAcs3({ ...request, secretOf, nonces: new NonceMemory(), now: NOW });
const agentrun4 = (request: Request) => verifyAgentrun4({ ...request, secretOf, now: NOW });

/** What a request means, as whoever reads it after the signature was checked would have it. */
function meaningOf({ method, url, headers, bodySha256 }: Request): unknown {
  const at = url.indexOf("?");
  const path = at < 0 ? url : url.slice(0, at);
  const query = new URLSearchParams(at < 0 ? "" : url.slice(at + 1));
  query.sort();
  // Signers write these characters of a path in more than one way.
  const spelled = path.replaceAll("+", "%20").replaceAll("*", "%2A").replaceAll("%7E", "~");
  const said = Object.entries(headers).map(([name, value]) => [name, String(value).trim()]);
  return { method: method.toUpperCase(), spelled, query: [...query], headers: Object.fromEntries(said), bodySha256 };
}

/** A signed request of which one thing is another afterwards. */
function forged(sign: (request: Plain) => Request): fc.Arbitrary<{ signed: Request; other: Request }> {
  return plain.map(sign).chain((signed) => {
    const { method, url, headers, bodySha256 } = signed;
    const ofHeader = (name: string) =>
      altered(String(headers[name] ?? "")).map((value) => ({ ...signed, headers: { ...headers, [name]: value } }));
    const other: fc.Arbitrary<Request> = fc.oneof(
      fc
        .constantFrom("GET", "POST", "PUT", "DELETE", "PATCH")
        .filter((one) => one !== method)
        .map((one) => ({ ...signed, method: one })),
      altered(url).map((one) => ({ ...signed, url: one })),
      fc.constantFrom(...Object.keys(headers)).chain(ofHeader),
      // Only where a scheme covers the body is its hash there.
      ...(bodySha256 === "" ? [] : [altered(bodySha256).map((one) => ({ ...signed, bodySha256: one }))]),
      fc.constantFrom("x-acs-action", "x-acs-security-token").map((name) => ({ ...signed, headers: { ...headers, [name]: "more" } })),
    );
    return other.map((one) => ({ signed, other: one }));
  });
}

/** Nothing but a Problem comes of it; true when the request was believed. */
function believes(verify: (request: Request) => unknown, request: Request): boolean {
  try {
    verify(request);
    return true;
  } catch (error) {
    if (error instanceof Problem && error.status < 500) return false;
    throw error;
  }
}

function refusesForgeries(verify: (request: Request) => unknown, authorization: string, covered: readonly string[]) {
  return ({ signed, other }: { signed: Request; other: Request }) => {
    const kept = (request: Request) => {
      const names = Object.keys(request.headers).filter(
        (name) => covered.includes(name) || String(signed.headers[authorization]).includes(name),
      );
      return meaningOf({ ...request, headers: Object.fromEntries(names.map((name) => [name, request.headers[name] ?? ""])) });
    };
    assert.ok(believes(verify, signed), "what was signed is believed");
    if (believes(verify, other)) assert.deepEqual(kept(other), kept(signed), "what is believed says what was signed");
  };
}

const NAMES = [
  "host",
  "x-acs-content-sha256",
  "x-acs-date",
  "x-acs-signature-nonce",
  "constructor",
  "__proto__",
  "tostring",
  "",
  "cookie",
  ":",
];
const names = fc.array(fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...NAMES) }, { weight: 1, arbitrary: texts(6) }), { maxLength: 8 });

/** Credentials that are nearly of the form. */
function credentials(algorithm: string, scope: string): fc.Arbitrary<string> {
  const required = fc.constant(["host", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce"]);
  const signedHeaders = fc.tuple(fc.oneof(required, fc.constant<string[]>([])), names).map(([all, more]) => [...all, ...more].join(";"));
  const signature = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom("a".repeat(64), "0".repeat(64)) },
    { weight: 1, arbitrary: texts(70) },
  );
  const id = fc.oneof({ weight: 4, arbitrary: fc.constant(KEY.accessKeyId) }, { weight: 1, arbitrary: texts(8) });
  const whole = fc
    .tuple(id, signedHeaders, signature)
    .map(([one, signed, text]) => `${algorithm} Credential=${one}${scope},SignedHeaders=${signed},Signature=${text}`);
  return fc.oneof(
    { weight: 4, arbitrary: whole },
    { weight: 1, arbitrary: whole.chain((text) => altered(text)) },
    { weight: 1, arbitrary: texts() },
  );
}

function hostileRequests(name: string, authorization: fc.Arbitrary<string>): fc.Arbitrary<Request> {
  const more = fc.dictionary(
    fc.constantFrom("host", "x-acs-date", "x-acs-content-sha256", "x-acs-security-token", "x-acs-signature-nonce"),
    texts(12),
  );
  // A URL as it comes over the wire: each byte is a character.
  const urls = texts().map((text) => Buffer.from(text).toString("latin1"));
  return fc.tuple(urls, authorization, more).map(([url, value, headers]) => {
    const all = { host: HOST, "x-acs-date": "2026-11-22T22:09:16Z", "x-acs-content-sha256": "UNSIGNED-PAYLOAD", ...headers, [name]: value };
    return { method: "GET", url, headers: all, bodySha256: "UNSIGNED-PAYLOAD" };
  });
}

const COVERED = ["host", "x-acs-date", "x-acs-content-sha256", "x-acs-signature-nonce", "x-acs-action", "x-acs-security-token"];

await hold(import.meta.url, [
  property(
    "an ACS3 signature is good for what it signed and for nothing else",
    forged(byAcs3),
    refusesForgeries(acs3, "authorization", COVERED),
  ),
  property(
    "an AGENTRUN4 signature is good for what it signed and for nothing else",
    forged(byAgentrun4),
    refusesForgeries(agentrun4, "agentrun-authorization", ["host", "x-acs-date", "x-acs-content-sha256"]),
  ),
  property(
    "whatever claims to be an ACS3 signature is refused by a Problem",
    hostileRequests("authorization", credentials("ACS3-HMAC-SHA256", "")),
    (request) => assert.equal(believes(acs3, request), false),
  ),
  property(
    "whatever claims to be an AGENTRUN4 signature is refused by a Problem",
    hostileRequests("agentrun-authorization", credentials("AGENTRUN4-HMAC-SHA256", "/20261122/cn-hangzhou/agentrun/aliyun_v4_request")),
    (request) => {
      assert.equal(believes(agentrun4, request), false);
      believes(({ headers }) => agentrun4KeyId(headers), request);
    },
  ),
  property(
    "a nonce that is remembered is refused, and no more are remembered than may be",
    fc.tuple(fc.integer({ min: 1, max: 8 }), fc.array(fc.tuple(fc.nat(12), fc.nat(5), fc.nat(3)), { maxLength: 60 })),
    ([limit, uses]) => {
      const memory = new NonceMemory(limit);
      const seen: { nonce: number; expiresAt: number }[] = [];
      let now = 0;
      for (const [nonce, lifetime, passed] of uses) {
        now += passed;
        const used = memory.use(String(nonce), now + lifetime, now);
        assert.ok(memory.size <= limit, `${memory.size} of ${limit}`);
        const latest = seen.slice(-limit + 1 || seen.length).findLast((one) => one.nonce === nonce && one.expiresAt >= now);
        if (latest) assert.equal(used, false, "one of the last, and not expired");
        if (!seen.some((one) => one.nonce === nonce)) assert.equal(used, true, "never seen");
        if (used) seen.push({ nonce, expiresAt: now + lifetime });
      }
    },
  ),
]);
