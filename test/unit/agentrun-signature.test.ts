import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem, type ProblemCode } from "#contract/problem.ts";
import { agentrun4KeyId, signAgentrun4, verifyAgentrun4 } from "#gateway/agentrun/signature.ts";

const KEY = { accessKeyId: "AK", accessKeySecret: "SK", region: "cn-hangzhou" };
const HOST = "127.0.0.1:7070";
const NOW = Date.parse("2026-11-22T22:09:16Z");
const LISTING = "/sandboxes/a/filesystem?depth=2&path=%2Fhome";

const secretOf = (id: string) => (id === "AK" ? "SK" : undefined);
const isProblem = (code: ProblemCode, detail: RegExp) => (error: unknown) =>
  error instanceof Problem && error.code === code && detail.test(error.message);

function signed(url: string, extra: { method?: string; contentType?: string; securityToken?: string } = {}) {
  const { method = "GET", ...rest } = extra;
  const headers = signAgentrun4({ method, url, host: HOST, ...rest }, KEY, NOW);
  return { method, url, headers: lower(headers), secretOf, now: NOW };
}

function lower(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

const VECTORS = [
  ["/sandboxes", "b9de300d3020d08b3d526c2d3f46b8baabbcdc7a611496e798591ca467f64024"],
  ["/sandboxes/abc/files?path=%2Fhome%2Fuser%2F.%D1%82%20x.bin", "6740e722698d7a025e58d57809ec59ec8fee172176927880d37ba7e8692eebd9"],
  [LISTING, "1885136679bc1e9e7730a0560bade92977a5b1af5d028a926c99056431f6ca75"],
] as const;

for (const [url, signature] of VECTORS) {
  test(`the known signature of ${url} is made and believed`, () => {
    const request = signed(url);
    assert.equal(
      request.headers["agentrun-authorization"],
      `AGENTRUN4-HMAC-SHA256 Credential=AK/20261122/cn-hangzhou/agentrun/aliyun_v4_request,SignedHeaders=host;x-acs-content-sha256;x-acs-date,Signature=${signature}`,
    );
    assert.deepEqual(verifyAgentrun4(request), { accessKeyId: "AK" });
  });
}

test("the order of the query and the way its spaces are written do not matter", () => {
  const { headers } = signed("/sandboxes/a/files?path=a%20b%21&depth=1");
  assert.deepEqual(verifyAgentrun4({ method: "GET", url: "/sandboxes/a/files?depth=1&path=a+b!", headers, secretOf, now: NOW }), {
    accessKeyId: "AK",
  });
});

test("content type and security token are covered when they are signed", () => {
  const request = signed("/templates/t/mcp", { method: "POST", contentType: "application/json", securityToken: "sts" });
  assert.deepEqual(verifyAgentrun4(request), { accessKeyId: "AK" });
  for (const [name, other] of [
    ["content-type", "text/plain"],
    ["x-acs-security-token", "another"],
  ] as const) {
    const altered = { ...request, headers: { ...request.headers, [name]: other } };
    assert.throws(() => verifyAgentrun4(altered), isProblem("signature_mismatch", /does not match/));
  }
});

test("a security token beside the signature is refused unless it is signed", () => {
  const request = signed(LISTING);
  const added = { ...request, headers: { ...request.headers, "x-acs-security-token": "sts" } };
  assert.throws(() => verifyAgentrun4(added), isProblem("signature_mismatch", /x-acs-security-token/));
});

const ALTERATIONS = [
  ["another method", { method: "DELETE" }],
  ["another path", { url: "/sandboxes/b/filesystem?depth=2&path=%2Fhome" }],
  ["the signed path behind a prefix that was not signed", { url: `/k/key${LISTING}` }],
  ["another query value", { url: "/sandboxes/a/filesystem?depth=2&path=%2Fetc" }],
  ["a repeated query name", { url: `${LISTING}&path=%2Fetc` }],
  ["a query name without value", { url: `${LISTING}&recursive` }],
] as const;

for (const [what, change] of ALTERATIONS) {
  test(`${what} does not pass with the old signature`, () => {
    assert.throws(() => verifyAgentrun4({ ...signed(LISTING), ...change }), isProblem("signature_mismatch", /does not match/));
  });
}

test("a signature for one host is none for another", () => {
  const request = signed(LISTING);
  assert.throws(
    () => verifyAgentrun4({ ...request, headers: { ...request.headers, host: "elsewhere" } }),
    isProblem("signature_mismatch", /does not match/),
  );
});

test("a date 15 minutes away is believed, a second more is not", () => {
  const request = signed(LISTING);
  for (const side of [-1, 1]) {
    assert.deepEqual(verifyAgentrun4({ ...request, now: NOW + side * 900_000 }), { accessKeyId: "AK" });
    assert.throws(() => verifyAgentrun4({ ...request, now: NOW + side * 901_000 }), isProblem("signature_mismatch", /15 minutes/));
  }
});

test("a body hash is refused, since this scheme signs no body", () => {
  const request = signed(LISTING);
  const hashed = { ...request, headers: { ...request.headers, "x-acs-content-sha256": "0".repeat(64) } };
  assert.throws(() => verifyAgentrun4(hashed), isProblem("signature_mismatch", /UNSIGNED-PAYLOAD/));
});

test("an unknown key and a malformed header are no credential", () => {
  const request = signed(LISTING);
  assert.throws(() => verifyAgentrun4({ ...request, secretOf: () => undefined }), isProblem("unauthenticated", /AK is not known/));
  const malformed = { ...request, headers: { ...request.headers, "agentrun-authorization": "AGENTRUN4-HMAC-SHA256 Credential=AK" } };
  assert.throws(() => verifyAgentrun4(malformed), isProblem("unauthenticated", /is required/));
});

test("the key is named only by a request of this scheme", () => {
  assert.equal(agentrun4KeyId(signed(LISTING).headers), "AK");
  assert.equal(agentrun4KeyId({ host: HOST }), undefined);
});
