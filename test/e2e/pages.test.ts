import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { SeenAction } from "#contract/action.ts";
import type { Control } from "#contract/control.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());

const get = (path: string, method = "GET") => fetch(door.origin + path, { method });

test("a page is the same for everybody, runs one script, and is framed by nobody", { timeout: 60_000 }, async () => {
  const [one, other] = await Promise.all([get("/sandboxes/any-box/terminal"), get("/sandboxes/other-box/terminal?ticket=x")]);
  const html = await one.text();
  assert.equal(one.status, 200);
  assert.match(one.headers.get("content-type") ?? "", /^text\/html/);
  const policy = one.headers.get("content-security-policy") ?? "";
  const nonce = /script-src 'nonce-([\w-]{24})'/.exec(policy)?.[1] ?? assert.fail(policy);
  assert.match(policy, /default-src 'none'.*connect-src 'self'.*frame-ancestors 'none'/);
  assert.doesNotMatch(policy, /unsafe-eval|script-src[^;]*(unsafe-inline|'self'|http)/);
  assert.equal(one.headers.get("x-frame-options"), "DENY");
  assert.equal(one.headers.get("x-content-type-options"), "nosniff");
  assert.equal(one.headers.get("referrer-policy"), "no-referrer");
  assert.equal(one.headers.get("cache-control"), "no-store");
  assert.equal(one.headers.get("set-cookie"), null);
  assert.deepEqual(
    [...html.matchAll(/<script[^>]*>/g)].map(([tag]) => tag.includes(`nonce="${nonce}"`)),
    [true],
  );
  const again = await other.text();
  assert.ok(!again.includes(nonce), "each has a nonce of its own");
  assert.equal(again.replaceAll(/nonce="[^"]*"/g, ""), html.replaceAll(/nonce="[^"]*"/g, ""));
});

test("what a page loads is kept by browsers for good, since its name is its content's", { timeout: 60_000 }, async () => {
  const html = await (await get("/sandboxes/any-box/terminal")).text();
  const parts = [...html.matchAll(/(?:src|href)="(\/pages\/[^"]+)"/g)].map(([, path = ""]) => path);
  assert.equal(parts.length, 2);
  for (const path of parts) {
    const part = await get(path);
    assert.equal(part.status, 200, path);
    assert.match(part.headers.get("content-type") ?? "", path.endsWith(".js") ? /^text\/javascript/ : /^text\/css/);
    assert.match(part.headers.get("cache-control") ?? "", /immutable/);
    assert.equal(part.headers.get("x-content-type-options"), "nosniff");
    const text = await part.text();
    assert.ok(text.length > 1000);
    assert.doesNotMatch(text, /https?:\/\/(?!www\.w3\.org)[\w.-]*(cdn|unpkg|googleapis)/, "it comes from this door whole");
  }
});

test("what is no page, and what is no part of one, is a Problem", { timeout: 60_000 }, async () => {
  for (const path of ["/pages/none.js", "/pages/..%2fmain.mjs", "/pages/terminal.html"]) assert.equal((await get(path)).status, 404, path);
  // Only reading is the page's; all else under a sandbox is asked of the sandbox.
  assert.equal((await get("/sandboxes/any-box/terminal", "POST")).status, 401);
  assert.equal((await get("/sandboxes/any-box/terminal/more")).status, 401);
});

test("the page of a view is one of them, and what it asks of control it asks with its session alone", { timeout: 60_000 }, async () => {
  const page = await get("/sandboxes/any-box/view");
  assert.equal(page.status, 200);
  assert.match(await page.text(), /id="take"[^]*id="give"/);
  const answer = await fetch(`${door.origin}/api/page/control`, {
    method: "POST",
    body: JSON.stringify({ session: "crk_x", turn: "read" }),
  });
  assert.equal(answer.status, 403);
});

test("the page of a view takes control and gives it back, as the ticket that opened it allows", { timeout: 60_000 }, async () => {
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  const openPage = async (purpose: string) => {
    const { ticket } = await tenant.json<{ ticket: string }>("POST", `/api/sandboxes/${box.id}/tickets`, { purpose }, 201);
    return ask<{ session: string }>("open", { ticket });
  };
  const [watching, controlling] = await Promise.all([openPage("view:watch"), openPage("view:control")]);
  await assert.rejects(control(watching.session, "take"), /403/);
  const { held, holder } = await control(controlling.session, "take");
  assert.ok(held && holder);
  assert.equal((await control(watching.session, "read")).holder?.since, holder.since);
  await control(controlling.session, "give");
  assert.deepEqual(await tenant.json("GET", `/api/sandboxes/${box.id}/control`), { held: false });
});

test("the page of a view is told what was done in its sandbox, and a terminal's is not", { timeout: 60_000 }, async () => {
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  await using other = await makeBox(tenant);
  const openPage = async (purpose: string, { id } = box) => {
    const { ticket } = await tenant.json<{ ticket: string }>("POST", `/api/sandboxes/${id}/tickets`, { purpose }, 201);
    return (await ask<{ session: string }>("open", { ticket })).session;
  };
  await tenant.json("POST", `/api/sandboxes/${box.id}/control`, { name: "Ada" });
  await tenant.json("DELETE", `/api/sandboxes/${box.id}/control`);
  for (const purpose of ["view:watch", "view:control"]) {
    const session = await openPage(purpose);
    const { items } = await ask<{ items: SeenAction[] }>("actions", { session });
    assert.deepEqual(
      items.map(({ kind, by }) => `${by} ${kind}`),
      ["person control", "person control"],
    );
    assert.match(items[1]?.summary ?? "", /Ada/);
    assert.deepEqual(Object.keys(items[0] ?? {}).toSorted(), ["at", "by", "id", "kind", "summary"]);
    assert.deepEqual(await ask("actions", { session, limit: 1 }), { items: items.slice(0, 1) });
    for (const limit of [0, 201, "20"]) await assert.rejects(ask("actions", { session, limit }), /400/);
  }
  assert.deepEqual(await ask("actions", { session: await openPage("view:watch", other) }), { items: [] });
  await assert.rejects(ask("actions", { session: await openPage("terminal") }), /403.*forbidden/);
});

const control = (session: string, turn: string) => ask<Control>("control", { session, turn });

async function ask<T>(what: string, body: object): Promise<T> {
  const answer = await fetch(`${door.origin}/api/page/${what}`, { method: "POST", body: JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
  return JSON.parse(text) as T;
}
