import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";
import { MintedTicket } from "#contract/ticket.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { headersOf, type Reached, serveInside } from "#support/port-server.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const bounded = { timeout: 120_000 };
const PORT = 8123;

const reached = async (answer: Response) => (await answer.json()) as Reached;

async function talk(url: string, headers: Record<string, string> = {}): Promise<string> {
  const socket = new WebSocket(url.replace(/^http/, "ws"), { headers });
  await once(socket, "open");
  const heard = once(socket, "message");
  socket.send("hello");
  const [{ data }] = (await heard) as [MessageEvent];
  socket.close();
  return String(data);
}

test("what listens inside is asked by any method and path, with its body, query and WebSockets", bounded, async () => {
  await using box = await makeBox(tenant);
  await serveInside(box.inside, PORT);
  const told = await reached(await box.inside("POST", `/ports/${PORT}/a//b%2Fc;d?x=1&tenantId=t&y=%20`, "body", { "x-own": "yes" }));
  assert.deepEqual([told.method, told.path, told.body], ["POST", "/a//b%2Fc;d?x=1&y=%20", "body"]);
  const headers = headersOf(told);
  assert.equal(headers["host"], `localhost:${PORT}`);
  assert.equal(headers["x-own"], "yes");
  for (const method of ["PUT", "PATCH", "DELETE"])
    assert.equal((await reached(await box.inside(method, `/ports/${PORT}/x`))).method, method);
  const bearer = { authorization: `Bearer ${tenant.key.apiKey}` };
  assert.equal(await talk(`${door.origin}/sandboxes/${box.id}/ports/${PORT}/ws`, bearer), "hello");
  const moved = await fetch(`${door.origin}/sandboxes/${box.id}/ports/${PORT}/redirect`, { headers: bearer, redirect: "manual" });
  assert.equal(moved.headers.get("location"), `/sandboxes/${box.id}/ports/${PORT}/after?x=1`);
});

test("a port's ticket is an address: relative links, redirects, its own requests and WebSockets work below it", bounded, async () => {
  await using box = await makeBox(tenant);
  await serveInside(box.inside, PORT);
  const { url, ticket } = MintedTicket.parse(
    await tenant.json("POST", `/api/sandboxes/${box.id}/tickets`, { purpose: `port:${PORT}` }, 201),
  );
  assert.match(await (await fetch(url)).text(), /hello/);
  assert.equal((await reached(await fetch(new URL("api/x?y=1", url)))).path, "/api/x?y=1");
  const moved = await fetch(new URL("redirect", url), { redirect: "manual" });
  assert.equal(moved.headers.get("location"), `/p/${ticket}/after?x=1`);
  assert.equal((await fetch(new URL("elsewhere", url), { redirect: "manual" })).headers.get("location"), "https://example.org/");
  const asks = { origin: "null", "access-control-request-method": "PUT", "access-control-request-headers": "content-type" };
  const allowed = await fetch(new URL("api/x", url), { method: "OPTIONS", headers: asks });
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get("access-control-allow-origin"), "*");
  assert.equal(await talk(url), "hello");
  assert.equal(await talk(url, { origin: "null" }), "hello");
  assert.equal((await reached(await fetch(`${door.origin}/sandboxes/${box.id}/ports/${PORT}/q?ticket=${ticket}&z=1`))).path, "/q?z=1");
});

test("where nothing listens, or no port can be, is said", bounded, async () => {
  await using box = await makeBox(tenant);
  const codeOf = async (path: string) => {
    const answer = await box.inside("GET", path);
    const { code, next } = (await answer.json()) as { code: string; next: string };
    assert.ok(next.length > 10);
    return `${answer.status} ${code}`;
  };
  assert.equal(await codeOf("/ports/9/"), "502 port_unreachable");
  for (const port of ["0", "65536", "080", "x", "-1", "1e3", "99999999999"])
    assert.equal(await codeOf(`/ports/${port}/`), "400 invalid_request", port);
});
