import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { after, test } from "node:test";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { functionPid } from "#support/processes.ts";
import { until } from "#support/until.ts";
import { ProblemBody, type ProblemCode } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const { port } = new URL(door.origin);

/** Asks for a WebSocket by hand and reads everything until the other side ends: a refusal is one HTTP answer and then the end. */
async function ask(path: string, headers: Record<string, string> = {}): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port: Number(port) });
  const lines = {
    host: `127.0.0.1:${port}`,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  };
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET ${path} HTTP/1.1\r\n${head.join("")}\r\n`);
  return Buffer.concat(await socket.toArray()).toString();
}

/** Reads a refusal: exactly one answer, a whole Problem, nothing after it. */
function refusedAs(code: ProblemCode, answer: string): void {
  const [head = "", body = ""] = answer.split("\r\n\r\n", 2);
  assert.match(head, new RegExp(`^HTTP/1\\.1 ${PROBLEMS[code].status} `), answer);
  assert.match(head, /^connection: close$/im);
  assert.match(head, /^content-type: application\/(problem\+)?json/im);
  assert.equal(Number(/^content-length: (\d+)$/im.exec(head)?.[1]), Buffer.byteLength(body));
  assert.equal(ProblemBody.parse(JSON.parse(body)).code, code);
  assert.equal(answer.length, head.length + 4 + body.length);
}

/** How many files and sockets the gateway has open. */
const descriptors = () => readdirSync(`/proc/${functionPid(door, "cleanroom-gateway")}/fd`).length;

const bearer = { authorization: `Bearer ${tenant.key.apiKey}` };

test("an upgrade that no route of the workspace takes is refused as a Problem, and the sandbox goes on", async () => {
  await using box = await makeBox(tenant);
  refusedAs("route_not_found", await ask(`/sandboxes/${box.id}/ws/terminal`, bearer));
  refusedAs(
    "not_supported",
    await ask(`/sandboxes/${box.id}/ws/automation?Authorization=${encodeURIComponent(`Bearer ${tenant.key.apiKey}`)}`),
  );
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
});

test("a page of another origin gets no WebSocket, whatever credential its browser sends along", async () => {
  await using box = await makeBox(tenant);
  const path = `/sandboxes/${box.id}/ws/terminal`;
  for (const origin of ["https://evil.example", "null", `http://127.0.0.1:${port}.evil.example`, "http://127.0.0.1:1", "file://"])
    refusedAs("forbidden", await ask(path, { ...bearer, origin }));
  // The door's own page comes as far as the workspace.
  refusedAs("route_not_found", await ask(path, { ...bearer, origin: door.origin }));
});

test("an upgrade without a credential, of another project or into nothing is refused like any request", async () => {
  await using box = await makeBox(tenant);
  const other = await newTenant(door);
  refusedAs("unauthenticated", await ask(`/sandboxes/${box.id}/ws/terminal`));
  refusedAs("unauthenticated", await ask(`/sandboxes/${box.id}/ws/terminal?Authorization=Bearer%20wrong`));
  refusedAs("sandbox_not_found", await ask(`/sandboxes/${box.id}/ws/terminal`, { authorization: `Bearer ${other.key.apiKey}` }));
  refusedAs("sandbox_not_found", await ask("/sandboxes/never-was/ws/terminal", bearer));
  refusedAs("route_not_found", await ask("/api/me", bearer));
  refusedAs("invalid_path", await ask(`/sandboxes/${box.id}/../x/tty`, bearer));
  await box[Symbol.asyncDispose]();
  refusedAs("sandbox_ended", await ask(`/sandboxes/${box.id}/ws/terminal`, bearer));
});

test("an upgrade to something else than a WebSocket is refused", async () => {
  await using box = await makeBox(tenant);
  refusedAs("invalid_request", await ask(`/sandboxes/${box.id}/files`, { ...bearer, upgrade: "h2c" }));
});

test("a thousand refused upgrades leave nothing open", async () => {
  await using box = await makeBox(tenant);
  const before = descriptors();
  for (let round = 0; round < 20; round += 1) {
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask(`/sandboxes/${box.id}/ws/terminal`, bearer)));
    for (const answer of answers) refusedAs("route_not_found", answer);
  }
  // Other tests use the same door meanwhile, so that some more or fewer are no leak.
  await until("the descriptors are given back", () => descriptors() < before + 100);
});
