import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { type Frame, frame, openRaw, type RawSocket } from "#support/frames.ts";
import { until } from "#support/until.ts";
import { startWorkspace } from "#support/workspace.ts";

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10] as const;
const program = "/opt/echo-workspace.py";
const workspace = await startWorkspace({ program, prepare: `cp ${import.meta.dirname}/../support/echo-workspace.py /mnt${program}` });
after(() => workspace[Symbol.asyncDispose]());

async function open(headers: Record<string, string> = {}): Promise<RawSocket> {
  return openRaw(`http://127.0.0.1:${workspace.port}/processes/tty`, { ...workspace.headers(), ...headers });
}

function text(found: Frame | undefined): string {
  assert.equal(found?.opcode, TEXT);
  return found.payload.toString();
}

function closedAs(found: Frame | undefined, code: number): void {
  assert.equal(found?.opcode, CLOSE, `a close was due, not ${found?.opcode}`);
  assert.equal(found.payload.readUInt16BE(0), code);
}

const activity = async () => (await workspace.send("GET", "/activity")).json as { busy: boolean };

test(
  "messages come back as they were, text as text and bytes as bytes, in one frame or in many, early or late",
  { timeout: 30_000 },
  async () => {
    const { socket, head, next } = await open();
    assert.match(head, /^HTTP\/1\.1 101 /);
    assert.match(head, /^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=$/im);
    socket.write(frame(TEXT, "héllo"));
    assert.equal(text(await next()), "héllo");
    const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, at) => at % 256));
    socket.write(frame(BINARY, bytes));
    assert.deepEqual(await next(), { opcode: BINARY, payload: bytes });
    // A character that two frames share, and a ping between them.
    const accent = Buffer.from("é");
    socket.write(Buffer.concat([frame(TEXT, accent.subarray(0, 1), { fin: false }), frame(PING, "still there?")]));
    assert.deepEqual(await next(), { opcode: PONG, payload: Buffer.from("still there?") });
    for (const byte of frame(CONTINUATION, accent.subarray(1))) socket.write(Buffer.from([byte]));
    assert.equal(text(await next()), "é");
    socket.write(Buffer.concat([frame(TEXT, ""), frame(TEXT, "a"), frame(TEXT, "b")]));
    assert.deepEqual([text(await next()), text(await next()), text(await next())], ["", "a", "b"]);
    socket.write(frame(CLOSE, Buffer.from([0x0f, 0xa1])));
    closedAs(await next(), 4001);
    assert.equal(await next(), undefined);
  },
);

test("a route closes by its own code, and speaks a protocol that it has in common with its client", { timeout: 30_000 }, async () => {
  const { socket, head, next } = await open({ "sec-websocket-protocol": "unheard-of, echo" });
  assert.match(head, /^sec-websocket-protocol: echo$/im);
  socket.write(frame(TEXT, "goodbye"));
  const close = await next();
  closedAs(close, 4000);
  assert.equal(close?.payload.subarray(2).toString(), "as you wish");
  socket.end(frame(CLOSE, Buffer.from([0x0f, 0xa0])));
  assert.equal(await next(), undefined);
});

test("what breaks the protocol, or is too long, is refused by the code for it", { timeout: 30_000 }, async () => {
  const cases: [Buffer, number][] = [
    [frame(TEXT, "bare", { masked: false }), 1002],
    [frame(3, "no such opcode"), 1002],
    [frame(PING, "x".repeat(126)), 1002],
    [frame(CONTINUATION, "of nothing"), 1002],
    [frame(TEXT, Buffer.from([0xff, 0xfe])), 1007],
    [frame(BINARY, Buffer.alloc(100_001)), 1009],
    [frame(CLOSE, Buffer.from([1])), 1002],
    // A length that nobody could ever send is met by what comes of it, not waited for.
    [Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]), Buffer.alloc(150_000)]), 1009],
  ];
  for (const [bytes, code] of cases) {
    const { socket, next } = await open();
    socket.write(bytes);
    closedAs(await next(), code);
    socket.destroy();
  }
  await until("nobody is waited for", async () => !(await activity()).busy);
});

test("an upgrade that is none is a Problem", { timeout: 30_000 }, async () => {
  for (const headers of [
    { upgrade: "h2c" },
    { "sec-websocket-version": "8" },
    { "sec-websocket-key": "short" },
    { connection: "keep-alive" },
  ]) {
    const { socket, head } = await open(headers);
    assert.match(head, /^HTTP\/1\.1 400 /, JSON.stringify(headers));
    socket.destroy();
  }
  const { status, json } = await workspace.send("GET", "/processes/tty");
  assert.equal(status, 400);
  assert.equal(json.code, "invalid_request");
});

test("an open WebSocket is activity until its client has gone, however it goes", { timeout: 30_000 }, async () => {
  const { socket } = await open();
  await until("it counts", async () => (await activity()).busy);
  socket.resetAndDestroy();
  await until("it counts no more", async () => !(await activity()).busy);
});

test("whoever does not read holds up its own sender, costs no memory, and is forgotten once gone", { timeout: 60_000 }, async () => {
  const before = memory();
  const floods = await Promise.all(Array.from({ length: 8 }, () => open()));
  for (const { socket } of floods) {
    socket.pause();
    socket.write(frame(TEXT, "flood"));
    // Who pings and does not listen is not answered without end.
    for (let at = 0; at < 2000; at += 1) socket.write(frame(PING, "x".repeat(100)));
  }
  await until("all of them are held up", async () => (await activity()).busy);
  const { socket, next } = await open();
  socket.write(frame(TEXT, "others go on"));
  assert.equal(text(await next()), "others go on");
  socket.destroy();
  assert.ok(memory() - before < 40_000, `it took ${memory() - before} KiB`);
  for (const flood of floods) flood.socket.resetAndDestroy();
  await until("they are gone", async () => !(await activity()).busy);
});

/** KiB that the workspace has in memory. */
function memory(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${serverPid()}/status`, "utf8"))?.[1]);
}

/** The Python process in the namespace that `unshare` made. */
function serverPid(): number {
  return Number(readFileSync(`/proc/${workspace.pid}/task/${workspace.pid}/children`, "utf8").trim());
}
