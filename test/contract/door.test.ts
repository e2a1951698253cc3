import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { Readable } from "node:stream";
import { test } from "node:test";
import { signAcs3 } from "#contract/acs3.ts";
import { composePlatform } from "#core/platform.ts";
import { createProject, findByApiKey, importRootKey } from "#core/projects.ts";
import { openDoor } from "#gateway/server.ts";
import { createFcEngine } from "#infra/aliyun/engine.ts";
import { HTTP_TRIGGER, isolated, openEngine } from "#support/engine.ts";
import { openGate, ROOT, signingKey } from "#support/gate.ts";

/** The door on a port, over our engine, with one sandbox whose workspace is the fixture function. */
async function openAll() {
  const fc = await openEngine();
  await fc.client.createFunction(isolated("workspace"));
  await fc.client.createTrigger("workspace", HTTP_TRIGGER);
  const engine = createFcEngine({ client: fc.client, workspaceFunction: "workspace", sessionMaxMs: 21_600_000 });
  const { gateway } = await openGate();
  const platform = composePlatform({ ...gateway.platform, engine, clock: { now: Date.now } }, signingKey());
  await importRootKey(platform, gateway.limits, JSON.stringify(ROOT));
  const root = (await findByApiKey(platform, ROOT.apiKey)) ?? assert.fail();
  const two = await createProject(platform, gateway.limits, root, { name: "two" }, ROOT.accountId);
  const door = await openDoor({ ...gateway, platform }, { host: "127.0.0.1", port: 0 });
  const origin = `http://127.0.0.1:${door.port}`;
  const authorization = `Bearer ${ROOT.apiKey}`;
  const send = (path: string, init: RequestInit = {}) =>
    fetch(origin + path, { ...init, headers: { authorization, ...(init.headers as Record<string, string>) } });
  const made = await send("/api/sandboxes", { method: "POST", body: JSON.stringify({ id: "mine-1" }) });
  assert.equal(made.status, 201, await made.text());
  return {
    door,
    origin,
    send,
    authorization,
    otherKey: two.key.apiKey,
    async [Symbol.asyncDispose]() {
      await door[Symbol.asyncDispose]();
      engine[Symbol.dispose]();
      await fc[Symbol.asyncDispose]();
    },
  };
}

/** One kept connection. */
class Held extends Agent implements Disposable {
  constructor() {
    super({ keepAlive: true, maxSockets: 1 });
  }
  [Symbol.dispose](): void {
    this.destroy();
  }
}

/** Asks for a WebSocket and answers the status, with the socket when there is one. */
async function upgrade(origin: string, path: string, headers: Record<string, string>) {
  const asked = request(origin + path, {
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-version": "13",
      ...headers,
    },
  });
  asked.end();
  const refused = once(asked, "response").then(([response]) => {
    (response as Readable).resume();
    return { status: (response as { statusCode: number }).statusCode, socket: undefined, head: Buffer.alloc(0) };
  });
  const upgraded = once(asked, "upgrade").then(([response, socket, head]) => ({
    status: (response as { statusCode: number }).statusCode,
    socket: socket as Socket,
    head: head as Buffer,
  }));
  return Promise.race([refused, upgraded]);
}

async function readUntil(socket: Socket, head: Buffer, wanted: string): Promise<string> {
  let text = head.toString();
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (text.includes(wanted)) break;
  }
  return text;
}

test("a WebSocket reaches its owner's sandbox, by each credential that one can carry", async () => {
  await using all = await openAll();
  const ways: [string, Record<string, string>][] = [
    ["/sandboxes/mine-1/ws", { authorization: all.authorization }],
    ["/sandboxes/mine-1/ws", { authorization: all.authorization, origin: all.origin }],
    [`/sandboxes/mine-1/ws?tenantId=1&Authorization=${encodeURIComponent(all.authorization)}`, {}],
    [`/k/${ROOT.apiKey}/sandboxes/mine-1/ws?tenantId=1`, {}],
  ];
  for (const [path, headers] of ways) {
    const { status, socket, head } = await upgrade(all.origin, path, headers);
    assert.equal(status, 101, path);
    assert.ok(socket);
    socket.write("and back");
    assert.equal(await readUntil(socket, head, "back"), "hello and back");
    socket.destroy();
  }
});

test("a WebSocket of another site, of nobody and of another project is refused", async () => {
  await using all = await openAll();
  const statusOf = async (path: string, headers: Record<string, string>) => (await upgrade(all.origin, path, headers)).status;
  assert.equal(await statusOf("/sandboxes/mine-1/ws", { authorization: all.authorization, origin: "http://evil.example" }), 403);
  assert.equal(await statusOf("/sandboxes/mine-1/ws", { authorization: all.authorization, origin: "null" }), 403);
  assert.equal(await statusOf("/sandboxes/mine-1/ws", {}), 401);
  assert.equal(await statusOf("/sandboxes/mine-1/ws", { authorization: `Bearer ${all.otherKey}` }), 404);
  assert.equal(await statusOf("/sandboxes/mine-2/ws", { authorization: all.authorization }), 404);
  assert.equal(await statusOf("/api/sandboxes", { authorization: all.authorization }), 404);
  assert.equal(await statusOf("/sandboxes/mine-1/elsewhere", { authorization: all.authorization }), 404);
});

test("a WebSocket ends with its sandbox", async () => {
  await using all = await openAll();
  const { socket } = await upgrade(all.origin, "/sandboxes/mine-1/ws", { authorization: all.authorization });
  assert.ok(socket);
  socket.resume();
  const closed = once(socket, "close");
  assert.equal((await all.send("/api/sandboxes/mine-1", { method: "DELETE" })).status, 200);
  await closed;
});

test("an upload of any size streams through and arrives whole", async () => {
  await using all = await openAll();
  const block = Buffer.alloc(1 << 20, "x");
  const expected = createHash("sha256");
  for (let at = 0; at < 64; at += 1) expected.update(block);
  const body = Readable.toWeb(Readable.from(Array.from({ length: 64 }, () => block))) as ReadableStream;
  const answer = await all.send("/sandboxes/mine-1/hash", { method: "PUT", body, duplex: "half" });
  assert.equal(await answer.text(), expected.digest("hex"));
});

test("a client that stops reading stops the sandbox's sending; one that leaves ends the request inside", async () => {
  await using all = await openAll();
  const flood = await all.send("/sandboxes/mine-1/flood");
  const reader = (flood.body ?? assert.fail()).getReader();
  await reader.read();
  const sent = async () => Number(await (await all.send("/sandboxes/mine-1/sent")).text());
  let before = -1;
  for (let now = await sent(); now !== before; now = await sent()) before = now;
  assert.ok(before < 64 << 20, `${before} bytes were taken from a sandbox that nobody reads`);
  await reader.cancel();

  const leaving = new AbortController();
  const hanging = all.send("/sandboxes/mine-1/hang", { signal: leaving.signal });
  setTimeout(() => leaving.abort(), 20);
  await assert.rejects(hanging, { name: "AbortError" });
  const hangups = async () => Number(await (await all.send("/sandboxes/mine-1/hangups")).text());
  const deadline = Date.now() + 5000;
  while ((await hangups()) === 0) assert.ok(Date.now() < deadline, "the sandbox never learned that its client left");
});

test("an answer is the same whether its request is passed on as it comes or was read for its signature", async () => {
  await using all = await openAll();
  const path = "/sandboxes/mine-1/echo?a=1";
  const host = new URL(all.origin).host;
  const signed = signAcs3({ method: "POST", url: path, headers: { host }, body: "x" }, ROOT, Date.now());
  const seen = async (authorization: Record<string, string>) => {
    const answer = await fetch(all.origin + path, { method: "POST", body: "x", headers: authorization });
    // Routes name a type where the sandbox has none.
    const headers = [...answer.headers].filter(([name]) => !["x-request-id", "date", "content-type"].includes(name));
    assert.ok(answer.headers.has("x-request-id"));
    return { status: answer.status, headers, body: await answer.text() };
  };
  const passed = await seen({ authorization: all.authorization });
  assert.equal(passed.body, "x");
  assert.deepEqual(passed, await seen(signed));
});

test("an upload that is refused, or answered before it was read, leaves its connection to the next request", async () => {
  await using all = await openAll();
  using agent = new Held();
  const ask = (path: string, body: Buffer) =>
    new Promise<{ status: number | undefined; port: number | undefined }>((resolve, reject) => {
      const headers = { authorization: all.authorization, "content-length": body.length };
      const asked = request(all.origin + path, { method: "PUT", headers, agent }, (answer) => {
        const { localPort: port } = answer.socket;
        answer.resume().once("end", () => resolve({ status: answer.statusCode, port }));
      });
      asked.once("error", reject);
      asked.end(body);
    });
  const refused = await ask("/sandboxes/not-mine/hash", Buffer.alloc(8 << 20));
  assert.equal(refused.status, 404);
  // The sandbox answers this one without having read it.
  const early = await ask("/sandboxes/mine-1/pid", Buffer.alloc(8 << 20));
  assert.deepEqual(early, { status: 200, port: refused.port });
  assert.deepEqual(await ask("/sandboxes/mine-1/hash", Buffer.from("x")), { status: 200, port: refused.port });
});

test("what a sandbox answers cannot act as the door, and a sandbox that dies is told as such", async () => {
  await using all = await openAll();
  const echo = await all.send("/sandboxes/mine-1/echo", { method: "POST", body: "x" });
  assert.equal(echo.headers.get("content-security-policy"), "sandbox");
  assert.deepEqual(
    [...echo.headers.keys()].filter((name) => name.startsWith("x-fc-")),
    [],
  );
  const crashed = await all.send("/sandboxes/mine-1/crash");
  const said = (await crashed.json()) as { code: string; requestId: string; message: string; error: { code: string } };
  assert.ok(["sandbox_lost", "sandbox_ended"].includes(said.code), said.code);
  assert.equal(said.error.code, said.code);
  assert.equal(said.requestId, crashed.headers.get("x-request-id"));
  const read = async () => ((await (await all.send("/api/sandboxes/mine-1")).json()) as { state: string; endReason?: string }).endReason;
  const deadline = Date.now() + 5000;
  let reason = await read();
  while (reason === undefined && Date.now() < deadline) reason = await read();
  assert.equal(reason, "crashed");
});

test("closing waits for what is under way and cuts what hangs", async () => {
  await using all = await openAll();
  const { socket } = await upgrade(all.origin, "/sandboxes/mine-1/ws", { authorization: all.authorization });
  socket?.resume();
  const streaming = await all.send("/sandboxes/mine-1/stream");
  const reader = (streaming.body ?? assert.fail()).getReader();
  await reader.read();
  await all.send("/sandboxes/mine-1/release");
  const closing = all.door[Symbol.asyncDispose]();
  assert.equal(Buffer.from((await reader.read()).value ?? []).toString(), "last\n");
  await closing;
  await assert.rejects(all.send("/health"));
});
