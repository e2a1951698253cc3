import assert from "node:assert/strict";
import { test } from "node:test";
import { NonceMemory, sha256, signAcs3, verifyAcs3 } from "#contract/acs3.ts";
import { Problem, type ProblemCode } from "#contract/problem.ts";

const KEY = { accessKeyId: "LTAI1", accessKeySecret: "secret" };
const NOW = Date.parse("2026-11-22T10:00:00Z");
const secretOf = (id: string) => (id === KEY.accessKeyId ? KEY.accessKeySecret : undefined);
const isProblem = (code: ProblemCode) => (error: unknown) => error instanceof Problem && error.code === code;

function signed(changes: { url?: string; body?: string; at?: number; headers?: Record<string, string> } = {}) {
  const url = changes.url ?? "/2023-03-30/functions";
  const body = changes.body ?? "";
  const headers = signAcs3({ method: "POST", url, headers: { host: "h:1", ...changes.headers }, body }, KEY, changes.at ?? NOW);
  return { method: "POST", url, headers, bodySha256: sha256(body), secretOf, nonces: new NonceMemory(), now: NOW };
}

test("a signed request is known by its key", () => {
  for (const url of ["/a", "/a/b%2Fc", "/a?x=1&b=%E4%BD%A0&c=a%20b&flag", "/a?tags=%5B%7B%22Key%22%3A1%7D%5D", "/a?z=*&y=~!'()"]) {
    assert.deepEqual(verifyAcs3(signed({ url, body: "héllo", headers: { "Content-Type": "application/json" } })), { accessKeyId: "LTAI1" });
  }
});

test("a request whose method, path, query, signed header or body changed is refused", () => {
  const request = signed({ url: "/a?x=1", body: "body", headers: { "x-acs-action": "Do" } });
  for (const change of [
    { method: "PUT" },
    { url: "/b?x=1" },
    { url: "/a?x=2" },
    { url: "/a" },
    { headers: { ...request.headers, "x-acs-action": "Undo" } },
    { headers: { ...request.headers, host: "other" } },
    { bodySha256: sha256("other") },
  ]) {
    assert.throws(() => verifyAcs3({ ...request, ...change }), isProblem("signature_mismatch"), JSON.stringify(change));
  }
  assert.equal(verifyAcs3(request).accessKeyId, "LTAI1");
});

test("an x-acs header that nobody signed is refused", () => {
  const request = signed();
  assert.throws(
    () => verifyAcs3({ ...request, headers: { ...request.headers, "x-acs-security-token": "t" } }),
    isProblem("signature_mismatch"),
  );
});

test("an unknown key, another form and no Authorization at all are unauthenticated", () => {
  const request = signed();
  assert.throws(() => verifyAcs3({ ...request, secretOf: () => undefined }), isProblem("unauthenticated"));
  assert.throws(() => verifyAcs3({ ...request, headers: { ...request.headers, authorization: "Bearer x" } }), isProblem("unauthenticated"));
  assert.throws(() => verifyAcs3({ ...request, headers: {} }), isProblem("unauthenticated"));
});

test("a request is good for fifteen minutes either way, and an unreadable date for none", () => {
  const minutes = 60_000;
  assert.ok(verifyAcs3(signed({ at: NOW - 14 * minutes })));
  assert.ok(verifyAcs3(signed({ at: NOW + 14 * minutes })));
  assert.throws(() => verifyAcs3(signed({ at: NOW - 16 * minutes })), isProblem("signature_mismatch"));
  assert.throws(() => verifyAcs3(signed({ at: NOW + 16 * minutes })), isProblem("signature_mismatch"));
});

test("a header that is signed and not there is empty, whatever its name", () => {
  const { headers, ...request } = signed();
  const named = (name: string) => String(headers["authorization"]).replace(/SignedHeaders=[^,]+/, (names) => `${names};${name}`);
  for (const name of ["constructor", "__proto__", "nothing"])
    assert.throws(() => verifyAcs3({ ...request, headers: { ...headers, authorization: named(name) } }), isProblem("signature_mismatch"));
});

test("a request is taken once", () => {
  const request = signed();
  verifyAcs3(request);
  assert.throws(() => verifyAcs3(request), isProblem("signature_mismatch"));
});

test("a refused request does not use up its nonce", () => {
  const request = signed({ body: "body" });
  assert.throws(() => verifyAcs3({ ...request, bodySha256: sha256("other") }), isProblem("signature_mismatch"));
  assert.ok(verifyAcs3(request));
});

test("nonces are forgotten when they could no longer be used, and past the limit the oldest first", () => {
  const nonces = new NonceMemory(3);
  for (const nonce of ["a", "b", "c"]) assert.equal(nonces.use(nonce, NOW + 10, NOW), true);
  assert.equal(nonces.use("c", NOW + 10, NOW), false);
  nonces.use("d", NOW + 10, NOW);
  assert.ok(nonces.size <= 3);
  assert.equal(nonces.use("d", NOW + 10, NOW), false);
  nonces.use("e", NOW + 99, NOW + 11);
  assert.equal(nonces.size, 1);
});
