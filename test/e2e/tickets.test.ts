import assert from "node:assert/strict";
import { after, test } from "node:test";
import { MintedTicket, PageSession } from "#contract/ticket.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const post = (path: string, body: object) =>
  fetch(door.origin + path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });

test("tickets are made, listed and revoked by their project, and no key is ever listed", { timeout: 60_000 }, async () => {
  await using box = await makeBox(tenant);
  const path = `/api/sandboxes/${box.id}/tickets`;
  const made = MintedTicket.parse(await tenant.json("POST", path, { purpose: "port:8080", lifetimeMs: 60_000 }, 201));
  assert.equal(made.url, `${door.origin}/p/${made.ticket}/`);
  const listed = await tenant.json<{ items: object[] }>("GET", path);
  assert.deepEqual(listed.items, [
    { id: made.id, sandboxId: box.id, purpose: "port:8080", uses: "many", createdAt: made.createdAt, expiresAt: made.expiresAt },
  ]);
  assert.equal((await tenant.send("DELETE", `${path}/${made.id}`)).status, 204);
  assert.deepEqual(await tenant.json("GET", path), { items: [] });
});

test("what asks for a ticket is checked", { timeout: 60_000 }, async () => {
  await using box = await makeBox(tenant);
  const path = `/api/sandboxes/${box.id}/tickets`;
  for (const body of [
    {},
    { purpose: "everything" },
    { purpose: "port:0" },
    { purpose: "port:65536" },
    { purpose: "terminal", lifetimeMs: 1 },
    { purpose: "terminal", lifetimeMs: 86_400_001 },
    { purpose: "terminal", more: true },
  ])
    assert.equal((await tenant.send("POST", path, body)).status, 400, JSON.stringify(body));
  await box[Symbol.asyncDispose]();
  assert.equal((await tenant.send("POST", path, { purpose: "terminal" })).status, 410);
});

test("a page turns its ticket into a session once, and renews with it, without any other credential", { timeout: 60_000 }, async () => {
  await using box = await makeBox(tenant);
  const { ticket } = MintedTicket.parse(await tenant.json("POST", `/api/sandboxes/${box.id}/tickets`, { purpose: "terminal" }, 201));
  const page = PageSession.parse(await (await post("/api/page/open", { ticket })).json());
  const again = await post("/api/page/open", { ticket });
  assert.equal(again.status, 403);
  assert.equal(((await again.json()) as { code: string }).code, "ticket_not_valid");
  const renewed = PageSession.omit({ session: true }).parse(await (await post("/api/page/renew", { session: page.session })).json());
  assert.notEqual(renewed.ticket, page.ticket);
  assert.equal(renewed.sandboxId, box.id);
  // Neither is a credential for anything else.
  for (const credential of [page.session, renewed.ticket])
    for (const path of [`/sandboxes/${box.id}/contexts`, `/api/sandboxes/${box.id}`, "/api/me"])
      assert.equal((await fetch(door.origin + path, { headers: { authorization: `Bearer ${credential}` } })).status, 401, path);
});
