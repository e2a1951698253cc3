import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import { newTenant, openDoor } from "#support/door.ts";
import { hold, property } from "./property.ts";
import { nonsense, smuggling } from "./requests.ts";

const QUIET_MS = 1_500;
const LAST = "GET /health HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n";

await using door = await openDoor();
const tenant = await newTenant(door);
const box = await tenant.json<{ id: string }>("POST", "/api/sandboxes", {}, 201);
const key = tenant.key.apiKey;

/** What hides in another request's body, as the door would read it and as the engine behind it would: once served, its folder is there. */
const MARK = "/home/user/smuggled";
const order = JSON.stringify({ path: MARK });
const hiddenAt = (prefix: string) =>
  `POST ${prefix}/sandboxes/${box.id}/filesystem/mkdir HTTP/1.1\r\nHost: door\r\nX-API-Key: ${key}\r\nContent-Type: application/json\r\nContent-Length: ${order.length}\r\n\r\n${order}`;
const HIDDEN = { atDoor: hiddenAt(""), atEngine: hiddenAt("/door/cleanroom-gateway") };

/** Sends bytes in pieces and answers what came back until the door hung up, or had said nothing for so long. */
function exchange(bytes: Buffer, cut = 0, origin = door.origin): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(Number(new URL(origin).port), "127.0.0.1");
  let said = "";
  socket.setNoDelay(true);
  socket.setTimeout(QUIET_MS, () => socket.destroy());
  socket.on("data", (piece: Buffer) => (said += piece.toString("latin1")));
  socket.on("error", () => {});
  socket.on("close", () => resolve(said));
  const at = cut % (bytes.length + 1);
  socket.write(bytes.subarray(0, at));
  setImmediate(() => socket.write(bytes.subarray(at)));
  return promise;
}

const answersIn = (said: string): string[] =>
  [...said.matchAll(/HTTP\/1\.1 (\d\d\d) [\w -]*\r\n/g)].map(([, status = ""]) => status).filter((status) => status !== "100");

const targets = fc.constantFrom(
  `OPTIONS /sandboxes/${box.id}/files`,
  `POST /sandboxes/${box.id}/filesystem/mkdir`,
  `PUT /sandboxes/${box.id}/files/content?path=/home/user/up`,
  `POST /sandboxes/${box.id}/nothing`,
  `GET /sandboxes/${box.id}/filesystem`,
  `DELETE /sandboxes/${box.id}/contexts/none`,
  "POST /sandboxes/no-such-sandbox/files",
  "POST /api/templates",
  "GET /health",
  "POST /nothing",
);
const credentials = fc.constantFrom(`X-API-Key: ${key}`, `X-API-Key: ${key}`, "X-API-Key: wrong");

async function isAlive(): Promise<void> {
  const answer = await tenant.send("GET", `/sandboxes/${box.id}/filesystem/stat?path=${MARK}`);
  const { code } = (await answer.json()) as { code?: string };
  assert.equal(code, "file_not_found", "what was hidden was not served, and the sandbox answers");
}

await test("what hides is served when it is sent as what it is, to whom it is for", async () => {
  for (const [hidden, origin] of [
    [HIDDEN.atDoor, door.origin],
    [HIDDEN.atEngine, door.engineOrigin],
  ] as const) {
    const said = await exchange(Buffer.from(hidden + LAST), 0, origin);
    assert.equal(answersIn(said)[0], "200", said);
    await tenant.json("POST", `/sandboxes/${box.id}/filesystem/remove`, { path: MARK });
    await isAlive();
  }
});

await test("every method's body is its own, also where its length is said to be the connection's, in chunks, or for an upgrade", async () => {
  for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
    for (const hidden of Object.values(HIDDEN)) {
      const length = `Content-Length: ${hidden.length}`;
      const chunks = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
      for (const [headers, body] of [
        [length, hidden],
        [`${length}\r\nConnection: content-length`, hidden],
        [`${length}\r\nConnection: upgrade\r\nUpgrade: websocket`, hidden],
        ["Transfer-Encoding: chunked", chunks],
        ["Transfer-Encoding: chunked\r\nConnection: transfer-encoding", chunks],
      ] as const) {
        const head = `${method} /sandboxes/${box.id}/contexts/none HTTP/1.1\r\nHost: door\r\nX-API-Key: ${key}\r\n${headers}\r\n\r\n`;
        const said = await exchange(Buffer.from(head + body + LAST));
        assert.ok(answersIn(said).length > 0, `${head}${said}`);
        await isAlive();
      }
    }
  }
});

await hold(import.meta.url, [
  property(
    "a request that hides in another's body is never served, however the length of that is said",
    fc.tuple(targets, credentials, fc.constantFrom(...Object.values(HIDDEN)).chain(smuggling), fc.nat()),
    async ([target, credential, { headers, body, version }, cut]) => {
      const head = [`${target} ${version}`, "Host: door", credential, ...headers].join("\r\n");
      const said = await exchange(Buffer.concat([Buffer.from(`${head}\r\n\r\n`, "latin1"), body, Buffer.from(LAST)]), cut);
      const answers = answersIn(said);
      assert.ok(answers.length <= 2, `two requests and ${answers.length} answers: ${said}`);
      assert.ok(
        answers.every((status) => !/^50[02]/.test(status)),
        said,
      );
      await isAlive();
    },
    { cost: 5 },
  ),
  property(
    "whatever bytes come, the door refuses them or hangs up, and answers the next",
    fc.tuple(nonsense, fc.nat()),
    async ([bytes, cut]) => {
      const answers = answersIn(await exchange(Buffer.concat([bytes, Buffer.from(LAST)]), cut));
      assert.ok(
        answers.every((status) => /^[1-4]|501|505/.test(status)),
        answers.join(" "),
      );
      const { status } = await fetch(`${door.origin}/health`);
      assert.equal(status, 200);
    },
    { cost: 5 },
  ),
]);

await tenant.json("DELETE", `/api/sandboxes/${box.id}`);
