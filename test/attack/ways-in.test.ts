import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { MintedTicket, type PageSession } from "#contract/ticket.ts";
import { frame, openRaw } from "#support/frames.ts";
import { headersOf, type Reached, serveInside } from "#support/port-server.ts";
import { proves, type Range } from "#support/range.ts";
import { openTty } from "#support/tty.ts";
import { until } from "#support/until.ts";

const PORT = 8200;

async function mint({ tenant }: Range, sandboxId: string, body: object): Promise<MintedTicket> {
  return MintedTicket.parse(await tenant.json("POST", `/api/sandboxes/${sandboxId}/tickets`, body, 201));
}

/** What an upgrade is answered with; a ticket is in its address, a key in its headers. */
async function upgrade({ door }: Range, path: string, headers: Record<string, string> = {}): Promise<number> {
  const { socket, head } = await openRaw(door.origin + path, headers);
  socket.destroy();
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
}

const tty = (id: string, ticket: string) => `/sandboxes/${id}/processes/tty?ticket=${ticket}`;

proves(
  "W1",
  "a ticket opens one thing on one sandbox, once where it says so, until its end, and is written down nowhere",
  async (range) => {
    const { door, tenant, sandboxId, neighbour } = range;
    const { ticket } = await mint(range, sandboxId, { purpose: "terminal" });
    const other = await neighbour();
    assert.equal(await upgrade(range, tty(other.sandboxId, ticket)), 403, "another sandbox");
    assert.equal(await upgrade(range, `/sandboxes/${sandboxId}/ports/${PORT}/?ticket=${ticket}`), 403, "another purpose");
    assert.equal(await upgrade(range, tty(sandboxId, `${ticket.slice(0, -1)}${ticket.endsWith("A") ? "B" : "A"}`)), 403, "another letter");
    for (const path of ["/files?path=x", "/contexts", "/processes", "/terminals"])
      assert.equal(
        (await fetch(`${door.origin}/sandboxes/${sandboxId}${path}${path.includes("?") ? "&" : "?"}ticket=${ticket}`)).status,
        401,
        path,
      );
    assert.equal((await fetch(`${door.origin}/api/me`, { headers: { authorization: `Bearer ${ticket}` } })).status, 401, "it is no key");
    const tries = await Promise.all(Array.from({ length: 8 }, () => upgrade(range, tty(sandboxId, ticket))));
    assert.deepEqual(tries.toSorted(), [101, ...Array.from({ length: 7 }, () => 403)], "of eight at once one gets in");
    const revoked = await mint(range, sandboxId, { purpose: "terminal" });
    await tenant.send("DELETE", `/api/sandboxes/${sandboxId}/tickets/${revoked.id}`);
    assert.equal(await upgrade(range, tty(sandboxId, revoked.ticket)), 403, "revoked");
    const brief = await mint(range, sandboxId, { purpose: `port:${PORT}`, lifetimeMs: 1000 });
    await until("it has expired", async () => (await fetch(brief.url)).status === 403);
    const page = await mint(range, sandboxId, { purpose: "terminal" });
    const opened = await fetch(`${door.origin}/api/page/open`, { method: "POST", body: JSON.stringify({ ticket: page.ticket }) });
    const { session } = (await opened.json()) as PageSession;
    assert.equal(await upgrade(range, tty(sandboxId, session)), 403, "a page's session is no ticket");
    const stranger = await range.stranger();
    assert.equal((await stranger.send("POST", `/api/sandboxes/${sandboxId}/tickets`, { purpose: "terminal" })).status, 404);
    const log = readFileSync(join(door.dataDir, "log/cleanroom.log"), "utf8");
    assert.ok(log.includes(`/sandboxes/${sandboxId}/processes/tty`), "the control: what was asked is written down");
    for (const text of [ticket, revoked.ticket, brief.ticket, page.ticket, session])
      assert.ok(!log.includes(text.split(".")[3] ?? text), "and nothing that opens the door is");
  },
);

proves("W2", "a page of another site opens no terminal and no port's WebSocket, whatever its browser holds", async (range) => {
  const { door, tenant, sandboxId, send } = range;
  await serveInside(send, PORT);
  const authorization = `Bearer ${tenant.key.apiKey}`;
  const { ticket } = await mint(range, sandboxId, { purpose: `port:${PORT}` });
  const paths = [`/sandboxes/${sandboxId}/processes/tty`, `/sandboxes/${sandboxId}/ports/${PORT}/`];
  for (const path of paths) assert.equal(await upgrade(range, path, { authorization, origin: door.origin }), 101, `the control: ${path}`);
  for (const origin of ["https://evil.example", "http://127.0.0.1:1", `${door.origin}.evil.example`, "file://"]) {
    for (const path of paths) assert.equal(await upgrade(range, path, { authorization, origin }), 403, `${origin} ${path}`);
    assert.equal(await upgrade(range, `/p/${ticket}/`, { origin }), 403, `${origin} by a ticket`);
  }
  for (const path of paths) assert.equal(await upgrade(range, path, { authorization, origin: "null" }), 403, `no origin ${path}`);
  assert.equal(await upgrade(range, `/p/${ticket}/`, { origin: "null" }), 101, "what the port itself served has no origin, and the ticket");
});

proves("W3", "a terminal that floods a client who never reads costs bounded memory and holds up nobody else", async (range) => {
  const { door, tenant, sandboxId, inside, neighbour } = range;
  const authorization = `Bearer ${tenant.key.apiKey}`;
  const { socket, next } = await openRaw(`${door.origin}/sandboxes/${sandboxId}/processes/tty`, { authorization });
  const said = JSON.parse((await next())?.payload.toString() ?? "") as { terminalId: string };
  socket.write(frame(1, JSON.stringify({ type: "input", data: "exec yes flood\r" })));
  socket.pause();
  const usage = async () =>
    (await tenant.json<{ usage: { memoryBytes: number; cpuMs: number } }>("GET", `/api/sandboxes/${sandboxId}`)).usage;
  let before = await usage();
  await until(
    "the flood is held up, and costs no processor time any more",
    async () => {
      const now = await usage();
      const rested = now.cpuMs - before.cpuMs < 20;
      before = now;
      return rested && now.cpuMs > 100;
    },
    60_000,
  );
  assert.ok(before.memoryBytes < 128 * 2 ** 20, `${before.memoryBytes} bytes`);
  assert.equal((await inside("echo still here")).stdout, "still here\n");
  assert.equal((await (await neighbour()).inside("echo and here")).stdout, "and here\n");
  // Whoever reads gets on with it beside them, and a reader who leaves takes nothing along.
  await using other = await openTty(`${door.origin}/sandboxes/${sandboxId}/processes/tty?id=${said.terminalId}`, { authorization });
  await other.shows(/flood/);
  const seen = other.text().length;
  await until("it flows for who reads", () => other.text().length > seen + 1_000_000, 60_000);
  socket.destroy();
});

proves(
  "W4",
  "no credential, cookie or address of the platform's reaches a program on a port; its pages are nobody at the door",
  async (range) => {
    const { door, tenant, sandboxId, send } = range;
    await serveInside(send, PORT);
    const { url, ticket } = await mint(range, sandboxId, { purpose: `port:${PORT}` });
    const secrets = {
      cookie: "session=platform",
      "x-api-key": tenant.key.apiKey,
      "agentrun-access-token": tenant.key.apiKey,
      "x-acs-security-token": "platform",
      "cleanroom-proof": "forged",
      "x-forwarded-for": "203.0.113.9",
      "proxy-authorization": "platform",
      referer: url,
      origin: door.origin,
    };
    const control = { "x-own": "passes" };
    for (const [name, path] of [
      ["by a key", `${door.origin}/sandboxes/${sandboxId}/ports/${PORT}/told?Authorization=${tenant.key.apiKey}&ticket=${ticket}`],
      ["by its address", `${url}told`],
      ["by a key in the path", `${door.origin}/k/${tenant.key.apiKey}/sandboxes/${sandboxId}/ports/${PORT}/told`],
    ] as const) {
      const authorization = `Bearer ${tenant.key.apiKey}`;
      const told = (await (await fetch(path, { headers: { ...secrets, ...control, authorization } })).json()) as Reached;
      const headers = headersOf(told);
      assert.equal(headers["x-own"], "passes", `the control, ${name}`);
      const text = JSON.stringify(told);
      for (const secret of [tenant.key.apiKey, ticket, "platform", "forged", "203.0.113.9", door.origin, "cleanroom-proof"])
        assert.ok(!text.includes(secret), `${name}: ${secret} in ${text}`);
    }
    const page = await fetch(url);
    assert.match(page.headers.get("content-type") ?? "", /html/);
    assert.equal(page.headers.get("set-cookie"), null);
    const policy = page.headers.get("content-security-policy") ?? "";
    assert.match(policy, /^sandbox allow-scripts/);
    assert.doesNotMatch(policy, /allow-same-origin|allow-top-navigation|escape-sandbox|default-src/);
    assert.equal(page.headers.get("access-control-allow-credentials"), null);
    assert.equal(page.headers.get("referrer-policy"), "no-referrer");
    const keyed = await fetch(`${door.origin}/k/${tenant.key.apiKey}/sandboxes/${sandboxId}/ports/${PORT}/`);
    assert.equal(keyed.headers.get("content-security-policy"), "sandbox", "where the address is a key, no script may read it");
    assert.equal(keyed.headers.get("access-control-allow-origin"), null);
    // Dot segments lead out of no port, by neither way.
    for (const path of ["/..%2f..%2fcontexts", "/..%5c..%5ccontexts"])
      for (const base of [`/p/${ticket}`, `/sandboxes/${sandboxId}/ports/${PORT}`])
        assert.equal((await tenant.send("GET", base + path)).status, 400, base + path);
  },
);
